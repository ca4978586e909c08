"""Both keepers of buckets keep the promises of ports.limits.Limits, on the same cases."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
import pytest_asyncio

from authsvc.domain.limits import Rate
from authsvc.ports.limits import Ask, Limit, Limits
from authsvc.service.buckets import Buckets, LocalLimits
from authsvc.storage.redis_limits import RedisLimits
from authsvc.system import SystemClock
from tests.fakes import FakeClock, RecordingObserver
from tests.support.redis import RedisServer

# So slow that no test, on any machine, sees a token come back.
SLOW = 1 / 86400
_NAMES = itertools.count()


@pytest_asyncio.fixture(params=["process", "redis"])
async def limits(request: pytest.FixtureRequest, shared_redis: RedisServer) -> AsyncIterator[Limits]:
    if request.param == "process":
        yield LocalLimits(Buckets(FakeClock()))
        return
    # What Redis does not decide must not be decided by something that decides alike.
    observer = RecordingObserver()
    keeper = RedisLimits(
        shared_redis.url,
        fallback=_Undecided(),
        clock=SystemClock(),
        observer=observer,
        patience=timedelta(seconds=20),
    )
    await keeper.start()
    yield keeper
    await keeper.close()
    assert not observer.named("limits.fallback")


class _Undecided:
    """A fallback that a test must not fall back to."""

    async def take(self, asks: Sequence[Ask]) -> None:
        raise AssertionError("Redis did not decide")

    async def charge(self, asks: Sequence[Ask]) -> None:
        del asks

    def note(self) -> str:
        return ""


def limit(burst: int = 3, per_second: float = SLOW) -> Limit:
    """A rule of a name of its own."""
    return Limit(f"test.{next(_NAMES)}", Rate(per_second, burst))


async def admitted(limits: Limits, *asks: Ask) -> bool:
    return await limits.take(asks) is None


async def test_a_burst_passes_and_the_next_one_is_told_how_long_to_wait(limits: Limits) -> None:
    """
    The refusal names the rule and waits about one interval.
    """
    rule = limit(3)
    assert [await admitted(limits, Ask(rule, "k")) for _ in range(3)] == [True] * 3
    refusal = await limits.take([Ask(rule, "k")])
    assert refusal is not None
    assert (rule.name, True) == (refusal.limit, 86400 * 0.9 < refusal.wait.total_seconds() <= 86400)


async def test_keys_and_rules_have_buckets_of_their_own(limits: Limits) -> None:
    """
    Who has used up one has not touched another.
    """
    one, other = limit(1), limit(1)
    assert await admitted(limits, Ask(one, "a"))
    assert not await admitted(limits, Ask(one, "a"))
    assert await admitted(limits, Ask(one, "b"))
    assert await admitted(limits, Ask(other, "a"))


async def test_all_are_taken_or_none(limits: Limits) -> None:
    """
    A refusal by one rule costs nothing in the others.
    """
    wide, tight = limit(2), limit(1)
    assert await admitted(limits, Ask(wide, "k"), Ask(tight, "k"))
    for _ in range(3):
        assert not await admitted(limits, Ask(wide, "k"), Ask(tight, "k"))
    assert await admitted(limits, Ask(wide, "k"))


async def test_the_longest_wait_is_told(limits: Limits) -> None:
    """
    Who waits for the shorter one would be refused again.
    """
    short, long = limit(1, SLOW * 2), limit(1, SLOW)
    for order in ([short, long], [long, short]):
        keys = [Ask(rule, f"k{order[0].name}") for rule in order]
        assert await admitted(limits, *keys)
        refusal = await limits.take(keys)
        assert refusal is not None
        assert long.name == refusal.limit


async def test_a_look_takes_nothing_and_refuses_at_an_empty_bucket(limits: Limits) -> None:
    """
    Cost 0 asks whether a token is there.
    """
    rule = limit(1)
    for _ in range(3):
        assert await admitted(limits, Ask(rule, "k", cost=0))
    await limits.charge([Ask(rule, "k")])
    assert not await admitted(limits, Ask(rule, "k", cost=0))


async def test_an_overdrawn_bucket_is_just_empty(limits: Limits) -> None:
    """
    However often it was charged, one token is back after one interval; given back is given back, up to full.
    """
    rule = limit(2)
    for _ in range(50):
        await limits.charge([Ask(rule, "k")])
    refusal = await limits.take([Ask(rule, "k")])
    assert refusal is not None
    assert refusal.wait.total_seconds() <= 86400
    await limits.charge([Ask(rule, "k", cost=-1)])
    assert await admitted(limits, Ask(rule, "k"))
    assert not await admitted(limits, Ask(rule, "k"))
    await limits.charge([Ask(rule, "k", cost=-50)])
    assert [await admitted(limits, Ask(rule, "k")) for _ in range(3)] == [True, True, False]


async def test_an_empty_bucket_waives_the_one_behind_it_and_no_other(limits: Limits) -> None:
    """
    A full one waives nothing, and neither is taken from by the asking.
    """
    waiver, rule, other = limit(1), limit(1), limit(1)
    await limits.charge([Ask(rule, "k"), Ask(other, "k")])
    asks = [Ask(waiver, "k", waives=True), Ask(rule, "k")]
    assert not await admitted(limits, *asks)
    assert not await admitted(limits, *asks)
    await limits.charge([Ask(waiver, "k")])
    assert await admitted(limits, *asks)
    assert await admitted(limits, *asks)
    assert not await admitted(limits, *asks, Ask(other, "k"))


async def test_more_than_a_bucket_holds_waits_for_a_full_one(limits: Limits) -> None:
    """
    A large batch is not refused for ever.
    """
    rule = limit(3)
    assert await admitted(limits, Ask(rule, "k", cost=10))
    assert not await admitted(limits, Ask(rule, "k"))


async def test_of_a_hundred_at_once_exactly_the_burst_passes(limits: Limits) -> None:
    """
    Nobody's take comes between the look and the take of another.
    """
    rule, never = limit(30), limit(1)
    await limits.charge([Ask(never, "k")])
    answers = await asyncio.gather(
        *(limits.take([Ask(rule, "k")]) for _ in range(100)),
        *(limits.take([Ask(rule, "k"), Ask(never, "k")]) for _ in range(100)),
    )
    assert answers.count(None) == 30


async def test_nothing_asked_is_admitted(limits: Limits) -> None:
    """
    No asks, no refusal.
    """
    assert await limits.take([]) is None
    await limits.charge([])
