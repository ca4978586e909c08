"""The real clock and the real dice: the one file that touches them (lint bans them everywhere else)."""

import asyncio
import os
import random
import secrets
import time
from datetime import UTC, datetime, timedelta

# Linux has a clock that goes on while the machine is suspended; where there is none, monotonic is the best there is.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Implements ports.Clock over the operating system's clocks."""

    def now(self) -> datetime:
        """See ports.Clock.now."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """See ports.Clock.elapsed."""
        return time.clock_gettime(_BOOT_CLOCK)

    async def sleep(self, duration: timedelta) -> None:
        """See ports.Clock.sleep."""
        await asyncio.sleep(max(duration.total_seconds(), 0))


class SystemEntropy:
    """Implements ports.Entropy over the operating system's random source."""

    def token_bytes(self, count: int) -> bytes:
        """See ports.Entropy.token_bytes."""
        return secrets.token_bytes(count)

    def fraction(self) -> float:
        """See ports.Entropy.fraction."""
        return random.random()  # noqa: S311 - jitter, not a secret


def process_id() -> int:
    """Return this process's id, for ready files and logs."""
    return os.getpid()
