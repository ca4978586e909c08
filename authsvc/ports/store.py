"""The record (SQL): users, sessions, codes, the revocation log, keys, and keeping house."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from authsvc.domain.apps import App
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.revocations import Fact, LogHead
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.domain.signing_keys import NotActivated
from authsvc.ports.audit import AuditTrail
from authsvc.ports.callers import CallerStore
from authsvc.ports.outcomes import (
    Opened,
    Opening,
    Rotation,
    RotationRefused,
    SessionQuery,
    SigningKeyRecord,
    UserIsBlocked,
    Written,
)
from authsvc.ports.people import PersonStore
from authsvc.ports.personal_data import PersonalDataStore


class SessionStore(Protocol):
    """
    Users, identities and sessions.

    A user id that was merged away means the user it was merged into, in every method that takes one.

    Each method is one transaction, isolated from all others, durable when it returns (an fsync happened). Instants
    that several hosts must agree on are the database's. After an exception nothing of it is visible, except that
    StoreUnavailable from a write leaves the outcome unknown.
    """

    async def claim_code(self, *, app_id: str, code_hash: bytes, ttl: timedelta) -> bool:
        """Record that this code goes to WeChat now; False if any process had claimed it within *ttl*."""
        ...

    async def release_code(self, *, app_id: str, code_hash: bytes) -> None:
        """Forget a claim whose request provably was not written. Idempotent."""
        ...

    async def open_session(self, opening: Opening) -> Written[Opened | UserIsBlocked]:
        """
        Record a login: find or make the user, keep the session key, end what the login replaces, add the session.

        In one transaction, holding the user's row before the log position is read: link by a known unionid at
        first sight, or merge, or record for an operator, as domain.people.judge_late_unionid says (`linking` in the
        outcome; a merge does what PersonStore.merge_users does, by `login`); refuse a blocked user (the session key
        and the linking are kept all the same); end the live session of the same device as SUPERSEDED if older than
        60 s; end the oldest as REPLACED until `max_sessions` holds.

        However many first logins of one person run at once, in whatever apps of a platform group: one user.
        """
        ...

    async def rotate(
        self,
        token: RefreshToken,
        *,
        apps: Mapping[str, App],
        mac_key_id: bytes,
        jitter: float,
        client: ClientInfo,
    ) -> Written[Rotation | RotationRefused | UserIsBlocked]:
        """
        Apply a presented refresh token atomically (domain.sessions.judge_refresh); of parallel callers one rotates.

        A token without a row is refused as STORE_RESTORED. *apps* gives the policy by app id; a session of an app
        that is not in it is refused as UnknownApp.

        Raises:
            UnknownApp: the session's app is not configured here any more.
            AppDisabled: the session's app is switched off.

        """
        ...

    async def end_session(
        self,
        session_id: str,
        *,
        reason: EndReason,
        by: str,
        nonce_hash: bytes | None = None,
        fact_until: datetime | None = None,
    ) -> Written[int | None]:
        """
        End a session; the value is how many ended now (0 or 1), or None where no such row exists.

        A fact is written while an access token of it can still be accepted (row's `access_expires_at` + margin);
        with *fact_until* also where the row is missing. With *nonce_hash* a row of another nonce is left untouched
        and nothing is written (value 0).
        """
        ...

    async def end_user_sessions(
        self, user_id: str, *, app_id: str = "", reason: EndReason, by: str
    ) -> Written[int | None]:
        """
        End every session of a user, or those in one app; the value counts them, None if there is no such user.

        Without *app_id* the users row keeps the fact's position, so sessions created below it stay dead whatever
        happens to their rows; with it only rows are ended and one narrowed fact is written.
        """
        ...

    async def end_app_sessions(
        self, app_id: str, *, reason: EndReason, by: str, longest_lifetime: timedelta
    ) -> Written[int]:
        """Kill every session of an app by position; the value counts those that were live."""
        ...

    async def get_session(self, session_id: str) -> Session | None:
        """Return the session, shown as ended also where only its user's or app's position killed it; or None."""
        ...

    async def list_sessions(self, query: SessionQuery) -> Sequence[Session]:
        """Return a page, newest first; ended ones only if asked for."""
        ...


class RevocationLog(Protocol):
    """
    The durable, totally ordered log of revocation facts.

    Positions appear in commit order: when a fact at P is visible, nothing below P can appear later. So the largest
    visible position is a safe watermark.
    """

    async def read_head(self) -> LogHead:
        """Return where the log stands."""
        ...

    async def read_from(self, position: int, *, limit: int) -> tuple[LogHead, Sequence[Fact]]:
        """Return the head and facts at or above *position*, ascending, from one snapshot, at most *limit*."""
        ...

    async def read_live(self, *, after: int, limit: int) -> tuple[LogHead, Sequence[Fact]]:
        """Return the head and still-useful facts above *after*, ascending, from one snapshot, at most *limit*."""
        ...

    async def on_change(self, wake: Callable[[], None]) -> None:
        """
        From now on have *wake* called, in this loop, soon after another process wrote a fact, where that can be known.

        It is a favour: it may be called for nothing, late or never, so a poll runs underneath. *wake* must not raise.
        """
        ...

    async def begin_incarnation(self, *, above: int) -> LogHead:
        """
        Start a new incarnation whose counter begins 2**32 above the larger of *above* and the present head.

        Called when a tailer finds another fact at its watermark than the one it saw: the database was restored.
        """
        ...

    async def write_key_withdrawal(self, kid: str, *, by: str) -> Written[bool]:
        """
        Mark a signing key withdrawn for ever, with its permanent fact; False if there is no such key.

        Of the active key, the oldest prepared one becomes active in the same transaction. Idempotent.
        """
        ...


class KeyStore(Protocol):
    """
    Public parts and lives of signing keys (domain.signing_keys). At most one key is active, whoever does what at once.

    Every change of a state is one transaction with its audit row; instants are the record's.
    """

    async def list_signing_keys(self) -> Sequence[SigningKeyRecord]:
        """Return all keys, oldest first."""
        ...

    async def add_signing_key(self, record: SigningKeyRecord) -> None:
        """
        Add a key unless it is known, and note that it is published from now on, unless that was noted.

        Nothing else of a known one is changed. Idempotent.
        """
        ...

    async def activate_first_key(self) -> None:
        """If no key is active, make the oldest prepared one active. Idempotent over replicas."""
        ...

    async def activate_key(
        self, kid: str = "", *, published_for: timedelta, by: str
    ) -> Sequence[str] | NotActivated:
        """
        Make this prepared key active, or the oldest one, and retire the active one; return the ids of both, new first.

        Refused, with nothing changed, as domain.signing_keys.activate says.
        """
        ...

    async def schedule_key(self, kid: str, *, at: datetime | None, by: str) -> bool:
        """Note when a prepared key becomes active by itself, None: never; False if there is no such prepared key."""
        ...

    async def rotate_key_if_due(
        self, *, every: timedelta | None, published_for: timedelta, held: Collection[str]
    ) -> Sequence[str]:
        """
        Do what domain.signing_keys.rotate_if_due says by the record's clock; return the ids of both keys, new first.

        However many replicas ask at once, one changes the keys, and only it is answered with any.
        """
        ...


class Housekeeping(Protocol):
    """
    What keeps the record from growing for ever.

    Each removing method is one small transaction: it removes at most *limit* rows that nobody can need any more,
    oldest first, found by an index, and says how many; fewer than *limit* means that none is left but what another
    replica is removing. Idempotent. The record's clock says what is old.
    """

    async def purge_sessions(self, *, retention: timedelta, limit: int) -> int:
        """
        Remove sessions whose absolute end is longer ago than *retention* (and than the margin of facts).

        So no refresh token of a removed session could still be good, whatever ended it, and no access token of it
        can be accepted: the answers that its tokens get never depend on the removal.
        """
        ...

    async def purge_codes(self, *, limit: int) -> int:
        """Remove claims on login codes that are over; a claim that still holds is never removed."""
        ...

    async def compact_log(self, *, limit: int) -> int:
        """
        Remove facts that no token needs any more, and move `compacted_through` to the largest position removed.

        Both become visible together. The mark never moves back. Never removed: the newest fact (a tailer compares
        the one it stands on) and key withdrawals (useful for ever). Takes no position and adds no fact.
        """
        ...

    async def purge_audit(self, *, retention: timedelta, limit: int) -> int:
        """
        Remove audit rows of the oldest batches that were sealed longer ago than *retention*.

        Of batches without rows only the newest stays, as the anchor of those that follow. A row that is not sealed stays.
        """
        ...

    async def count_rows(self) -> Mapping[str, int]:
        """Return how many rows each table has, from one snapshot. Looks at all of them: for operators only."""
        ...


class Store(
    SessionStore,
    PersonStore,
    PersonalDataStore,
    RevocationLog,
    KeyStore,
    CallerStore,
    AuditTrail,
    Housekeeping,
    Protocol,
):
    """The whole record; what the composition root hands around."""

    async def ping(self) -> timedelta:
        """
        Return, if the record answers reads, by how much this host's clock is surely ahead of the record's.

        Negative where it is behind; zero where both are the same clock, or the difference is within the time the
        question took.

        Raises:
            StoreUnavailable: it does not.

        """
        ...
