"""
How old a verifier's knowledge of revocations is, and whoever waits for it to come forward.

The age counts from when the server confirmed the log, on a clock that counts suspend. Readings may come from any
thread; the rest belongs to the verifier's loop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from authsvc_client._clock import Clock

_NEVER = float("-inf")


class Freshness:
    """`confirmed_at` is a reading of the elapsed clock; -inf before the first complete snapshot."""

    def __init__(self, *, clock: Clock, hard_bound_s: float) -> None:
        self._clock = clock
        self._hard_bound_s = hard_bound_s
        self._moved: list[asyncio.Future[None]] = []
        self.confirmed_at = _NEVER
        self.position = -1

    @property
    def is_known(self) -> bool:
        """Whether a complete snapshot was ever taken."""
        return self.position >= 0

    def age_s(self) -> float:
        """Return the seconds since the log was confirmed; infinite before the first complete snapshot."""
        return self._clock.elapsed_s() - self.confirmed_at

    def is_fresh(self) -> bool:
        """Tell whether what is known may decide."""
        return self._clock.elapsed_s() - self.confirmed_at <= self._hard_bound_s

    def confirm(self, *, heard_at: float, age_s: float, position: int) -> None:
        """Note that everything up to *position* is known, as confirmed *age_s* before *heard_at* (elapsed clock)."""
        self.confirmed_at = max(self.confirmed_at, heard_at - max(age_s, 0.0))
        self._advance(position)

    def restart(self, *, heard_at: float, age_s: float, position: int) -> None:
        """Note the same of a snapshot, which replaced what was known, however well that was confirmed."""
        self.confirmed_at = heard_at - max(age_s, 0.0)
        self._advance(position)

    def _advance(self, position: int) -> None:
        self.position = position
        for future in self._moved:
            if not future.done():
                future.set_result(None)

    @contextmanager
    def next_move(self) -> "Iterator[asyncio.Future[None]]":
        """A future that is done with the next confirmation."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved.append(future)
        try:
            yield future
        finally:
            self._moved.remove(future)
