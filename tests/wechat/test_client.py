"""The client as its callers and operators meet it: sandbox answers, odd verdicts, what is reported, its life."""

from datetime import timedelta

import pytest

from authsvc.domain.errors import (
    UnknownApp,
    WeChatMisconfigured,
)
from authsvc.wechat import SANDBOX_HEADER, UnknownErrcode, WeChatClient, WeChatSettings
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy
from tests.wechat.wire import (
    APP_ID,
    CODE,
    OPENID,
    Rig,
    Visit,
    app_at,
    drop,
    refused_url,
    serving,
    started,
)

OTHER_ID = "wx00000000000000e2"


async def call(rig: Rig, *, code: str = CODE, app_id: str = APP_ID) -> str:
    return (await rig.client.code_to_session(app_id=app_id, code=code)).openid


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
        apps={APP_ID: app},
        clock=FakeClock(),
        entropy=SeededEntropy(),
        observer=RecordingObserver(),
        settings=WeChatSettings(),
    )
    with pytest.raises(RuntimeError):
        await client.code_to_session(app_id=APP_ID, code=CODE)
    await client.start()
    await client.start()
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError):
        await client.code_to_session(app_id=APP_ID, code=CODE)
