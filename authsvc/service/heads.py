"""
Which positions were the log's head, and when that was last confirmed.

A reader that is complete through a position knew everything at the last moment when the head was not above it: that
is how old its knowledge is, however much more this process knows by now.
"""

from bisect import bisect_right

# Heads confirmed closer together than this are told apart no better: then an answer is up to this much too old.
STEP_S = 0.1
# At least this many are kept, so at least KEPT * STEP_S = 400 s of a log that never rests: what is forgotten is older
# than the longest hard bound (300 s, DESIGN section 2).
KEPT = 4000


class Heads:
    """The confirmed heads of the recent past, ascending; at most twice KEPT."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._confirmed_at: list[float] = []

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._positions)

    def confirm(self, position: int, at: float) -> None:
        """Note that the head was *position*, by a read sent at *at*, in seconds on the elapsed clock."""
        positions, times = self._positions, self._confirmed_at
        if len(positions) > 1 and positions[-1] < position and times[-1] - times[-2] < STEP_S:
            self._forget_last()
        while positions and positions[-1] >= position:  # whoever is complete through those is so now, too
            self._forget_last()
        positions.append(position)
        times.append(at)
        if len(positions) > 2 * KEPT:
            del positions[:KEPT], times[:KEPT]

    def confirmed_at(self, position: int) -> float:
        """Return when the head was last known not to be above *position*; minus infinity if that is not remembered."""
        at = bisect_right(self._positions, position)
        return self._confirmed_at[at - 1] if at else float("-inf")

    def _forget_last(self) -> None:
        self._positions.pop()
        self._confirmed_at.pop()
