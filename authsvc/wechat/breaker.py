"""A circuit breaker: after enough faults in a row, one probe at a time asks whether it is over. No I/O, no events."""

from dataclasses import dataclass
from datetime import timedelta

from authsvc.ports import Clock

_ONE_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to make one call; given back with its result. One from before the last opening or closing counts nothing."""

    era: int


class Breaker:
    """
    Closed until `faults` consecutive failures; then open for `cool_off`; then half-open, letting one call through.

    That probe's success closes it, its failure opens it for another `cool_off`.
    """

    def __init__(self, *, clock: Clock, faults: int, cool_off: timedelta) -> None:
        self._clock = clock
        self._limit = faults
        self._cool_off = cool_off
        self._failures = 0
        self._era = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether it keeps calls away, half-open included."""
        return self._open_until is not None

    def wait(self) -> timedelta | None:
        """Return None if a call may be made now, else how long to stay away (at least a second)."""
        if self._open_until is None:
            return None
        left = timedelta(seconds=self._open_until - self._clock.elapsed())
        if left > timedelta() or self._probing:
            return max(left, _ONE_SECOND)
        return None

    def enter(self) -> Pass:
        """Return leave for one call, the probe if it is half-open; only where `wait` has just returned None."""
        assert self.wait() is None, "wait() refused"
        self._probing = self._open_until is not None
        return Pass(self._era)

    def succeeded(self, leave: Pass) -> bool:
        """Note that the other side works; True if that closed the breaker."""
        if leave.era != self._era:
            return False
        self._failures = 0
        if self._open_until is None:
            return False
        self._turn(open_until=None)
        return True

    def failed(self, leave: Pass) -> bool:
        """Note a fault; True if that opened the breaker (a failed probe keeps it open: False)."""
        if leave.era != self._era:
            return False
        if self._open_until is not None:
            self._turn(open_until=self._clock.elapsed() + self._cool_off.total_seconds())
            return False
        self._failures += 1
        if self._failures < self._limit:
            return False
        self._turn(open_until=self._clock.elapsed() + self._cool_off.total_seconds())
        return True

    def abandoned(self, leave: Pass) -> None:
        """Note that the call ended without telling anything; another may probe."""
        if leave.era == self._era:
            self._probing = False

    def _turn(self, *, open_until: float | None) -> None:
        self._era += 1
        self._failures = 0
        self._probing = False
        self._open_until = open_until
