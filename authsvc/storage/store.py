"""ports.Store over any backend that runs units of work: each method is one of them, no more."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, select

from authsvc.domain.apps import App
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.revocations import Fact, LogHead
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.domain.signing_keys import NotActivated
from authsvc.ports import (
    Opened,
    Opening,
    Rotation,
    RotationRefused,
    SessionQuery,
    SigningKeyRecord,
    UserIsBlocked,
    Written,
)
from authsvc.storage import codes, endings, listings, log, logins, refreshes, signing_keys
from authsvc.storage import retention as housekeeping
from authsvc.storage.audit_store import SqlAuditTrail
from authsvc.storage.people_store import SqlPersonStore
from authsvc.storage.personal_data_store import SqlPersonalDataStore
from authsvc.storage.principals import SqlCallerStore
from authsvc.storage.schema import log_head
from authsvc.storage.tx import HEAD_ID, Shared, Tx, read_head


class SqlStore(SqlPersonStore, SqlPersonalDataStore, SqlCallerStore, SqlAuditTrail):
    """Implements ports.Store."""

    async def close(self) -> None:
        """Finish what was begun, then let go of the database; later calls raise StoreUnavailable. Idempotent."""
        await self._runner.close()

    async def ping(self) -> timedelta:
        """See ports.Store.ping."""
        await self._runner.read(lambda view: read_head(view.connection))
        return timedelta(0)

    async def claim_code(self, *, app_id: str, code_hash: bytes, ttl: timedelta) -> bool:
        """See ports.SessionStore.claim_code."""
        written = await self._runner.write(
            Shared(lambda tx: codes.claim_code(tx, app_id=app_id, code_hash=code_hash, ttl=ttl))
        )
        return written.value

    async def release_code(self, *, app_id: str, code_hash: bytes) -> None:
        """See ports.SessionStore.release_code."""
        await self._runner.write(
            Shared(lambda tx: codes.release_code(tx, app_id=app_id, code_hash=code_hash))
        )

    async def open_session(self, opening: Opening) -> Written[Opened | UserIsBlocked]:
        """See ports.SessionStore.open_session."""
        return await self._runner.write(Shared(lambda tx: logins.open_session(tx, opening)))

    async def rotate(
        self,
        token: RefreshToken,
        *,
        apps: Mapping[str, App],
        mac_key_id: bytes,
        jitter: float,
        client: ClientInfo,
    ) -> Written[Rotation | RotationRefused | UserIsBlocked]:
        """See ports.SessionStore.rotate."""
        presented = refreshes.Presented(
            token=token, apps=apps, mac_key_id=mac_key_id, jitter=jitter, client=client
        )
        return await self._runner.write(Shared(lambda tx: refreshes.rotate(tx, presented)))

    async def end_session(
        self,
        session_id: str,
        *,
        reason: EndReason,
        by: str,
        nonce_hash: bytes | None = None,
        fact_until: datetime | None = None,
    ) -> Written[int | None]:
        """See ports.SessionStore.end_session."""
        return await self._runner.write(
            Shared(
                lambda tx: endings.end_session(
                    tx, session_id, reason=reason, by=by, nonce_hash=nonce_hash, fact_until=fact_until
                )
            )
        )

    async def end_user_sessions(
        self, user_id: str, *, app_id: str = "", reason: EndReason, by: str
    ) -> Written[int | None]:
        """See ports.SessionStore.end_user_sessions."""
        return await self._runner.write(
            lambda tx: endings.end_user_sessions(tx, user_id, app_id=app_id, reason=reason, by=by)
        )

    async def end_app_sessions(
        self, app_id: str, *, reason: EndReason, by: str, longest_lifetime: timedelta
    ) -> Written[int]:
        """See ports.SessionStore.end_app_sessions."""
        return await self._runner.write(
            lambda tx: endings.end_app_sessions(
                tx, app_id, reason=reason, by=by, longest_lifetime=longest_lifetime
            )
        )

    async def get_session(self, session_id: str) -> Session | None:
        """See ports.SessionStore.get_session."""
        return await self._runner.read(lambda view: listings.get_session(view, session_id))

    async def list_sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See ports.SessionStore.list_sessions."""
        return await self._runner.read(lambda view: listings.list_sessions(view, query))

    async def on_change(self, wake: Callable[[], None]) -> None:
        """See ports.RevocationLog.on_change. Here nobody ever calls it."""

    async def read_head(self) -> LogHead:
        """See ports.RevocationLog.read_head."""
        return await self._runner.read(lambda view: read_head(view.connection))

    async def read_from(self, position: int, *, limit: int) -> tuple[LogHead, Sequence[Fact]]:
        """See ports.RevocationLog.read_from."""
        return await self._runner.read(lambda view: log.read_from(view, position, limit=limit))

    async def read_live(self, *, after: int, limit: int) -> tuple[LogHead, Sequence[Fact]]:
        """See ports.RevocationLog.read_live."""
        return await self._runner.read(lambda view: log.read_live(view, after=after, limit=limit))

    async def begin_incarnation(self, *, above: int) -> LogHead:
        """See ports.RevocationLog.begin_incarnation."""
        return (await self._runner.write(lambda tx: log.begin_incarnation(tx, above=above))).value

    async def write_key_withdrawal(self, kid: str, *, by: str) -> Written[bool]:
        """See ports.RevocationLog.write_key_withdrawal."""
        return await self._runner.write(lambda tx: signing_keys.write_key_withdrawal(tx, kid, by=by))

    async def list_signing_keys(self) -> Sequence[SigningKeyRecord]:
        """See ports.KeyStore.list_signing_keys."""
        return await self._runner.read(signing_keys.list_signing_keys)

    async def add_signing_key(self, record: SigningKeyRecord) -> None:
        """See ports.KeyStore.add_signing_key."""
        await self._runner.write(lambda tx: signing_keys.add_signing_key(tx, record))

    async def activate_first_key(self) -> None:
        """See ports.KeyStore.activate_first_key."""
        await self._runner.write(signing_keys.activate_first_key)

    async def activate_key(
        self, kid: str = "", *, published_for: timedelta, by: str
    ) -> Sequence[str] | NotActivated:
        """See ports.KeyStore.activate_key."""
        written = await self._runner.write(
            lambda tx: signing_keys.activate_key(tx, kid, published_for=published_for, by=by)
        )
        return written.value

    async def schedule_key(self, kid: str, *, at: datetime | None, by: str) -> bool:
        """See ports.KeyStore.schedule_key."""
        return (await self._runner.write(lambda tx: signing_keys.schedule_key(tx, kid, at=at, by=by))).value

    async def rotate_key_if_due(
        self, *, every: timedelta | None, published_for: timedelta, held: Collection[str]
    ) -> Sequence[str]:
        """See ports.KeyStore.rotate_key_if_due."""
        written = await self._runner.write(
            lambda tx: signing_keys.rotate_key_if_due(tx, every=every, published_for=published_for, held=held)
        )
        return written.value

    async def purge_sessions(self, *, retention: timedelta, limit: int) -> int:
        """See ports.Housekeeping.purge_sessions."""
        written = await self._runner.write(
            lambda tx: housekeeping.purge_sessions(tx, retention=retention, limit=limit)
        )
        return written.value

    async def purge_codes(self, *, limit: int) -> int:
        """See ports.Housekeeping.purge_codes."""
        return (await self._runner.write(lambda tx: housekeeping.purge_codes(tx, limit=limit))).value

    async def compact_log(self, *, limit: int) -> int:
        """See ports.Housekeeping.compact_log."""
        return (await self._runner.write(lambda tx: housekeeping.compact_log(tx, limit=limit))).value

    async def count_rows(self) -> Mapping[str, int]:
        """See ports.Housekeeping.count_rows."""
        return await self._runner.read(housekeeping.count_rows)


def ensure_head(tx: Tx) -> None:
    """Give a new database its first incarnation."""
    if tx.connection.execute(select(log_head.c.id)).one_or_none() is None:
        tx.connection.execute(
            insert(log_head).values(
                id=HEAD_ID, incarnation=tx.fresh_incarnation(), position=0, compacted_through=0
            )
        )
