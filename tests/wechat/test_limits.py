"""Slots and breaker, per app; and the answers of a sandbox where none may be."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeSpent,
    UnknownApp,
    WeChatMisconfigured,
    WeChatUnavailable,
)
from authsvc.wechat import SANDBOX_HEADER, UnknownErrcode, WeChatClient, WeChatSettings
from tests.fakes import FakeClock, RecordingObserver
from tests.wechat.wire import (
    APP_ID,
    CODE,
    OPENID,
    SOON,
    Rig,
    Visit,
    app_at,
    drop,
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
        assert opened.fields == {"app_id": APP_ID, "faults": FAULTS, "cool_off_s": 10.0}
        [closed] = rig.observer.named("wechat.breaker_closed")
        assert closed.fields == {"app_id": APP_ID}


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


@pytest.mark.parametrize(
    ("answer", "status"), [(None, "200 OK"), (b'{"errcode":40029}', "200 OK"), (b"", "500 Oops")]
)
async def test_sandbox_is_refused_in_production(answer: bytes | None, status: str) -> None:
    """An answer with the sandbox's marker grants nothing and says nothing that is believed, and shouts."""

    async def marked(visit: Visit) -> None:
        header = f"{SANDBOX_HEADER.lower()}: 1\r\n"
        if answer is None:
            await visit.answer(headers=header)
        else:
            await visit.answer(answer, status=status, headers=header)

    async with serving(marked) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(WeChatMisconfigured):
            await call(rig)
    [event] = rig.observer.named("wechat.sandbox_answer")
    assert (event.level, event.fields) == ("error", {"app_id": APP_ID, "host": "127.0.0.1"})
    assert rig.last_call["outcome"] == "sandbox_answer"


async def test_sandbox_is_welcome_in_development() -> None:
    """With the refusal switched off the marker changes nothing."""

    async def marked(visit: Visit) -> None:
        await visit.answer(headers=f"{SANDBOX_HEADER}: 1\r\n")

    settings = WeChatSettings(refuse_sandbox=False)
    async with serving(marked) as peer, started(app_at(peer.url), settings=settings) as rig:
        assert await call(rig) == OPENID


async def test_unknown_errcode_is_reported_with_its_rid() -> None:
    """An errcode nobody documented raises what becomes INTERNAL; number and trace id are in the event."""

    async def odd(visit: Visit) -> None:
        await visit.answer(b'{"errcode":"77777","errmsg":"odd, rid: 67f5d2f4-0a1b2c3d-4e5f6071"}')

    async with serving(odd) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(UnknownErrcode):
            await call(rig)
    [event] = rig.observer.named("wechat.call")
    assert (
        event.level,
        event.fields["outcome"],
        event.fields["errcode"],
        event.fields["rid"],
    ) == ("error", "unknown_errcode", 77777, "67f5d2f4-0a1b2c3d-4e5f6071")


async def test_duration_is_the_clocks() -> None:
    """The reported duration is read from the Clock, in milliseconds."""

    async def slow(visit: Visit) -> None:
        rig.clock.advance(timedelta(milliseconds=1500))
        await visit.answer()

    async with serving(slow) as peer, started(app_at(peer.url)) as rig:
        await call(rig)
    assert rig.last_call["duration_ms"] == 1500.0


async def test_unknown_app_is_not_sent() -> None:
    """An app that isn't configured has no credentials to send."""
    async with serving(drop) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(UnknownApp):
            await call(rig, app_id=OTHER_ID)
    assert peer.visits == []


async def test_lifecycle() -> None:
    """Starting and closing twice are once; before the start and after the close a call is a programming error."""
    app = app_at(refused_url())
    client = WeChatClient(
        apps={APP_ID: app}, clock=FakeClock(), observer=RecordingObserver(), settings=WeChatSettings()
    )
    with pytest.raises(RuntimeError):
        await client.code_to_session(app_id=APP_ID, code=CODE)
    await client.start()
    await client.start()
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError):
        await client.code_to_session(app_id=APP_ID, code=CODE)
