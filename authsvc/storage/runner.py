"""What runs units of work: a backend, as the store over it sees one."""

from typing import Protocol, TypeVar

from authsvc.ports import Written
from authsvc.storage.tx import ReadUnit, WriteUnit

T = TypeVar("T")


class Runner(Protocol):
    """
    A backend. Every write is one transaction (or a savepoint of one), committed with an fsync before it returns.

    Driver errors come out as StoreUnavailable; a cancelled caller never cuts a unit in half.
    """

    async def read(self, unit: ReadUnit[T]) -> T:
        """Return what the unit sees in one snapshot."""
        ...

    async def write(self, unit: WriteUnit[T]) -> Written[T]:
        """Return the unit's durable result."""
        ...

    async def close(self) -> None:
        """Finish what was begun; later units raise StoreUnavailable."""
        ...
