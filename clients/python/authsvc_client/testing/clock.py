"""A clock that moves only when told to."""

import asyncio
import threading


class FakeClock:
    """
    Implements Clock. `advance` moves both clocks and wakes the sleepers whose time has come, from any thread.

    Jitter is always in the middle.
    """

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self._now_s = now_s
        self._elapsed_s = 1000.0
        self._changing = threading.Lock()
        self._sleepers: list[tuple[float, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        """See Clock.now_s."""
        return self._now_s

    def elapsed_s(self) -> float:
        """See Clock.elapsed_s."""
        return self._elapsed_s

    def fraction(self) -> float:
        """See Clock.fraction."""
        return 0.5

    async def sleep(self, seconds: float) -> None:
        """See Clock.sleep."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
            return
        loop = asyncio.get_running_loop()
        wake: asyncio.Future[None] = loop.create_future()
        with self._changing:
            sleeper = (self._elapsed_s + seconds, loop, wake)
            self._sleepers.append(sleeper)
        try:
            await wake
        finally:
            with self._changing:
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        with self._changing:
            self._now_s += seconds
            self._elapsed_s += seconds
            due = [(loop, wake) for at, loop, wake in self._sleepers if at <= self._elapsed_s + 1e-9]
        for loop, wake in due:
            loop.call_soon_threadsafe(_wake, wake)

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or NTP would."""
        self._now_s += seconds


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
