"""
How many logins may be under way at once, so that whoever is let in is answered before a phone gives up.

A queue that stands adds delay and no throughput (RFC 8289), and what waits longer than its phone is work for nobody. How
long a login takes says little: WeChat may be slow while nobody here is busy. So the question is put to a call that has
no work of its own, the server's health: what it waits, through the edge's event loop and the server's, is what calls
stand in line here. While even the quickest of a few such calls waits long, there are places for fewer logins; while
none does and all places are taken, for more (additive increase, multiplicative decrease; RFC 5681 section 3.1).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from authsvc.ports import Clock

# As many as a single server of two milliseconds a login answers in a quarter of a second.
_AT_FIRST = 128
# So few make no queue; below this nothing is asked and nothing taken away.
_FEWEST = 24
_LATE_S = 0.15
_VERY_LATE_S = 0.4
_PAUSE = timedelta(milliseconds=50)
_WINDOW_S = 0.1
# After so long without a late window the old bound says nothing any more: more is tried faster.
_CALM_S = 10.0


class Room:
    """The bound itself: a number between `_FEWEST` and *most*."""

    def __init__(self, *, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._busiest = 0
        self._was_full = False
        self._late_at = float("-inf")
        self.places = min(_AT_FIRST, most)

    def has_place(self, under_way: int) -> bool:
        """Tell whether one more may join so many."""
        if under_way >= self.places:
            self._was_full = True
            return False
        self._busiest = max(self._busiest, under_way + 1)
        return True

    def judge(self, least_s: float) -> None:
        """Take note of the least wait of a window, in seconds."""
        now = self._clock.elapsed()
        if least_s > _LATE_S:
            self._late_at = now
            kept = 0.5 if least_s > _VERY_LATE_S else 0.8
            # Of those that were really there: a bound that nobody reached did not make the queue.
            self.places = max(int(kept * min(self.places, self._busiest)), min(_FEWEST, self._most))
        elif self._was_full:
            factor = 1.5 if now - self._late_at > _CALM_S else 1.05
            self.places = min(int(factor * self.places) + 1, self._most)
        self._busiest, self._was_full = 0, False


class Congestion:
    """Asks *probe* while logins are under way, and tells *room* what it heard."""

    def __init__(self, room: Room, *, probe: Callable[[], Awaitable[bool]], clock: Clock) -> None:
        self._room = room
        self._probe = probe
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def watch(self, under_way: Callable[[], int]) -> None:
        """Watch as long as there are enough under way to make a queue. Cheap if that is so already."""
        if (self._task is None or self._task.done()) and under_way() >= _FEWEST:
            self._task = asyncio.ensure_future(self._watch(under_way))

    async def aclose(self) -> None:
        """Watch no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self, under_way: Callable[[], int]) -> None:
        while under_way() >= _FEWEST:
            least, began = float("inf"), self._clock.elapsed()
            while self._clock.elapsed() - began < _WINDOW_S:
                asked_at = self._clock.elapsed()
                # A server that does not answer at all is no sign of a queue: logins are told so by themselves.
                if await self._probe():
                    least = min(least, self._clock.elapsed() - asked_at)
                await self._clock.sleep(_PAUSE)
            if least != float("inf"):
                self._room.judge(least)
