"""Nothing secret gets out of the calls with a token either: on no path of failure, and not on success."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from authsvc.wechat import SANDBOX_HEADER
from authsvc.wechat.errcodes import PHONE_MEANINGS, SESSION_MEANINGS, TOKEN_MEANINGS
from tests.wechat.platform import (
    CHECK,
    NEW_KEY,
    NUMBER,
    PHONE,
    PHONE_CODE,
    RESET,
    TOKEN,
    USER_KEY,
    Script,
    check,
    connected,
    dropping,
    hanging,
    phone,
    phone_info,
    reset,
)
from tests.wechat.test_secrecy import chain, text_of
from tests.wechat.wire import LATER, OPENID, SECRET, Rig, Visit

CANARIES = (SECRET, PHONE_CODE, OPENID, USER_KEY, NEW_KEY, NUMBER, "61234567", "canarytoken")
ECHO = " ".join(CANARIES)


def echoing(body: str, status: str = "200 OK", headers: str = "") -> Script:
    async def script(visit: Visit) -> None:
        await visit.answer(body.encode(), status=status, headers=headers)

    return script


async def broken_header(visit: Visit) -> None:
    await visit.write(f"HTTP/1.1 200 OK\r\n{ECHO}\x00\r\n\r\n".encode())
    visit.drop()


NUMBERS = sorted({*TOKEN_MEANINGS, *PHONE_MEANINGS, *SESSION_MEANINGS, 77777} - {87007, 87009})
FAILURES: dict[str, Script] = {
    **{
        f"errcode {errcode}": echoing(f'{{"errcode":{errcode},"errmsg":"{ECHO} rid: {SECRET}"}}')
        for errcode in NUMBERS
    },
    "dropped": dropping,
    "hanging": hanging,
    "body": echoing(ECHO),
    "status": echoing("", f"502 {ECHO}"),
    "redirect": echoing("", "302 Found", f"Location: http://127.0.0.1:1/?{SECRET}\r\n"),
    "header": broken_header,
    "odd fields": echoing(f'{{"access_token":["{ECHO}"],"phone_info":"{ECHO}","openid":"{NUMBER}"}}'),
    "sandbox": echoing("{}", headers=f"{SANDBOX_HEADER}: 1\r\n"),
    "foreign phone": echoing(
        f'{{"phone_info":{{"phoneNumber":"{NUMBER}","watermark":{{"appid":"{ECHO}"}}}}}}'
    ),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize(
    ("call", "path"),
    [(phone, TOKEN), (phone, PHONE), (check, CHECK), (reset, RESET)],
    ids=["token", "phone", "check", "reset"],
)
async def test_failures_reveal_nothing(
    call: Callable[[Rig], Awaitable[object]], path: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is answered, even our own secrets, none of it is in what leaves the client."""
    caplog.set_level(logging.DEBUG)
    patience = LATER if name == "hanging" else None
    async with connected(lambda app: replace(app, deadline=patience) if patience else app) as (stage, rig):
        stage.scripts[path] = FAILURES[name]
        with pytest.raises(Exception) as raised:
            await call(rig)
        assert list(chain(raised.value)) == [raised.value]
    gc.collect()  # so that an exception nobody fetched would be logged now
    seen = text_of(raised.value) + repr(rig.observer.events) + caplog.text
    seen += repr(rig.client) + repr(vars(rig.client))
    assert [canary for canary in CANARIES if canary in seen] == []


async def test_success_reveals_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Good answers are in no event, no repr and no log."""
    caplog.set_level(logging.DEBUG)
    async with connected() as (_, rig):
        values = [await phone(rig), await check(rig), await reset(rig)]
    seen = repr(values) + repr(rig.observer.events) + caplog.text
    assert [canary for canary in CANARIES if canary in seen] == []


async def test_cancellation_reveals_nothing() -> None:
    """A cancelled caller's exception holds nothing, wherever it was cut short."""
    for path in (TOKEN, PHONE):
        async with connected() as (stage, rig):
            came = asyncio.Event()

            async def never(_visit: Visit, came: asyncio.Event = came) -> None:
                came.set()
                await asyncio.Event().wait()

            stage.scripts[path] = never
            call = asyncio.create_task(phone(rig))
            await came.wait()
            call.cancel()
            [error] = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(error, asyncio.CancelledError)
        seen = text_of(error)
        assert [canary for canary in CANARIES if canary in seen] == []


async def test_the_search_finds_what_it_looks_for() -> None:
    """The canaries are the texts that really go over the wire."""
    async with connected() as (stage, rig):
        await phone(rig)
        await reset(rig)
        sent = b"".join(visit.request + visit.body for visit in stage.peer.visits).decode()
    assert [canary for canary in (SECRET, PHONE_CODE, OPENID, "canarytoken") if canary not in sent] == []
    assert NUMBER in str(phone_info())
