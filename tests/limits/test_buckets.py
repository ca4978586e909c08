"""The buckets of one process: bounded, and no rule at another's expense."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.limits import Rate
from authsvc.ports.limits import Ask, Limit
from authsvc.service.buckets import Buckets
from tests.fakes import FakeClock

FAILED = Limit("failed", Rate(per_second=1 / 3600, burst=1))
OTHER = Limit("other", Rate(per_second=1 / 3600, burst=1))


@given(
    keys=st.lists(st.integers(min_value=0, max_value=50), max_size=300),
    pauses=st.lists(st.integers(min_value=0, max_value=4000), max_size=300),
)
def test_memory_is_bounded_whatever_comes(keys: list[int], pauses: list[int]) -> None:
    """
    However many keys, and whether or not time passes.
    """
    clock = FakeClock()
    buckets = Buckets(clock, max_keys=10)
    for key, pause in zip(keys, pauses, strict=False):
        buckets.take([Ask(FAILED, str(key))])
        clock.advance(timedelta(seconds=pause))
        assert len(buckets) <= 10


def test_a_flood_of_keys_to_one_rule_frees_nobody_of_another() -> None:
    """
    Nor whoever was stopped by the same rule most recently.
    """
    buckets = Buckets(FakeClock(), max_keys=10)
    assert buckets.take([Ask(OTHER, "abuser")]) is None
    for number in range(100):
        buckets.take([Ask(FAILED, str(number))])
    assert buckets.take([Ask(OTHER, "abuser")]) is not None
    assert buckets.take([Ask(FAILED, "99")]) is not None


def test_full_buckets_are_forgotten() -> None:
    """
    Once time has filled them again they cost no memory, although nobody sweeps.
    """
    clock = FakeClock()
    buckets = Buckets(clock)
    for number in range(100):
        buckets.take([Ask(FAILED, str(number))])
    assert len(buckets) == 100
    clock.advance(timedelta(hours=2))
    for number in range(100):
        buckets.take([Ask(OTHER, str(number))])
        buckets.take([Ask(FAILED, "one")])
        clock.advance(timedelta(hours=2))
    assert len(buckets) <= 2
