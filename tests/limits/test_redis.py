"""Limits over Redis: shared by processes, and per process while Redis is away, without any call failing for it."""

import asyncio
import multiprocessing
import random  # noqa: TID251 - seeded, which is the point
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from authsvc.domain.limits import Rate
from authsvc.ports.limits import Ask, Limit
from authsvc.service.buckets import Buckets, LocalLimits
from authsvc.storage.redis_limits import RedisLimits
from authsvc.system import SystemClock
from tests.fakes import RecordingObserver
from tests.support.redis import RedisServer, redis_server

SLOW = 1 / 86400
# What a busy machine may take for one command; where a test wants to see Redis decide.
PATIENT = timedelta(seconds=20)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        server.start()
        yield server


@asynccontextmanager
async def limits_over(
    url: str, *, patience: timedelta = timedelta(milliseconds=100), buckets: Buckets | None = None
) -> AsyncIterator[tuple[RedisLimits, RecordingObserver]]:
    observer, clock = RecordingObserver(), SystemClock()
    keeper = RedisLimits(
        url,
        fallback=LocalLimits(buckets or Buckets(clock)),
        clock=clock,
        observer=observer,
        patience=patience,
    )
    await keeper.start()
    try:
        yield keeper, observer
    finally:
        await keeper.close()


