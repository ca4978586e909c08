"""
The sandbox's clock: the one it was given, which the control API can move forward.

So that nobody waits five minutes to see a code expire, or a day for a quota.
"""

import asyncio
from datetime import datetime, timedelta

from authsvc.sandbox.needs import Clock


class SteeredClock:
    """
    Implements needs.Clock over another clock, ahead of it by what it was advanced.
    """

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._ahead = timedelta(0)
        self._advanced: set[asyncio.Future[None]] = set()

    @property
    def ahead(self) -> timedelta:
        """
        How far it was moved.
        """
        return self._ahead

    def now(self) -> datetime:
        """See needs.Clock.now."""
        return self._inner.now() + self._ahead

    def advance(self, duration: timedelta) -> None:
        """
        It is that much later, and sleepers whose time has come wake.
        """
        self._ahead += duration
        for advanced in self._advanced:
            if not advanced.done():
                advanced.set_result(None)

    async def sleep(self, duration: timedelta, /) -> None:
        """See needs.Clock.sleep."""
        due = self.now() + duration
        while True:
            advanced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._advanced.add(advanced)
            nap = asyncio.ensure_future(self._inner.sleep(due - self.now()))
            try:
                await asyncio.wait({nap, advanced}, return_when=asyncio.FIRST_COMPLETED)
                if nap.done() or due <= self.now():
                    return
            finally:
                nap.cancel()
                self._advanced.discard(advanced)
