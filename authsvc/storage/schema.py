"""
The tables, as SQLAlchemy Core knows them, in types that mean the same on SQLite and PostgreSQL.

Instants are BIGINT microseconds since 1970, because SQLite has no timestamps and text ones do not compare alike
everywhere. There are no foreign keys on purpose: docs/decisions/0003-storage.md. The migrations create these
tables; a test proves that both say the same.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    func,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as microseconds since 1970; exact in both directions."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return what is stored; a naive datetime is a programming error and raises TypeError."""
        del dialect
        return None if value is None else (value - _EPOCH) // _TICK

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the instant as aware UTC."""
        del dialect
        return None if value is None else _EPOCH + value * _TICK


def sealing_key_id(blob: ColumnElement[bytes]) -> ColumnElement[bytes]:
    """Return the id of the master key that sealed a blob (version 1 | key id 4 | ...); empty for an empty one."""
    return func.substr(blob, 2, 4, type_=LargeBinary)


metadata = MetaData()

_ID = String(22)  # domain.ids
_APP_ID = String(64)
_OPENID = String(128)

# `position` is that of the last revocation of all the user's sessions (0: none), with its reason, time and author.
users = Table(
    "users",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("position", BigInteger, nullable=False, server_default="0"),
    Column("position_reason", SmallInteger, nullable=False, server_default="0"),
    Column("position_at", Instant),
    Column("position_by", String(128), nullable=False, server_default=""),
    Column("roles", Text, nullable=False, server_default="[]"),  # a JSON array of strings
    Column("external_id", String(255), unique=True),
    Column("blocked_at", Instant),
    Column("blocked_until", Instant),
    Column("blocked_reason", Text, nullable=False, server_default=""),
    Column("blocked_by", String(128), nullable=False, server_default=""),
    # A JSON array of the ids that were merged into this one, oldest merge first: what `user_aliases` says, at hand.
    Column("previous_ids", Text, nullable=False, server_default="[]"),
    # The row of an erased person stays, with nothing in it, so that what is left of their sessions stays dead.
    Column("erased_at", Instant),
)

# The row of a user that was merged into another stays, for its sessions and for the undo; this is what it is now called.
# `user_id` is always a user that stands: a merge of the survivor moves its aliases on.
user_aliases = Table(
    "user_aliases",
    metadata,
    Column("alias_id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("merge_id", _ID, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("user_aliases_by_user", "user_id"),
)

# Two users found to be one person (docs/decisions/0007-merging-users.md). `state` is `held` (waits for an operator),
# `done` or `undone`; the two `_before` are what each side was (JSON; null while held).
merges = Table(
    "merges",
    metadata,
    Column("merge_id", _ID, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("survivor_id", _ID, nullable=False),
    Column("moved_id", _ID, nullable=False),
    Column("platform_group", String(64), nullable=False, server_default=""),
    Column("found_at", Instant, nullable=False),
    Column("merged_at", Instant),
    Column("merged_by", String(128), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("survivor_before", Text),
    Column("moved_before", Text),
    Column("undone_at", Instant),
    Column("undone_by", String(128), nullable=False, server_default=""),
    Index("merges_by_survivor", "survivor_id"),
    Index("merges_by_moved", "moved_id"),
    Index("merges_by_state", "state", "found_at", "merge_id"),
)

# What each side had when they were merged: `kind` is `identity` (scope: app id) or `unionid` (scope: platform group).
merge_items = Table(
    "merge_items",
    metadata,
    Column("merge_id", _ID, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("scope", String(64), primary_key=True),
    Column("value", _OPENID, primary_key=True),
    Column("moved", SmallInteger, nullable=False),  # 1: the moved user's, 0: the survivor's own
)

# Pairs (the smaller id first) that no login may merge: an operator said that they are two.
no_merges = Table(
    "no_merges",
    metadata,
    Column("user_a", _ID, primary_key=True),
    Column("user_b", _ID, primary_key=True),
    Column("marked_at", Instant, nullable=False),
    Column("marked_by", String(128), nullable=False),
    Index("no_merges_by_second", "user_b"),
)

# One row per revocation of a whole app, so that the first one after a session began is known for ever: its reason stands.
apps = Table(
    "apps",
    metadata,
    Column("app_id", _APP_ID, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("position_reason", SmallInteger, nullable=False),
    Column("position_at", Instant, nullable=False),
    Column("position_by", String(128), nullable=False),
)

# The two newest session keys, sealed (`sealing_key_id` says with which key), each with the time of its exchange.
# An imported identity has an empty one, from 1970: no key opens it, and any exchange is newer. `unionid` is what WeChat
# said together with this openid (null: nothing yet); to whom it belongs, `unionids` says.
identities = Table(
    "identities",
    metadata,
    Column("app_id", _APP_ID, primary_key=True),
    Column("openid", _OPENID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("session_key", LargeBinary, nullable=False),
    Column("session_key_at", Instant, nullable=False),
    Column("previous_session_key", LargeBinary),
    Column("previous_session_key_at", Instant),
    Column("unionid", _OPENID),
    Index("identities_by_user", "user_id"),
)

unionids = Table(
    "unionids",
    metadata,
    Column("platform_group", String(64), primary_key=True),
    Column("unionid", _OPENID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("unionids_by_user", "user_id", "platform_group"),
)

# A bound phone number belongs to the identity whose consent gave it, so it follows that identity to another user.
# `blind_index` is the HMAC of the number under the key `index_key_id`: a number is sought under every key of the ring.
phones = Table(
    "phones",
    metadata,
    Column("app_id", _APP_ID, primary_key=True),
    Column("openid", _OPENID, primary_key=True),
    Column("sealed_number", LargeBinary, nullable=False),
    Column("index_key_id", LargeBinary(4), nullable=False),
    Column("blind_index", LargeBinary(32), nullable=False),
    Column("bound_at", Instant, nullable=False),
    Index("phones_by_number", "blind_index"),
)

# That a person was erased, without saying who: the HMAC of an identity or unionid (`kind`) under the key `key_id`.
# What comes from a file and not from the person, an import, must not make them again.
tombstones = Table(
    "tombstones",
    metadata,
    Column("key_id", LargeBinary(4), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("erased_at", Instant, nullable=False),
)

# Who did what, to whom, from where, written in the transaction that did it. `details` is a JSON object without personal
# data: ids of ours, app ids, counts, reasons. `user_id` is a pseudonym; what it stands for dies with an erasure.
# `batch` is the closed batch of the chain that a row belongs to (null: not sealed yet). `ip` and `reason` go with an
# erasure: then the salt is null and `commitment` is what the salt made of them (docs/decisions/0009-audit-chain.md).
audit = Table(
    "audit",
    metadata,
    Column("audit_id", _ID, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("by", String(128), nullable=False),
    Column("event", String(64), nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("details", Text, nullable=False),
    Column("app_id", _APP_ID, nullable=False, server_default=""),
    Column("session_id", _ID, nullable=False, server_default=""),
    Column("ip", String(64), nullable=False, server_default=""),
    Column("request_id", String(64), nullable=False, server_default=""),
    Column("trace_id", String(32), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("salt", LargeBinary(16)),
    Column("commitment", LargeBinary(32)),
    Column("batch", BigInteger),
    Index("audit_by_time", "at", "audit_id"),
    Index("audit_by_user", "user_id", "at"),
    Index("audit_by_batch", "batch", "at", "audit_id"),
)

# The chain: each closed batch with the hash of its rows, chained to the batch before, signed with a signing key.
audit_batches = Table(
    "audit_batches",
    metadata,
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed_at", Instant, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("rows_hash", LargeBinary(32), nullable=False),
    Column("chain_hash", LargeBinary(32), nullable=False),
    Column("kid", String(128), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# `access_expires_at` is the `exp` handed out with the newest refresh token: a replay carries it again.
# `latest_access_expiry` is the largest ever handed out: jitter, or a lifetime configured shorter since, can put an
# older token's `exp` behind the newest one's, and a revocation fact must outlive them all.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("app_id", _APP_ID, nullable=False),
    Column("openid", _OPENID, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("rotated_at", Instant, nullable=False),
    Column("refresh_expires_at", Instant, nullable=False),
    Column("absolute_end", Instant, nullable=False),
    Column("access_expires_at", Instant, nullable=False),
    Column("latest_access_expiry", Instant, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("nonce_hash", LargeBinary(32), nullable=False),
    Column("mac_key_id", LargeBinary(4), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("ip", String(64), nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("device_name", Text, nullable=False),
    Column("ended_at", Instant),
    Column("end_reason", SmallInteger),
    Column("ended_by", String(128)),
    # Newest first by user (and what a login or a revocation of the user looks through) and by app.
    Index("sessions_by_user", "user_id", "created_at", "session_id"),
    Index("sessions_by_app", "app_id", "created_at", "session_id"),
    # Retention works by the one end that never moves, so that a rotation touches no index.
    Index("sessions_by_absolute_end", "absolute_end"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("fact_id", LargeBinary(8), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("target", String(128), nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("useful_until", Instant),
    Column("app_filter", _APP_ID, nullable=False),
    Column("written_at", Instant, nullable=False),
    Index("revocations_by_usefulness", "useful_until"),
)

# One row, id 1.
log_head = Table(
    "log_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("incarnation", LargeBinary(8), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("compacted_through", BigInteger, nullable=False),
)

login_codes = Table(
    "login_codes",
    metadata,
    Column("app_id", _APP_ID, primary_key=True),
    Column("code_hash", LargeBinary(32), primary_key=True),
    Column("expires_at", Instant, nullable=False),
    Index("login_codes_by_expiry", "expires_at"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(128), primary_key=True),
    Column("alg", String(16), nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", String(128), nullable=False, server_default=""),
    # When a process that holds the key first listed it here; null: none of this release has yet.
    Column("published_at", Instant),
    # When a prepared key is to become the active one by itself (null: when somebody says so), and when it did.
    Column("activate_at", Instant),
    Column("activated_at", Instant),
    Column("retired_at", Instant),
)

# Callers that are not declared by a file. `roles`, `audiences` and `apps` are JSON arrays of strings; no apps: all.
principals = Table(
    "principals",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("roles", Text, nullable=False),
    Column("audiences", Text, nullable=False),
    Column("apps", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", String(128), nullable=False, server_default=""),
)

# A secret that proves who a caller is: shown once, kept as SHA-256 of its 256 random bits.
service_keys = Table(
    "service_keys",
    metadata,
    Column("key_id", _ID, primary_key=True),
    Column("principal", String(128), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("revoked_by", String(128), nullable=False, server_default=""),
    Index("service_keys_by_principal", "principal"),
)
