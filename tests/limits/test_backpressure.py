"""What an edge sends on to a server that takes only so much: simulated second by second on a fake clock."""

from datetime import timedelta

import pytest

from authsvc.edge.backpressure import Backpressure
from authsvc.edge.failures import Refused
from authsvc.service.throttling import Throttling
from tests.fakes import FakeClock, RecordingObserver


class Scene:
    """An edge and a server that takes *capacity* calls a second."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clock, self.observer = FakeClock(), RecordingObserver()
        throttling = Throttling(clock=self.clock, observer=self.observer)
        self.edge = Backpressure(clock=self.clock, throttling=throttling)

    def second(self, offered: int) -> tuple[int, int]:
        """How many of the *offered* were sent, and how many of those the server took."""
        sent = taken = 0
        for _ in range(offered):
            self.clock.advance(timedelta(seconds=1 / offered))
            try:
                self.edge.admit()
            except Refused as refused:
                assert (refused.reason, refused.retry_after) == ("RATE_LIMITED", 2)
                continue
            sent += 1
            self.edge.left()
            if taken < self.capacity:
                taken += 1
                self.edge.taken()
            else:
                self.edge.refused()
        return sent, taken

    def seconds(self, count: int, offered: int) -> tuple[int, int]:
        """The last of *count* seconds."""
        for _ in range(count - 1):
            self.second(offered)
        return self.second(offered)


def test_below_its_capacity_nothing_is_held_back() -> None:
    """
    Not one call, for a minute.
    """
    scene = Scene(capacity=100)
    assert all(scene.second(100) == (100, 100) for _ in range(60))


@pytest.mark.parametrize("times", [2, 5, 20])
def test_beyond_it_the_server_is_sent_little_more_than_it_takes(times: int) -> None:
    """
    And goes on taking all it can: the excess costs it next to nothing, however much it is.
    """
    scene = Scene(capacity=100)
    sent, taken = scene.seconds(60, 100 * times)
    assert taken >= 90
    assert sent <= 150


def test_when_the_rush_is_over_everything_is_sent_again() -> None:
    """
    And when the server takes more, more is sent.
    """
    scene = Scene(capacity=100)
    scene.seconds(60, 500)
    scene.capacity = 400
    assert scene.seconds(60, 300) == (300, 300)


def test_a_burst_after_a_silence_is_sent_whole() -> None:
    """
    What is under way counts as neither taken nor refused; but there are places for so many only.
    """
    scene = Scene(capacity=1)
    for _ in range(scene.edge.room.places):
        scene.edge.admit()
    with pytest.raises(Refused):
        scene.edge.admit()
    scene.edge.left()
    scene.edge.admit()


def test_a_server_that_takes_nothing_is_still_asked_now_and_then() -> None:
    """
    Or nobody would ever learn that it takes calls again.
    """
    scene = Scene(capacity=0)
    sent, _ = scene.seconds(60, 1000)
    assert 5 <= sent <= 15
    scene.capacity = 10_000
    assert scene.seconds(120, 1000) == (1000, 1000)
