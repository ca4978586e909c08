"""A clock for the Python client's verifier that moves only when told to, and lets everything due happen at its time."""

import asyncio
from typing import Any


class VirtualClock:
    """Implements authsvc_client.Clock in whole milliseconds; wall and elapsed time move together unless told apart."""

    def __init__(self, wall_ms: int) -> None:
        self.wall_ms = wall_ms
        self.elapsed_ms = 0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        return self.wall_ms / 1000

    def elapsed_s(self) -> float:
        return self.elapsed_ms / 1000

    def fraction(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self.elapsed_ms + seconds * 1000, wake)
        self._sleepers.append(sleeper)
        try:
            await wake
        finally:
            self._sleepers.remove(sleeper)

    async def settle(self) -> None:
        """Return when everything that could happen at this time has happened."""
        loop: Any = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
            if not loop._ready:
                return

    async def hop_to(self, elapsed_ms: int) -> None:
        """Move on, from one sleeper's time to the next's."""
        while self.elapsed_ms < elapsed_ms:
            due = [at for at, wake in self._sleepers if not wake.done()]
            await self.jump_to(min([elapsed_ms, *(max(-int(-at // 1), self.elapsed_ms + 1) for at in due)]))
        await self.settle()

    async def jump_to(self, elapsed_ms: int) -> None:
        """Move on at once, as a machine that slept, then wake whoever is due."""
        self.wall_ms += elapsed_ms - self.elapsed_ms
        self.elapsed_ms = elapsed_ms
        for at, wake in list(self._sleepers):
            if at <= elapsed_ms and not wake.done():
                wake.set_result(None)
        await self.settle()
