"""What an overloaded process refuses, in which order, and that it takes everything on again."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from authsvc.domain.errors import RateLimited
from authsvc.domain.limits import Rate
from authsvc.service.admission import Admission, Priority
from authsvc.service.buckets import Buckets, LocalLimits
from authsvc.service.limits import Limiter, LimitRules
from authsvc.service.throttling import Throttling
from tests.fakes import FakeClock, RecordingObserver

LATE = timedelta(milliseconds=250)


def admission(clock: FakeClock, observer: RecordingObserver, *, places: int = 10, **rates: Rate) -> Admission:
    buckets, throttling = Buckets(clock), Throttling(clock=clock, observer=observer)
    limiter = Limiter(
        rules=LimitRules.default(**rates),
        shared=LocalLimits(buckets),
        buckets=buckets,
        pepper=b"pepper",
        clock=clock,
        throttling=throttling,
    )
    return Admission(
        places=places, late=LATE, limiter=limiter, throttling=throttling, clock=clock, observer=observer
    )


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[tuple[Admission, FakeClock, RecordingObserver]]:
    clock, observer = FakeClock(), RecordingObserver()
    gate = admission(clock, observer)
    gate.start()
    yield gate, clock, observer
    await gate.stop()


def enters(gate: Admission, priority: Priority, principal: str = "edge") -> bool:
    try:
        gate.enter(priority, principal, now=1000.0)
    except RateLimited:
        return False
    return True


def test_urgent_calls_find_a_place_where_others_do_not() -> None:
    """
    Of ten places logins fill five, ordinary calls seven, checks nine, revocations ten; health is not counted out.
    """
    gate = admission(FakeClock(), RecordingObserver())
    filled = {}
    for priority in sorted(Priority, reverse=True)[:-1]:
        while enters(gate, priority):
            pass
        filled[priority] = gate._in_flight
    assert list(filled.values()) == [5, 7, 9, 10]
    assert all(enters(gate, Priority.ALWAYS) for _ in range(100))


def test_a_place_given_back_is_there_again() -> None:
    """
    Nothing is lost by refusing.
    """
    gate = admission(FakeClock(), RecordingObserver())
    for _ in range(100):
        while enters(gate, Priority.BEGINS):
            pass
        for _ in range(5):
            gate.leave()
    assert gate._in_flight == 0


def test_a_principal_that_calls_too_often_is_refused_alone() -> None:
    """
    Its calls take no place; another's and its own checks go on.
    """
    gate = admission(FakeClock(), RecordingObserver(), principal_calls=Rate(per_second=1, burst=3))
    assert [enters(gate, Priority.ENDS_ACCESS, "loud") for _ in range(5)] == [True] * 3 + [False] * 2
    assert gate._in_flight == 3
    assert enters(gate, Priority.ENDS_ACCESS, "quiet")
    assert enters(gate, Priority.VERIFIES, "loud")


def part(gate: Admission, priority: Priority) -> float:
    """How much of a class is let in, of a hundred."""
    entered = 0
    for _ in range(100):
        if enters(gate, priority):
            entered += 1
            gate.leave()
    return entered


def test_the_longer_the_queue_stands_the_more_is_refused_the_least_urgent_first() -> None:
    """
    Logins, then ordinary calls, then checks, of which some always pass; revocations and refreshes never for the queue.
    """
    gate = admission(FakeClock(), RecordingObserver())
    shares = []
    for _ in range(14):
        gate.judge(0.3)
        shares.append([part(gate, priority) for priority in sorted(Priority, reverse=True)])
    assert shares[0] == [75, 100, 100, 100, 100]
    assert shares[3] == [0, 100, 100, 100, 100]
    assert shares[7] == [0, 0, 100, 100, 100]
    begins, ordinary, verifies, ends_access, always = shares[-1]
    assert (begins, ordinary, ends_access, always) == (0, 0, 100, 100)
    assert 5 <= verifies <= 15
    assert shares == sorted(shares, reverse=True)


def test_when_the_queue_is_gone_everything_is_taken_on_again() -> None:
    """
    Told when it begins and when it ends, and not between.
    """
    observer = RecordingObserver()
    gate = admission(FakeClock(), observer)
    for _ in range(20):
        gate.judge(1.0)
    for _ in range(20):
        gate.judge(0.01)
    assert part(gate, Priority.BEGINS) == 100
    assert [len(observer.named(name)) for name in ("overload.began", "overload.ended")] == [1, 1]
    assert observer.gauges["overload"]() == 0


@pytest.mark.parametrize(("lateness", "overloaded"), [(0.3, True), (0.2, False)])
async def test_the_queue_is_how_late_the_event_loop_is(
    watched: tuple[Admission, FakeClock, RecordingObserver], lateness: float, overloaded: bool
) -> None:
    """
    Measured by waking up, ten times a window.
    """
    _, clock, observer = watched
    for _ in range(11):
        await clock.until_sleeping()
        clock.advance(timedelta(seconds=0.1 + lateness))
    await clock.until_sleeping()
    assert bool(observer.named("overload.began")) is overloaded


async def test_a_single_stall_is_no_overload(
    watched: tuple[Admission, FakeClock, RecordingObserver],
) -> None:
    """
    A burst that is worked off within the window refuses nobody, however long it was.
    """
    gate, clock, observer = watched
    for number in range(40):
        await clock.until_sleeping()
        clock.advance(timedelta(seconds=5 if number % 10 else 0.1))
    assert not observer.named("overload.began")
    assert part(gate, Priority.BEGINS) == 100
