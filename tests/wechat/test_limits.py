"""Slots and breaker, per app."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeSpent,
    WeChatUnavailable,
)
from tests.wechat.wire import (
    APP_ID,
    CODE,
    OPENID,
    SOON,
    Rig,
    Visit,
    app_at,
    hang,
    refused_url,
    serving,
    started,
)

OTHER_ID = "wx00000000000000e2"
FAULTS = 3
COOL_OFF = timedelta(seconds=10)


async def call(rig: Rig, *, code: str = CODE, app_id: str = APP_ID) -> str:
    return (await rig.client.code_to_session(app_id=app_id, code=code)).openid


async def spend(rig: Rig, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LoginCodeSpent):
            await call(rig, code="bad")


async def by_code(visit: Visit) -> None:
    """Drop the code `bad`, refuse the code `wrong`, find the code `forbidden` indecent, grant every other."""
    match visit.query["js_code"]:
        case "bad":
            visit.drop()
        case "wrong":
            await visit.answer(b'{"errcode":40029,"errmsg":"invalid code"}')
        case "forbidden":
            await visit.answer(b"<html>", status="403 Forbidden")
        case _:
            await visit.answer()


async def test_breaker_opens_refuses_without_sending_and_recovers() -> None:
    """
    After enough transient faults in a row nothing is sent any more and callers learn how long to wait; one probe
    after the cool-off closes it. Opening and closing are each told once.
    """
    async with serving(by_code) as peer:
        app = replace(app_at(peer.url), breaker_faults=FAULTS, breaker_cool_off=COOL_OFF)
        async with started(app) as rig:
            await spend(rig, FAULTS)
            connections = peer.connections
            with pytest.raises(WeChatUnavailable) as raised:
                await call(rig)
            assert (COOL_OFF, connections) == (raised.value.retry_after, peer.connections)
            assert (
                rig.last_call["fault"],
                rig.last_call["sent"],
                rig.last_call["hosts_tried"],
            ) == ("breaker_open", False, 0)

            rig.clock.advance(COOL_OFF)
            await spend(rig, 1)  # the probe fails
            with pytest.raises(WeChatUnavailable):
                await call(rig)

            rig.clock.advance(COOL_OFF)
            assert await call(rig) == OPENID
            assert await call(rig) == OPENID
        [opened] = rig.observer.named("wechat.breaker_opened")
        assert opened.fields == {"app_id": APP_ID, "lane": "login", "faults": FAULTS, "cool_off_s": 10.0}
        [closed] = rig.observer.named("wechat.breaker_closed")
        assert closed.fields == {"app_id": APP_ID, "lane": "login"}


async def test_wechats_own_system_error_opens_the_breaker() -> None:
    """The errcode -1 is a transient fault like a dropped connection (facts page 1.3)."""

    async def busy(visit: Visit) -> None:
        await visit.answer(b'{"errcode":-1,"errmsg":"system error"}')

    async with serving(busy) as peer, started(replace(app_at(peer.url), breaker_faults=FAULTS)) as rig:
        await spend(rig, FAULTS)
    assert len(rig.observer.named("wechat.breaker_opened")) == 1


async def test_failing_to_connect_opens_the_breaker() -> None:
    """A host that can't be reached is a transient fault too."""
    async with started(replace(app_at(refused_url()), breaker_faults=FAULTS)) as rig:
        for _ in range(FAULTS):
            with pytest.raises(WeChatUnavailable):
                await call(rig)
    assert len(rig.observer.named("wechat.breaker_opened")) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [("wrong", LoginCodeInvalid), ("forbidden", LoginCodeSpent), ("\ud800", LoginCodeInvalid)],
)
async def test_what_a_stranger_can_provoke_opens_nothing(code: str, error: type[Exception]) -> None:
    """No number of bad codes, whatever their text, takes the login away from everybody."""
    async with serving(by_code) as peer, started(replace(app_at(peer.url), breaker_faults=FAULTS)) as rig:
        for _ in range(FAULTS + 1):
            with pytest.raises(error):
                await call(rig, code=code)
        assert await call(rig) == OPENID
    assert rig.observer.named("wechat.breaker_opened") == []


async def test_verdict_between_faults_keeps_it_closed() -> None:
    """A refusal is an answer: WeChat works, so the count of faults starts again."""
    async with serving(by_code) as peer, started(replace(app_at(peer.url), breaker_faults=FAULTS)) as rig:
        await spend(rig, FAULTS - 1)
        with pytest.raises(LoginCodeInvalid):
            await call(rig, code="wrong")
        await spend(rig, FAULTS - 1)
        assert await call(rig) == OPENID


