"""
The sandbox's clock goes with the one it was given and can be moved ahead of it.
"""

import asyncio
from datetime import timedelta

import pytest

from authsvc.sandbox import SandboxServer
from authsvc.sandbox.clock import SteeredClock
from tests.sandbox.wire import D1, WatchedClock, Wire


async def test_it_keeps_its_lead(clock: WatchedClock) -> None:
    """
    What it was advanced stays on top of what passes.
    """
    steered = SteeredClock(clock)
    start = steered.now()
    steered.advance(timedelta(hours=1))
    clock.advance(timedelta(minutes=1))
    assert (timedelta(minutes=61), timedelta(hours=1)) == (steered.now() - start, steered.ahead)


async def test_advancing_wakes_who_is_due_and_no_one_else(clock: WatchedClock) -> None:
    """
    A sleeper wakes once both clocks together have come as far as it meant to sleep.
    """
    steered = SteeredClock(clock)
    short, long = (asyncio.create_task(steered.sleep(timedelta(seconds=n))) for n in (10, 60))
    await clock.until_sleeping(2)
    steered.advance(timedelta(seconds=10))
    await short
    await clock.until_sleeping(1)
    assert not long.done()
    clock.advance(timedelta(seconds=50))
    await long
    assert clock.sleeping == 0


async def test_a_sleeper_that_is_cancelled_leaves_nothing(clock: WatchedClock) -> None:
    """
    The wait on the clock below ends with it.
    """
    sleeper = asyncio.create_task(SteeredClock(clock).sleep(timedelta(seconds=10)))
    await clock.until_sleeping()
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    assert clock.sleeping == 0


async def test_a_delay_can_be_skipped(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    Advancing over the control API releases an answer that was held back, and expires codes.
    """
    stale = server.mint(D1, "ann")
    delayed = asyncio.create_task(wire.login(server.mint(D1, "ann"), fault="delay;60"))
    await clock.until_sleeping()
    before = server.clock.now()
    moved = await wire.control("POST", "/clock", {"seconds": 60})
    assert "openid" in (await delayed).fields
    assert moved.fields == {"now": (before + timedelta(seconds=60)).isoformat(), "ahead_seconds": 60.0}
    await wire.control("POST", "/clock", {"seconds": 240})
    assert (await wire.login(stale)).errcode == 40029


@pytest.mark.parametrize("seconds", [0, -1, None, True, "1", 1e300])
async def test_it_moves_forward_only(wire: Wire, seconds: object) -> None:
    """
    What is no span of time ahead is refused.
    """
    before = (await wire.control("GET", "/clock")).fields
    assert (await wire.control("POST", "/clock", {"seconds": seconds})).status == 400
    assert before == (await wire.control("GET", "/clock")).fields
