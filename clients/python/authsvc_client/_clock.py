"""The real clock, the dice for jitter, and fresh ids: the one file of this package that touches them."""

import asyncio
import random
import secrets
import time
from typing import Protocol

# Linux has a clock that goes on while the machine is suspended; where there is none, monotonic is the best there is.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What a verifier knows of time. Readings come from any thread; `sleep` only from the verifier's own loop."""

    def now_s(self) -> float:
        """Return seconds since 1970, for the claims `exp`, `nbf` and `iat`."""
        ...

    def elapsed_s(self) -> float:
        """Return seconds on a clock that never goes back and counts suspend, for ages; its zero means nothing."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1) that spreads the retries of many processes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """Implements Clock over the operating system's clocks."""

    def now_s(self) -> float:
        """See Clock.now_s."""
        return time.time()

    def elapsed_s(self) -> float:
        """See Clock.elapsed_s."""
        return time.clock_gettime(_BOOT_CLOCK)

    def fraction(self) -> float:
        """See Clock.fraction."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, seconds: float) -> None:
        """See Clock.sleep."""
        await asyncio.sleep(max(seconds, 0.0))


def fresh_id() -> str:
    """Return an id for a request that came without one: 32 hex digits."""
    return secrets.token_hex(16)
