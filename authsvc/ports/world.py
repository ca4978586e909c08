"""The world's clock and dice."""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware UTC."""
        ...

    def elapsed(self) -> float:
        """Return seconds on a clock that never goes back and counts suspend (CLOCK_BOOTTIME where there is one)."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return after *duration*; at once (but yielding) for zero or less."""
        ...


class Entropy(Protocol):
    """The one source of randomness."""

    def token_bytes(self, count: int) -> bytes:
        """Return *count* bytes nobody can predict."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1); good for jitter, not for secrets."""
        ...
