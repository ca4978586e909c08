"""The record's part of who may call: principals that no file declares, and service keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.domain.principals import Declared
from authsvc.domain.service_keys import KeyRecord
from authsvc.ports.outcomes import Written


@dataclass(frozen=True, slots=True)
class CallerRecords:
    """The principals that are not withdrawn, and every service key, the oldest first, from one snapshot."""

    principals: Sequence[Declared]
    keys: Sequence[KeyRecord]


class CallerStore(Protocol):
    """
    Principals and service keys.

    Every change writes a PRINCIPAL fact, whose target is the principal's name, in the same transaction: it tells
    every server to read them again, and never leaves the servers.
    """

    async def read_callers(self) -> CallerRecords:
        """Return everything there is."""
        ...

    async def add_service_key(
        self, key: KeyRecord, *, principal: Declared | None, by: str
    ) -> Written[Declared | None]:
        """
        Add a key; the value is the principal it is for as the record knows it, None if it knows none.

        With *principal* the record knows it from now on as it is said there; one that is known stays as it is, unless
        it was withdrawn. Without, the key is for a principal of that name, whoever declares it.
        """
        ...

    async def revoke_service_key(self, key_id: str, *, by: str) -> Written[bool]:
        """Revoke a key for ever; False if there is no such key, True (and no second fact) if it was revoked before."""
        ...

    async def withdraw_principal(self, name: str, *, by: str) -> Written[int | None]:
        """
        Withdraw a principal of the record and revoke all keys of that name; the value counts the keys revoked now.

        None if there is neither such a principal nor a key of it that could be revoked.
        """
        ...
