"""The circuit breaker, without any I/O."""

from datetime import timedelta

from authsvc.wechat.breaker import Breaker
from tests.fakes import FakeClock

COOL_OFF = timedelta(seconds=10)


def make(faults: int = 3) -> tuple[Breaker, FakeClock]:
    clock = FakeClock()
    return Breaker(clock=clock, faults=faults, cool_off=COOL_OFF), clock


def fail(breaker: Breaker, times: int) -> list[bool]:
    return [breaker.failed(breaker.enter()) for _ in range(times)]


def test_opens_at_the_limit_exactly_once() -> None:
    """The third consecutive fault opens it, says so, and keeps calls away for the cool-off."""
    breaker, _ = make()
    assert fail(breaker, 3) == [False, False, True]
    assert breaker.is_open
    assert breaker.wait() == COOL_OFF


def test_success_between_faults_starts_the_count_again() -> None:
    """Only consecutive faults count."""
    breaker, _ = make()
    fail(breaker, 2)
    assert breaker.succeeded(breaker.enter()) is False
    fail(breaker, 2)
    assert breaker.wait() is None


def test_half_open_lets_one_probe_through() -> None:
    """After the cool-off one call may go; others wait until it is back."""
    breaker, clock = make(1)
    fail(breaker, 1)
    clock.advance(COOL_OFF)
    assert breaker.wait() is None
    probe = breaker.enter()
    assert timedelta(seconds=1) == breaker.wait()
    assert breaker.succeeded(probe) is True
    assert breaker.wait() is None
    assert not breaker.is_open


def test_failed_probe_opens_for_another_cool_off() -> None:
    """A probe that fails starts the cool-off anew and is no second opening."""
    breaker, clock = make(1)
    fail(breaker, 1)
    clock.advance(COOL_OFF)
    assert breaker.failed(breaker.enter()) is False
    assert breaker.wait() == COOL_OFF


def test_abandoned_probe_leaves_room_for_another() -> None:
    """A probe that was cancelled does not block the breaker for ever."""
    breaker, clock = make(1)
    fail(breaker, 1)
    clock.advance(COOL_OFF)
    breaker.abandoned(breaker.enter())
    assert breaker.wait() is None
    assert breaker.is_open


def test_results_from_before_the_opening_count_nothing() -> None:
    """Calls that were under way when it opened neither close it, nor lengthen it, nor free the probe."""
    breaker, clock = make(1)
    late = [breaker.enter() for _ in range(3)]
    fail(breaker, 1)
    clock.advance(COOL_OFF / 2)
    assert breaker.succeeded(late[0]) is False
    assert breaker.failed(late[1]) is False
    assert breaker.wait() == COOL_OFF / 2
    clock.advance(COOL_OFF / 2)
    breaker.enter()
    breaker.abandoned(late[2])
    assert breaker.wait() is not None


def test_wait_is_never_shorter_than_a_second() -> None:
    """What callers are told to wait is worth telling."""
    breaker, clock = make(1)
    fail(breaker, 1)
    clock.advance(COOL_OFF - timedelta(milliseconds=1))
    assert timedelta(seconds=1) == breaker.wait()
