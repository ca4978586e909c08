"""ports.PersonalDataStore over any backend that runs units of work: each method is one of them, no more."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.domain.legacy_token import LegacyHolder, LegacyQuery
from authsvc.ports import (
    ByExternalId,
    ByIdentity,
    ByPhone,
    ByUnionid,
    IdentityRecord,
    ImportedUser,
    ImportOutcome,
    Opened,
    Opening,
    Person,
    Reseal,
    Resealed,
    ResealPhone,
    UserIsBlocked,
    Written,
)
from authsvc.storage import erasure, finding, imports, legacy, logins, phones, resealing, session_keys
from authsvc.storage.runner import Runner
from authsvc.storage.tx import Shared


class SqlPersonalDataStore:
    """Implements ports.PersonalDataStore."""

    _runner: Runner

    async def get_person(self, user_id: str) -> Person | None:
        """See ports.PersonalDataStore.get_person."""
        return await self._runner.read(lambda view: finding.get_person(view, user_id))

    async def find_users(self, key: ByIdentity | ByUnionid | ByExternalId | ByPhone) -> Sequence[str]:
        """See ports.PersonalDataStore.find_users."""
        return await self._runner.read(lambda view: finding.find_users(view, key))

    async def find_identities(self, user_id: str, *, app_id: str) -> Sequence[IdentityRecord]:
        """See ports.PersonalDataStore.find_identities."""
        return await self._runner.read(lambda view: finding.find_identities(view, user_id, app_id=app_id))

    async def find_legacy_holder(self, query: LegacyQuery) -> LegacyHolder | None:
        """See ports.PersonalDataStore.find_legacy_holder."""
        return await self._runner.read(lambda view: legacy.find_holder(view, query))

    async def open_vouched_session(
        self, opening: Opening, query: LegacyQuery
    ) -> Written[Opened | UserIsBlocked | None]:
        """See ports.PersonalDataStore.open_vouched_session."""
        return await self._runner.write(Shared(lambda tx: logins.open_vouched_session(tx, opening, query)))

    async def keep_session_key(
        self, *, app_id: str, openid: str, sealed: bytes, exchanged_at: datetime
    ) -> bool:
        """See ports.PersonalDataStore.keep_session_key."""
        written = await self._runner.write(
            lambda tx: session_keys.keep(
                tx, app_id=app_id, openid=openid, sealed=sealed, exchanged_at=exchanged_at
            )
        )
        return written.value is not None

    async def bind_phone(self, *, app_id: str, openid: str, sealed: bytes, index: Digest, by: str) -> bool:
        """See ports.PersonalDataStore.bind_phone."""
        written = await self._runner.write(
            lambda tx: phones.bind_phone(tx, app_id=app_id, openid=openid, sealed=sealed, index=index, by=by)
        )
        return written.value

    async def import_users(
        self, records: Sequence[ImportedUser], *, fresh_user_ids: Sequence[str], index: BlindIndex, by: str
    ) -> Sequence[ImportOutcome]:
        """See ports.PersonalDataStore.import_users."""
        written = await self._runner.write(
            lambda tx: imports.import_users(tx, records, fresh_user_ids=fresh_user_ids, index=index, by=by)
        )
        return written.value

    async def export_user(self, user_id: str) -> Mapping[str, Any] | None:
        """See ports.PersonalDataStore.export_user."""
        return await self._runner.read(lambda view: erasure.export_user(view, user_id))

    async def erase_user(
        self,
        user_id: str,
        *,
        index: BlindIndex,
        by: str,
        even_blocked: bool,
        identity: ByIdentity | None = None,
    ) -> Written[int | None]:
        """See ports.PersonalDataStore.erase_user."""
        return await self._runner.write(
            lambda tx: erasure.erase_user(
                tx, user_id, index=index, by=by, even_blocked=even_blocked, identity=identity
            )
        )

    async def reseal_session_keys(
        self, reseal: Reseal, *, key_id: bytes, after: tuple[str, str], limit: int
    ) -> Resealed:
        """See ports.PersonalDataStore.reseal_session_keys."""
        written = await self._runner.write(
            lambda tx: resealing.reseal_session_keys(tx, reseal, key_id=key_id, after=after, limit=limit)
        )
        return written.value

    async def reseal_phones(
        self, reseal: ResealPhone, *, key_id: bytes, after: tuple[str, str], limit: int
    ) -> Resealed:
        """See ports.PersonalDataStore.reseal_phones."""
        written = await self._runner.write(
            lambda tx: resealing.reseal_phones(tx, reseal, key_id=key_id, after=after, limit=limit)
        )
        return written.value
