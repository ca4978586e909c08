"""Saying no for being too much: counted one by one, told a few times."""

from datetime import timedelta
from typing import NoReturn

from authsvc.domain.errors import RateLimited
from authsvc.ports import Clock, Event, Observer

# A flood of refusals is counted one by one and told at most this often, per limit.
_TOLD_EVERY = timedelta(seconds=10)
_SHORTEST_WAIT = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(minutes=10)


class Throttling:
    """What one process refuses for being too much. Names of limits are of a closed set."""

    def __init__(self, *, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._untold: dict[str, int] = {}
        self._told_at: dict[str, float] = {}

    def refuse(self, limit: str, wait: timedelta, *, is_overload: bool = False) -> NoReturn:
        """
        Raise the refusal of *limit*, counted, with *wait* but at least a second and at most ten minutes.

        Raises:
            RateLimited: always.

        """
        self.count(limit)
        wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
        raise RateLimited(limit, retry_after=wait, is_overload=is_overload)

    def count(self, limit: str) -> None:
        """Count a refusal; tell of the first at once, of those behind it together."""
        self._observer.event(Event("limits.refused", level="debug", fields={"limit": limit}))
        untold = self._untold.get(limit, 0) + 1
        now = self._clock.elapsed()
        told_at = self._told_at.get(limit)
        if told_at is None or now - told_at >= _TOLD_EVERY.total_seconds():
            self._observer.event(
                Event("limits.refusing", level="warning", fields={"limit": limit, "refused": untold})
            )
            self._told_at[limit] = now
            untold = 0
        self._untold[limit] = untold