async def test_half_open_sends_one_probe() -> None:
    """Of many callers after the cool-off one probes; a cancelled probe gives its place to the next."""
    proceed = asyncio.Event()

    async def slow(visit: Visit) -> None:
        if visit.query["js_code"] == "bad":
            visit.drop()
            return
        await proceed.wait()
        await visit.answer()

    async with serving(slow) as peer:
        app = replace(app_at(peer.url), breaker_faults=1, breaker_cool_off=COOL_OFF)
        async with started(app) as rig:
            await spend(rig, 1)
            rig.clock.advance(COOL_OFF)
            for _ in range(2):
                peer.arrived.clear()
                probe = asyncio.create_task(call(rig))
                await peer.arrived.wait()
                for _ in range(5):
                    with pytest.raises(WeChatUnavailable):
                        await call(rig)
                probe.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await probe
            proceed.set()
            assert await call(rig) == OPENID
    assert len(peer.visits) == 1 + 2 + 1


async def test_one_apps_faults_never_reach_another() -> None:
    """While one app's breaker is open, another's logins go on, on the same hosts."""
    async with serving(by_code) as peer:
        mine = replace(app_at(peer.url), breaker_faults=1)
        async with started(mine, replace(mine, app_id=OTHER_ID)) as rig:
            await spend(rig, 1)
            with pytest.raises(WeChatUnavailable):
                await call(rig)
            assert await call(rig, app_id=OTHER_ID) == OPENID


async def test_slots_are_bounded_per_app() -> None:
    """
    With every slot taken a call waits its short while and is unavailable, unsent, without blame on WeChat; another
    app has slots of its own; a slot that is given back is used.
    """
    proceed = asyncio.Event()

    async def slow(visit: Visit) -> None:
        if visit.query["appid"] == APP_ID:
            await proceed.wait()
        await visit.answer()

    async with serving(slow) as peer:
        app = replace(app_at(peer.url), max_concurrency=1, slot_wait=SOON, breaker_faults=1)
        async with started(app, replace(app, app_id=OTHER_ID)) as rig:
            first = asyncio.create_task(call(rig))
            await peer.arrived.wait()
            with pytest.raises(WeChatUnavailable):
                await call(rig)
            assert (rig.last_call["fault"], rig.last_call["sent"]) == ("no_slot", False)
            assert await call(rig, app_id=OTHER_ID) == OPENID
            proceed.set()
            assert await first == OPENID
            assert await call(rig) == OPENID
    assert len(peer.visits) == 3


async def test_deadline_bounds_the_wait_for_a_slot() -> None:
    """A caller never waits for a slot beyond its deadline, however long `slot_wait` is."""
    async with serving(hang) as peer:
        mine = replace(app_at(peer.url), max_concurrency=1)
        async with started(mine) as patient:
            first = asyncio.create_task(call(patient))
            await peer.arrived.wait()
            patient.client.reconfigure({APP_ID: replace(mine, deadline=SOON)})
            with pytest.raises(WeChatUnavailable):
                await call(patient)
            first.cancel()
            await asyncio.wait([first])
    assert len(peer.visits) == 1


async def test_waiting_for_a_slot_is_rewarded() -> None:
    """More callers than slots all get through when slots come free in time, never more at once than slots."""
    at_once = most = 0

    async def count(visit: Visit) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)  # noqa: TID251 - lets others in, waits for nothing
        at_once -= 1
        await visit.answer()

    async with serving(count) as peer, started(replace(app_at(peer.url), max_concurrency=2)) as rig:
        assert await asyncio.gather(*(call(rig) for _ in range(20))) == [OPENID] * 20
    assert most <= 2
    assert len(peer.visits) == 20


async def test_breaker_that_opened_while_waiting_for_a_slot_holds() -> None:
    """Who waited for a slot while the breaker opened is refused, not sent after the others."""
    proceed = asyncio.Event()

    async def slow_drop(visit: Visit) -> None:
        await proceed.wait()
        visit.drop()

    async with serving(slow_drop) as peer:
        app = replace(app_at(peer.url), max_concurrency=1, breaker_faults=1)
        async with started(app) as rig:
            calls = [asyncio.create_task(call(rig)) for _ in range(4)]
            await peer.arrived.wait()
            proceed.set()
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert [LoginCodeSpent, WeChatUnavailable, WeChatUnavailable, WeChatUnavailable] == [
        type(r) for r in results
    ]
    assert len(peer.visits) == 1
