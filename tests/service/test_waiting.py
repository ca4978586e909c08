"""Waiting under an injected clock, and writes that outlive their callers."""

import asyncio
from datetime import timedelta

import pytest

from authsvc.service.waiting import Unbroken, wait_within
from tests.fakes import FakeClock

SECOND = timedelta(seconds=1)


async def test_done_is_told_at_once() -> None:
    """No timer is started for what has happened already, and a limit of nothing waits for nothing."""
    clock, future = FakeClock(), asyncio.get_running_loop().create_future()
    assert not await wait_within(future, clock=clock, limit=timedelta(0))
    future.set_result(None)
    assert await wait_within(future, clock=clock, limit=timedelta(0))
    assert clock.sleeping == 0


async def test_the_limit_passes_and_the_future_lives_on() -> None:
    """False after the limit, and the awaited thing is not cancelled by it."""
    clock, future = FakeClock(), asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_within(future, clock=clock, limit=SECOND))
    await clock.until_sleeping()
    clock.advance(SECOND)
    assert not await waiting
    assert not future.done()


async def test_an_answer_leaves_no_sleeper_behind() -> None:
    """True as soon as it happens; the timer is gone, also when the waiter itself was cancelled."""
    clock, future = FakeClock(), asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_within(future, clock=clock, limit=SECOND))
    abandoned = asyncio.create_task(wait_within(future, clock=clock, limit=SECOND))
    await clock.until_sleeping(2)
    abandoned.cancel()
    await asyncio.gather(abandoned, return_exceptions=True)
    future.set_result(None)
    assert await waiting
    while clock.sleeping:
        await clock.sleep(timedelta(0))


async def test_a_cancelled_caller_does_not_cut_the_work() -> None:
    """The caller hears CancelledError at once; the work reaches its end, and `drained` waits for it."""
    unbroken, begun, go_on, ends = Unbroken(), asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ends.append("done")

    caller = asyncio.create_task(unbroken.run(work()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ends == []
    draining = asyncio.create_task(unbroken.drained())
    go_on.set()
    await draining
    assert ends == ["done"]


async def test_an_orphans_failure_is_no_noise() -> None:
    """Work that fails with nobody waiting is looked at, so the loop reports nothing; with a caller it is raised."""
    unbroken, reports = Unbroken(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))

    async def fail() -> None:
        raise ValueError("scripted")

    orphan = unbroken.start(fail())
    await unbroken.drained()
    del orphan
    with pytest.raises(ValueError, match="scripted"):
        await unbroken.run(fail())
    assert reports == []


async def test_drained_waits_for_what_starts_meanwhile() -> None:
    """Work begun by work that is being drained counts as well."""
    unbroken, order = Unbroken(), []

    async def second() -> None:
        order.append("second")

    async def first() -> None:
        unbroken.start(second())
        order.append("first")

    unbroken.start(first())
    await unbroken.drained()
    assert order == ["first", "second"]