async def until_told(observer: RecordingObserver, name: str, count: int = 1) -> None:
    """Return once so many events of this name were reported."""
    async with asyncio.timeout(60):
        while len(observer.named(name)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # noqa: TID251 - a bounded poll of a real process


def rule(burst: int, name: str = "test.rule") -> Limit:
    return Limit(name, Rate(SLOW, burst))


def _take_all(url: str, attempts: int) -> int:
    async def run() -> int:
        async with limits_over(url, patience=PATIENT) as (limits, observer):
            answers = await asyncio.gather(*(limits.take([Ask(rule(100), "k")]) for _ in range(attempts)))
            assert not observer.named("limits.fallback")
            return answers.count(None)

    return asyncio.run(run())


def test_processes_share_one_bucket(server: RedisServer) -> None:
    """
    Four processes at once: of 400 attempts the burst of 100 passes, no more and no fewer.
    """
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        admitted = pool.starmap(_take_all, [(server.url, 100)] * 4)
    assert sum(admitted) == 100


async def test_what_redis_holds_expires_by_itself(server: RedisServer) -> None:
    """
    At the latest when its bucket is full again; and no key names whom it is about beyond what it was given.
    """
    limit = Limit("test.short", Rate(1 / 600, 5))
    async with limits_over(server.url, patience=PATIENT) as (limits, _):
        for key in range(20):
            assert await limits.take([Ask(limit, str(key), cost=key % 5 + 1)]) is None
    lives = server.lives()
    assert len(lives) == 20
    for name, life in lives.items():
        taken = int(name.rpartition(":")[2]) % 5 + 1
        assert (taken - 1) * 600 < life.total_seconds() <= taken * 600


async def test_a_killed_redis_costs_no_call_and_comes_back_by_itself(server: RedisServer) -> None:
    """
    Limits go on in this process, stricter for none; that is said once, in a note and a gauge; then Redis decides again.
    """
    async with limits_over(server.url, patience=PATIENT) as (limits, observer):
        for _ in range(3):
            await limits.charge([Ask(rule(3), "abuser")])
        assert observer.gauges["limits_shared"]() == 1
        server.kill()
        refusal = await limits.take([Ask(rule(3), "abuser")])
        assert refusal is not None  # whoever was stopped stays stopped
        assert [await limits.take([Ask(rule(3), "other")]) is None for _ in range(4)] == [True] * 3 + [False]
        assert observer.gauges["limits_shared"]() == 0
        assert "per process" in limits.note()
        assert len(observer.named("limits.fallback")) == 1
        server.start()
        await until_told(observer, "limits.shared")
        assert limits.note() == ""
        assert observer.gauges["limits_shared"]() == 1
        assert await limits.take([Ask(rule(3), "third")]) is None
        assert any("test.rule:third" in key for key in server.lives())


async def test_a_frozen_redis_is_not_waited_for(server: RedisServer) -> None:
    """
    Callers turn to this process's buckets after one patience, all at once; those behind them do not wait at all.
    """
    async with limits_over(server.url, patience=timedelta(seconds=2)) as (limits, observer):
        server.freeze()
        answers = await asyncio.gather(*(limits.take([Ask(rule(30), "k")]) for _ in range(100)))
        assert answers.count(None) == 30
        assert len(observer.named("limits.fallback")) == 1
        # Nothing is begun with a Redis that is known to be away.
        commands = set(limits._commands)
        for _ in range(100):
            await limits.take([Ask(rule(30), "k")])
        assert limits._commands <= commands
        server.thaw()
        await until_told(observer, "limits.shared")
        assert await limits.take([Ask(rule(30), "fresh")]) is None


async def test_a_flushed_redis_decides_on(server: RedisServer) -> None:
    """
    Buckets are full again and the script is loaded again; nobody is refused and nothing falls back.
    """
    async with limits_over(server.url, patience=PATIENT) as (limits, observer):
        assert await limits.take([Ask(rule(1), "k")]) is None
        assert await limits.take([Ask(rule(1), "k")]) is not None
        server.flush()
        assert await limits.take([Ask(rule(1), "k")]) is None
        assert await limits.take([Ask(rule(1), "k")]) is not None
        assert not observer.named("limits.fallback")


async def test_a_redis_that_was_never_there_costs_no_start(server: RedisServer) -> None:
    """
    A server starts without it, and takes it into use when it comes.
    """
    server.kill()
    async with limits_over(server.url) as (limits, observer):
        assert len(observer.named("limits.fallback")) == 1
        assert await limits.take([Ask(rule(1), "k")]) is None
        server.start()
        await until_told(observer, "limits.shared")


async def test_thousands_of_cancellations_cross_no_replies(server: RedisServer) -> None:
    """
    Callers leave at every point of a command; whoever stays gets the answer to its own question (CVE-2023-28858).
    """
    dice = random.Random(5)  # noqa: S311 - seeded
    empty, full = rule(1, "test.empty"), rule(1_000_000, "test.full")
    async with limits_over(server.url, patience=PATIENT) as (limits, observer):
        await limits.charge([Ask(empty, "k")])
        crossed, stayed, left = 0, 0, 0

        async def ask(number: int) -> None:
            nonlocal crossed, stayed
            # Odd questions are always refused, even ones never.
            refusal = await limits.take([Ask(empty if number % 2 else full, "k")])
            stayed += 1
            crossed += (refusal is None) == bool(number % 2)

        for _ in range(100):
            tasks = [asyncio.ensure_future(ask(number)) for number in range(60)]
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
            for task in dice.sample(tasks, 40):
                left += task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (crossed, len(observer.named("limits.fallback"))) == (0, 0)
        assert left >= 3000
        assert stayed >= 2000


@pytest.mark.long
async def test_a_minute_frozen(server: RedisServer) -> None:
    """
    Every call of a whole minute is answered, the slowest within the promised 200 ms but for the machine's own stalls.
    """
    clock = SystemClock()
    async with limits_over(server.url) as (limits, observer):
        server.freeze()
        began, slowest, stall = clock.elapsed(), 0.0, 0.0
        while clock.elapsed() - began < 60:
            before = clock.elapsed()
            await limits.take([Ask(rule(1000), "k")])
            slowest = max(slowest, clock.elapsed() - before)
            before = clock.elapsed()
            await asyncio.sleep(0.02)  # noqa: TID251 - paces the calls, and shows how late this machine is
            stall = max(stall, clock.elapsed() - before - 0.02)
        assert observer.gauges["limits_shared"]() == 0
        server.thaw()
        await until_told(observer, "limits.shared")
        assert slowest - stall < 0.2
