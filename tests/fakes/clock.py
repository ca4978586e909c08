"""A clock that moves only when told to, and that a test can wait on."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """
    Implements ports.Clock.

    `advance` moves wall and elapsed time together and wakes the sleepers whose time has come; `until_sleeping`
    returns once that many sleepers wait, so that a test never guesses whether the code has reached its sleep.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed = 1000.0
        self._lock = threading.Lock()  # the SQLite writer thread reads it too
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._arrivals: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def elapsed(self) -> float:
        with self._lock:
            return self._elapsed

    @property
    def sleeping(self) -> int:
        """How many sleepers wait."""
        return sum(not wake.done() for _, wake in self._sleepers)

    async def sleep(self, duration: timedelta) -> None:
        seconds = duration.total_seconds()
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.elapsed() + seconds, wake))
        for wanted, arrived in self._arrivals:
            if self.sleeping >= wanted and not arrived.done():
                arrived.set_result(None)
        try:
            await wake
        finally:
            self._sleepers = [(at, other) for at, other in self._sleepers if other is not wake]

    async def until_sleeping(self, count: int = 1) -> None:
        """Return when at least *count* sleepers wait."""
        if self.sleeping >= count:
            return
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals.append((count, arrived))
        await arrived

    def advance(self, duration: timedelta) -> None:
        """Move time forward and wake whoever is due."""
        with self._lock:
            self._now += duration
            self._elapsed += duration.total_seconds()
            elapsed = self._elapsed
        for at, wake in self._sleepers:
            if at <= elapsed and not wake.done():
                wake.set_result(None)

    def jump_wall(self, duration: timedelta) -> None:
        """Move only the wall clock, as an operator or NTP would."""
        with self._lock:
            self._now += duration
