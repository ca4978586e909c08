"""
Logins that an overloaded server would refuse are refused here, where a refusal costs the server nothing.

To refuse a call costs a server a good part of what answering it does, so at five times its load it would be busy
refusing. The edge therefore sends on little more than what the server has lately taken, and more as soon as it takes
more: adaptive throttling, "Site Reliability Engineering", chapter 21, with decaying sums in the place of a window.
"""

import math
from datetime import timedelta
from typing import NoReturn

from authsvc.edge.congestion import Room
from authsvc.edge.failures import Refused
from authsvc.ports import Clock
from authsvc.service.throttling import Throttling
from authsvc.status import BY_REASON

_MEMORY = timedelta(seconds=5)
# Of what the server takes, what it is sent: the rest is how the edge learns that it takes more.
_SURPLUS = 1.4
# And at least so many a second, or a server that took nothing for a while would be asked too slowly again.
_FLOOR_PER_S = 10
_RETRY_AFTER_S = 2
LIMIT = "overload.edge"
# Under way at once at most, as many as a server takes by default; how many it really is, `congestion` says.
_PLACES = 500


class Backpressure:
    """
    Knows what was asked of the server and what it took, over the last seconds, and how many calls are under way.

    `expected` are calls on their way to `admit`, for whom places are kept from those that come behind them.
    """

    def __init__(self, *, clock: Clock, throttling: Throttling, places: int = _PLACES) -> None:
        self._clock = clock
        self.room = Room(most=places, clock=clock)
        self.expected = 0
        self._under_way = 0
        self._throttling = throttling
        self._asked = 0.0
        self._taken = 0.0
        self._at = clock.elapsed()
        self._owed = 0.0

    def admit(self) -> None:
        """
        Return if the call may be sent; when its outcome is known, tell it by `taken` or `refused`, and `left` in any case.

        What is under way counts as neither, so that a burst after a silence is sent whole, as far as there are places.

        Raises:
            Refused: RATE_LIMITED; nothing was sent.

        """
        part = self._part()
        # Evenly, without dice: nobody is refused twice in a row without need.
        self._owed = self._owed + part if part else 0.0
        if self._owed >= 1:
            self._owed -= 1
            self._asked += 1
            self._refuse()
        if not self.room.has_place(self._under_way):
            self._refuse()
        self._under_way += 1

    def would_refuse(self) -> bool:
        """Tell, before anything is done for a call, that `admit` will refuse it; then call `turn_away`."""
        return self._owed + self._part() >= 1 or not self.room.has_place(self._under_way + self.expected)

    def turn_away(self) -> None:
        """Count a call that was refused because of `would_refuse`."""
        part = self._part()
        if self._owed + part >= 1:
            self._owed += part - 1
            self._asked += 1
        self._throttling.count(LIMIT)

    def count(self) -> int:
        """Return how many calls are under way."""
        return self._under_way

    def left(self) -> None:
        """Give the place of a call that was admitted back."""
        self._under_way -= 1

    def taken(self) -> None:
        """Note that the server took a call, whatever its answer."""
        self._decay()
        self._asked += 1
        self._taken += 1

    def refused(self) -> None:
        """Note that the server had too much to do to take a call."""
        self._decay()
        self._asked += 1

    def refusal(self) -> Refused:
        """Return what a refused call is told."""
        return Refused(BY_REASON["RATE_LIMITED"], retry_after=_RETRY_AFTER_S, cause=LIMIT)

    def _refuse(self) -> NoReturn:
        self._throttling.count(LIMIT)
        raise self.refusal()

    def _part(self) -> float:
        self._decay()
        sent = max(_SURPLUS * self._taken, _FLOOR_PER_S * _MEMORY.total_seconds())
        return max(0.0, (self._asked - sent) / (self._asked + 1))

    def _decay(self) -> None:
        now = self._clock.elapsed()
        if now > self._at:
            kept = math.exp((self._at - now) / _MEMORY.total_seconds())
            self._asked *= kept
            self._taken *= kept
            self._at = now
