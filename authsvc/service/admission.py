"""
How much one process takes on at once. Under overload the excess is refused early, the least urgent first.

Two signs of overload. Calls in flight: each class of calls may fill a share of the whole, so that logins cannot take the
last place from a revocation. Queue time: how late the event loop is, which is how long a call that just arrived waits;
while the least of a window stays above the target (CoDel, RFC 8289: the least tells a standing queue from a burst), a
growing part of the least urgent calls is refused, then of the next. Health checks and streams are never refused here:
the number of streams is the business of `watch`.
"""

import asyncio
from datetime import timedelta
from enum import IntEnum

from authsvc.ports import Clock, Event, Observer
from authsvc.service.limits import Limiter
from authsvc.service.throttling import Throttling

_WINDOW = timedelta(seconds=1)
_PROBES = 10
_STEP = 0.25


class Priority(IntEnum):
    """How urgent a call is; the higher the number, the sooner it is refused."""

    ALWAYS = 0
    """Health: an overloaded process that seems dead is restarted, which makes it worse for the others."""
    ENDS_ACCESS = 1
    """Revoke, and RefreshToken, which spares a login."""
    VERIFIES = 2
    """VerifyToken and what local verifiers fetch."""
    ORDINARY = 3
    BEGINS = 4
    """Login: the dearest call, whose user is not in yet."""


# Of all places in flight, those that calls of a class may fill.
_SHARES = {
    Priority.ALWAYS: float("inf"),
    Priority.ENDS_ACCESS: 1.0,
    Priority.VERIFIES: 0.9,
    Priority.ORDINARY: 0.7,
    Priority.BEGINS: 0.5,
}
# The pressure at which a class begins to be refused. The most urgent ones are refused for lack of places only.
_FROM = {Priority.BEGINS: 0.0, Priority.ORDINARY: 1.0, Priority.VERIFIES: 2.0}
# Checks are counted by tokens (`Limiter.admit_checks`), and who asks for health says no name.
_COUNTED_OTHERWISE = frozenset({Priority.ALWAYS, Priority.VERIFIES})
_MOST_PRESSURE = 2.9  # some checks always pass: a service that answers nobody is down


class Admission:
    """
    Counts what is in flight and watches the queue.

    `enter` and `leave` stand around every unary call and cost well under a microsecond. Gauges: `calls_in_flight`,
    and `overload`, the pressure from 0 (none) to 2.9.
    """

    def __init__(
        self,
        *,
        places: int,
        late: timedelta,
        limiter: Limiter,
        throttling: Throttling,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._places = {priority: share * places for priority, share in _SHARES.items()}
        self._late_s = late.total_seconds()
        self._limiter = limiter
        self._throttling = throttling
        self._clock = clock
        self._observer = observer
        self._in_flight = 0
        self._pressure = 0.0
        self._debts = dict.fromkeys(Priority, 0.0)
        self._watching: asyncio.Task[None] | None = None
        observer.gauge("calls_in_flight", lambda: float(self._in_flight))
        observer.gauge("overload", lambda: self._pressure)

    def start(self) -> None:
        """Watch the queue from now on."""
        self._watching = asyncio.ensure_future(self._watch())

    async def stop(self) -> None:
        """Watch no more. Idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def enter(self, priority: Priority, principal: str, *, now: float) -> None:
        """
        Take a place for a call of *principal* that came at *now* (Clock.elapsed); whoever took one calls `leave`.

        Raises:
            RateLimited: there is none for this class, the queue is too long for it, or the principal calls too often.

        """
        if self._in_flight >= self._places[priority]:
            self._throttling.refuse("overload.in_flight", timedelta(seconds=1), is_overload=True)
        if self._pressure and priority in _FROM:
            self._relieve(priority)
        if priority not in _COUNTED_OTHERWISE:
            self._limiter.admit_call(principal, now=now)
        self._in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self._in_flight -= 1

    def judge(self, lateness: float) -> None:
        """Take note of the least lateness of a window, in seconds."""
        before = self._pressure
        step = _STEP if lateness > self._late_s else -_STEP
        self._pressure = min(max(before + step, 0.0), _MOST_PRESSURE)
        if self._pressure and not before:
            self._observer.event(
                Event("overload.began", level="warning", fields={"late_ms": round(lateness * 1000, 1)})
            )
        elif before and not self._pressure:
            self._observer.event(Event("overload.ended"))

    def _relieve(self, priority: Priority) -> None:
        """Refuse the part of this class that the pressure says, evenly and without dice."""
        part = min(max(self._pressure - _FROM[priority], 0.0), 1.0)
        owed = self._debts[priority] + part
        if owed >= 1:
            self._debts[priority] = owed - 1
            self._throttling.refuse("overload.queue", timedelta(seconds=2), is_overload=True)
        self._debts[priority] = owed

    async def _watch(self) -> None:
        pause = _WINDOW / _PROBES
        while True:
            least = float("inf")
            for _ in range(_PROBES):
                due = self._clock.elapsed() + pause.total_seconds()
                await self._clock.sleep(pause)
                least = min(least, self._clock.elapsed() - due)
            self.judge(least)
