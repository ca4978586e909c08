"""
The person behind the sessions, as the record keeps them: looking up, binding, importing, exporting, erasing, resealing.

A user id that was merged away names the user it was merged into, everywhere. Sealed texts go in and come out as they
are: who may open them is the use cases' business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.domain.legacy_token import LegacyHolder, LegacyQuery
from authsvc.domain.users import User
from authsvc.ports.outcomes import Opened, Opening, UserIsBlocked, Written


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A sealed session_key and when WeChat gave it. An imported identity has an empty one: no key opens it."""

    blob: bytes = field(repr=False)
    exchanged_at: datetime


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """One identity with its session keys, newest first, and its bound phone number, sealed, if there is one."""

    user_id: str
    app_id: str
    openid: str = field(repr=False)
    created_at: datetime
    session_keys: tuple[SealedKey, ...] = ()
    unionid: str | None = field(default=None, repr=False)
    sealed_phone: bytes | None = field(default=None, repr=False)
    phone_bound_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A user with everything that names them: identities (oldest first), unionids as (platform group, unionid)."""

    user: User
    identities: tuple[IdentityRecord, ...]
    unionids: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """The user of this app and openid."""

    app_id: str
    openid: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByUnionid:
    """The user of this platform group and unionid."""

    platform_group: str
    unionid: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByExternalId:
    """The user with this external id."""

    external_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByPhone:
    """The users who bound a number: one digest for each key it may have been indexed under."""

    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """One record of another system. `platform_group` is the app's, empty if it is in none."""

    app_id: str
    platform_group: str
    openid: str = field(repr=False)
    unionid: str | None = field(default=None, repr=False)
    external_id: str | None = field(default=None, repr=False)


class ImportOutcome(StrEnum):
    """What became of one record."""

    CREATED = "created"
    LINKED = "linked"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Resealed:
    """
    What one batch did: how many blobs are under the current key now, and how many no key of the ring opened.

    `after` is where the next batch goes on; None when all was looked at.
    """

    resealed: int
    unopenable: int
    after: tuple[str, str] | None


# (blob, app id, openid) -> the same plaintext under the current key, or None if no key opens it. Pure.
Reseal = Callable[[bytes, str, str], bytes | None]
# (sealed phone number, app id, openid) -> it under the current key with its index, or None if no key opens it. Pure.
ResealPhone = Callable[[bytes, str, str], tuple[bytes, Digest] | None]


class PersonalDataStore(Protocol):
    """
    Each method is one transaction, as SessionStore says.

    What changes a person is told in the audit table in the same transaction, without personal data.
    """

    async def get_person(self, user_id: str) -> Person | None:
        """Return the user with identities and unionids; None if there is none or they were erased."""
        ...

    async def find_users(self, key: ByIdentity | ByUnionid | ByExternalId | ByPhone) -> Sequence[str]:
        """Return the ids of those who have it, newest user first, at most 100; several only for a phone number."""
        ...

    async def find_identities(self, user_id: str, *, app_id: str) -> Sequence[IdentityRecord]:
        """Return the user's identities in one app, the one that logged in last first; empty if there is none."""
        ...

    async def find_legacy_holder(self, query: LegacyQuery) -> LegacyHolder | None:
        """
        Return whom a legacy token names, from one snapshot that holds everything committed before the call.

        None if the record has nobody of that name, or nobody with an identity in the app. Of several identities in
        the app the one that logged in last is told.
        """
        ...

    async def open_vouched_session(
        self, opening: Opening, query: LegacyQuery
    ) -> Written[Opened | UserIsBlocked | None]:
        """
        Record a login that a legacy token vouches for, as SessionStore.open_session does; nobody is made or linked.

        The opening's openid must be known in the app; its session key and unionid are not looked at. The token is
        judged once more while the user's row is held (domain.legacy_token.judge_holder): None, with nothing written,
        if by then something stands against it.
        """
        ...

    async def keep_session_key(
        self, *, app_id: str, openid: str, sealed: bytes, exchanged_at: datetime
    ) -> bool:
        """Keep a session key as a login does, ordered by exchange time; False if there is no such identity."""
        ...

    async def bind_phone(self, *, app_id: str, openid: str, sealed: bytes, index: Digest, by: str) -> bool:
        """
        Keep a number with an identity in place of the one before; False if there is no such identity.

        Two people may bind one number: nobody is merged.
        """
        ...

    async def import_users(
        self, records: Sequence[ImportedUser], *, fresh_user_ids: Sequence[str], index: BlindIndex, by: str
    ) -> Sequence[ImportOutcome]:
        """
        Make or complete users, in order, all in one transaction; a record that contradicts the record is skipped.

        *fresh_user_ids* has one id for each record. An identity keeps its user. A new one joins the user of its
        unionid in its group, else of its external id, else a new user. CONFLICT: unionid and external id name two
        users, or another user has one of them, or the user has another one. ERASED: what was
        erased, and nobody has now, is the identity, the unionid, or the external id of an identity that is not there.
        Idempotent.
        """
        ...

    async def export_user(self, user_id: str) -> Mapping[str, Any] | None:
        """
        Return everything that is held of a person, from one snapshot; None if there is none or they were erased.

        `person` is a Person, `sessions` a list of Session, `merges` and `audit` lists of plain mappings.
        """
        ...

    async def erase_user(
        self,
        user_id: str,
        *,
        index: BlindIndex,
        by: str,
        even_blocked: bool,
        identity: ByIdentity | None = None,
    ) -> Written[int | None]:
        """
        End every session and remove what is personal, in one transaction; the value counts the ended sessions.

        Gone: identities and session keys, unionids, phone numbers, external id, roles, block, aliases, merges and
        what would undo them, no-merge marks, openid, device and address fields of sessions. Left: an empty users row
        (so that no token of the person comes alive again), session rows without personal fields, tombstones (HMACs)
        of identities, unionids and external ids, audit rows. None: there is no such user, or *identity* was given and
        is not theirs (any more). Unless *even_blocked*, a blocked user stays as they are.

        Raises:
            UserBlocked: the user is blocked and *even_blocked* is False; nothing was changed.

        """
        ...

    async def reseal_session_keys(
        self, reseal: Reseal, *, key_id: bytes, after: tuple[str, str], limit: int
    ) -> Resealed:
        """Bring session keys of at most *limit* identities, in the order (app id, openid), under the key *key_id*."""
        ...

    async def reseal_phones(
        self, reseal: ResealPhone, *, key_id: bytes, after: tuple[str, str], limit: int
    ) -> Resealed:
        """Bring bound numbers and their index under the key *key_id*, as reseal_session_keys does."""
        ...
