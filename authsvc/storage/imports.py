"""
Users from another system's records: a batch is looked up in a few queries, judged in memory, and written in a few.

What one record makes is seen by the next one of the batch, so the order of a file decides and a doubled line is
harmless. Nothing is merged here: a record that would need it is a conflict, for an operator.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, insert, select, tuple_, update

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.ports import AuditEntry, ImportedUser, ImportOutcome
from authsvc.storage import audit
from authsvc.storage.aliases import hold_users, resolve
from authsvc.storage.schema import identities, tombstones, unionids, users
from authsvc.storage.tx import Overtaken, Tx

# Older than any exchange (and no unionid of the identity's own: that is what WeChat said, not a file), so that the first login's session key takes the place of none.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_IN = 400  # values per look-up: SQLite takes some 32,000 parameters, PostgreSQL plans shorter lists quicker


@dataclass
class _Known:
    """What the record knows of everything that a batch names, and what the batch adds."""

    owners: dict[tuple[str, str], str] = field(default_factory=dict)  # (app id, openid) -> user
    union_owners: dict[tuple[str, str], str] = field(default_factory=dict)  # (group, unionid) -> user
    unionid_of: dict[tuple[str, str], str] = field(default_factory=dict)  # (user, group) -> unionid
    external_owners: dict[str, str] = field(default_factory=dict)
    external_id_of: dict[str, str] = field(default_factory=dict)
    buried: set[tuple[bytes, bytes]] = field(default_factory=set)
    new_users: list[dict[str, Any]] = field(default_factory=list)
    new_identities: list[dict[str, Any]] = field(default_factory=list)
    new_unionids: list[dict[str, Any]] = field(default_factory=list)
    new_external_ids: dict[str, str] = field(default_factory=dict)


def import_users(
    tx: Tx, records: Sequence[ImportedUser], *, fresh_user_ids: Sequence[str], index: BlindIndex, by: str
) -> Sequence[ImportOutcome]:
    """See ports.PersonalDataStore.import_users."""
    known = _look_up(tx, records, index=index)
    outcomes = [
        _apply(record, known, fresh_user_id=fresh, index=index, now=tx.now)
        for record, fresh in zip(records, fresh_user_ids, strict=True)
    ]
    _write(tx, known)
    counts = {outcome.value: number for outcome in ImportOutcome if (number := outcomes.count(outcome)) > 0}
    if known.new_users or known.new_identities or known.new_unionids or known.new_external_ids:
        audit.record_all(tx, [AuditEntry("users.imported", by, details=dict(counts))])
    return outcomes


def _apply(
    record: ImportedUser, known: _Known, *, fresh_user_id: str, index: BlindIndex, now: datetime
) -> ImportOutcome:
    identity = (record.app_id, record.openid)
    union = (record.platform_group, record.unionid) if record.platform_group and record.unionid else None
    holder = known.owners.get(identity)
    by_unionid = known.union_owners.get(union) if union else None
    by_external_id = known.external_owners.get(record.external_id) if record.external_id else None
    nobodys = (holder is None, by_unionid is None, by_external_id is None)
    if not known.buried.isdisjoint(_graves(record, index, nobodys=nobodys)):
        return ImportOutcome.ERASED
    user_id = holder or by_unionid or by_external_id
    if _contradicts(record, known, user_id=user_id, by_unionid=by_unionid, by_external_id=by_external_id):
        return ImportOutcome.CONFLICT
    is_new = user_id is None
    changed = is_new or holder is None
    user_id = user_id or fresh_user_id
    if is_new:
        known.new_users.append({"user_id": user_id, "created_at": now})
    if holder is None:
        known.owners[identity] = user_id
        known.new_identities.append(_identity_row(record, user_id=user_id, now=now))
    if union is not None and by_unionid is None:
        known.union_owners[union] = user_id
        known.unionid_of[user_id, union[0]] = union[1]
        known.new_unionids.append(
            {"platform_group": union[0], "unionid": union[1], "user_id": user_id, "created_at": now}
        )
        changed = True
    if record.external_id and by_external_id is None:
        known.external_owners[record.external_id] = user_id
        known.external_id_of[user_id] = record.external_id
        known.new_external_ids[user_id] = record.external_id
        changed = True
    if is_new:
        return ImportOutcome.CREATED
    return ImportOutcome.LINKED if changed else ImportOutcome.UNCHANGED


def _contradicts(
    record: ImportedUser,
    known: _Known,
    *,
    user_id: str | None,
    by_unionid: str | None,
    by_external_id: str | None,
) -> bool:
    if any(other not in {None, user_id} for other in (by_unionid, by_external_id)):
        return True
    if user_id is None:
        return False
    has_unionid = known.unionid_of.get((user_id, record.platform_group))
    has_external_id = known.external_id_of.get(user_id)
    return bool(
        (record.platform_group and record.unionid and has_unionid not in {None, record.unionid})
        or (record.external_id and by_external_id is None and has_external_id is not None)
    )


def _graves(
    record: ImportedUser, index: BlindIndex, *, nobodys: tuple[bool, bool, bool] = (True, True, True)
) -> set[tuple[bytes, bytes]]:
    """
    Return under what a tombstone would say that the record's person was erased.

    *nobodys* tells of the identity, the unionid and the external id whether nobody has it now: what somebody has came
    back by a login. The external id of an identity that is there is the other system's word, and may be given again.
    """
    identity, unionid, external_id = nobodys
    digests: tuple[Digest, ...] = ()
    if identity:
        digests += index.identity_everywhere(record.app_id, record.openid)
    if unionid and record.platform_group and record.unionid:
        digests += index.unionid_everywhere(record.platform_group, record.unionid)
    if identity and external_id and record.external_id:
        digests += index.external_id_everywhere(record.external_id)
    return {(digest.key_id, digest.value) for digest in digests}


def _identity_row(record: ImportedUser, *, user_id: str, now: datetime) -> dict[str, Any]:
    return {
        "app_id": record.app_id,
        "openid": record.openid,
        "user_id": user_id,
        "created_at": now,
        "session_key": b"",
        "session_key_at": _NEVER,
    }


def _look_up(tx: Tx, records: Sequence[ImportedUser], *, index: BlindIndex) -> _Known:
    """
    Return what is known of everything in the batch; the rows of all users in it are held.

    Raises:
        Overtaken: something of it was moved or erased before its user was held.

    """
    known = _Known()
    graves = {(value,) for record in records for _, value in _graves(record, index)}
    _find_owners(tx, records, known)
    touched = {
        *known.owners.values(),
        *known.union_owners.values(),
        *known.external_owners.values(),
    }
    held = hold_users(tx, touched)
    if touched:
        # Until here a merge or a split could move what was found, and an erasure remove it.
        again = _Known()
        _find_owners(tx, records, again)
        if held.keys() != touched or again != known:
            raise Overtaken
    known.buried = {(row.key_id, row.digest) for row in _rows(tx, tombstones, ("digest",), graves)}
    known.external_id_of = {
        user_id: user.external_id for user_id, user in held.items() if user.external_id is not None
    }
    for row in _rows(tx, unionids, ("user_id",), {(user_id,) for user_id in held}):
        known.unionid_of[row.user_id, row.platform_group] = row.unionid
    return known


def _find_owners(tx: Tx, records: Sequence[ImportedUser], known: _Known) -> None:
    pairs = {(record.app_id, record.openid) for record in records}
    for row in _rows(tx, identities, ("app_id", "openid"), pairs):
        known.owners[row.app_id, row.openid] = row.user_id
    unions = {
        (record.platform_group, record.unionid)
        for record in records
        if record.platform_group and record.unionid
    }
    for row in _rows(tx, unionids, ("platform_group", "unionid"), unions):
        known.union_owners[row.platform_group, row.unionid] = row.user_id
    externals = {(record.external_id,) for record in records if record.external_id}
    for row in _rows(tx, users, ("external_id",), externals):
        known.external_owners[row.external_id] = resolve(tx, row.user_id)


def _rows(tx: Tx, table: Table, columns: tuple[str, ...], values: Iterable[tuple[Any, ...]]) -> list[Any]:
    wanted = sorted(values)
    found: list[Any] = []
    for start in range(0, len(wanted), _IN):
        some = wanted[start : start + _IN]
        if len(columns) == 1:
            condition = table.c[columns[0]].in_([value for (value,) in some])
        else:
            condition = tuple_(*(table.c[name] for name in columns)).in_(some)
        found += tx.connection.execute(select(table).where(condition)).all()
    return found


def _write(tx: Tx, known: _Known) -> None:
    made = {row["user_id"] for row in known.new_users}
    for row in known.new_users:
        row["external_id"] = known.new_external_ids.get(row["user_id"])
    for table, rows in (
        (users, known.new_users),
        (identities, known.new_identities),
        (unionids, known.new_unionids),
    ):
        if rows:
            tx.connection.execute(insert(table), rows)
    for user_id, external_id in known.new_external_ids.items():
        if user_id not in made:
            tx.connection.execute(
                update(users).where(users.c.user_id == user_id).values(external_id=external_id)
            )
