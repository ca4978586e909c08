"""Stand-ins for what cannot be had real in a test: the clock, the dice, and a listener for what was reported."""

from tests.fakes.clock import FakeClock
from tests.fakes.entropy import SeededEntropy
from tests.fakes.observer import RecordingObserver

__all__ = ["FakeClock", "RecordingObserver", "SeededEntropy"]
