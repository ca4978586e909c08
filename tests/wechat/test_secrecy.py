"""
Nothing secret gets out: not the AppSecret, the code, the openid or the session key, on any path of failure.

Each is a canary; every exception that leaves the client is walked with all it drags along, and so are the events
and whatever was logged, by us or by the libraries below.
"""

import asyncio
import gc
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import pytest

from authsvc.wechat import SANDBOX_HEADER
from authsvc.wechat.errcodes import MEANINGS
from tests.wechat.test_transport import AFTER_WRITE
from tests.wechat.wire import (
    APP_ID,
    CANARIES,
    CODE,
    GOOD_BODY,
    OPENID,
    SECRET,
    SESSION_KEY,
    SOON,
    Behaviour,
    Visit,
    app_at,
    drop,
    hang,
    impatient,
    refused_url,
    serving,
    started,
)

# Everything secret in one place, as a chatty upstream might repeat it.
ECHO = f"{SECRET} {CODE} {OPENID} {SESSION_KEY}"


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that hangs on it, suppressed or not."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [other for other in (current.__cause__, current.__context__) if other is not None]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions


def text_of(error: BaseException) -> str:
    """All that any logger could make of the exception."""
    parts = []
    for link in chain(error):
        parts += [
            str(link),
            repr(link),
            repr(link.args),
            repr(vars(link)),
            repr(getattr(link, "__notes__", "")),
        ]
        parts += traceback.format_exception(link)
    return "\n".join(parts)


def assert_clean(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text


def answering(body: str, status: str = "200 OK", headers: str = "") -> Behaviour:
    async def behave(visit: Visit) -> None:
        await visit.answer(body.encode(), status=status, headers=headers)

    return behave


async def endless_header(visit: Visit) -> None:
    await visit.write(f"HTTP/1.1 200 OK\r\nX-Echo: {ECHO * 200}".encode())
    visit.drop()


async def bad_header(visit: Visit) -> None:
    await visit.write(f"HTTP/1.1 200 OK\r\n{ECHO}\x00\r\n\r\n".encode())
    visit.drop()


PATHS: dict[str, Behaviour] = {
    **{name: behave for name, (behave, _) in AFTER_WRITE.items()},
    **{
        f"errcode {errcode}": answering(
            f'{{"errcode":{errcode},"errmsg":"{ECHO} rid: {SECRET} req_id: {CODE}"}}'
        )
        for errcode in (*MEANINGS, 77777)
    },
    "echoed in the status line": answering("", f"500 {ECHO}"),
    "echoed in a redirect": answering("", "302 Found", f"Location: http://127.0.0.1:1/?{SECRET}\r\n"),
    "echoed in the body": answering(ECHO),
    "echoed in broken json": answering(f'{{"openid":"{OPENID}","session_key":"{SESSION_KEY}","x":{SECRET}}}'),
    "odd unionid beside a session": answering(
        f'{{"openid":"{OPENID}","session_key":"{SESSION_KEY}","unionid":7}}'
    ),
    "odd errcode beside a session": answering(
        f'{{"openid":"{OPENID}","session_key":"{SESSION_KEY}","errcode":"{SECRET}"}}'
    ),
    "endless header": endless_header,
    "bad header": bad_header,
    "from a sandbox": answering(GOOD_BODY.decode(), headers=f"{SANDBOX_HEADER}: 1\r\n"),
}


@pytest.mark.parametrize("name", PATHS)
async def test_failures_after_the_write_reveal_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever WeChat or a gateway answers, even our own secrets, none of it is in what leaves the client."""
    caplog.set_level(logging.DEBUG)
    async with serving(PATHS[name]) as peer, started(app_at(peer.url)) as rig:
        with pytest.raises(Exception) as raised:
            await rig.client.code_to_session(app_id=APP_ID, code=CODE)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None
    gc.collect()  # so that an exception nobody fetched would be logged now
    assert_clean(text_of(raised.value))
    assert_clean(repr(rig.observer.events))
    assert_clean(caplog.text)
    assert_clean(repr(rig.client) + repr(vars(rig.client)))
    assert_clean(name)


@pytest.mark.parametrize("name", ["refused", "hanging", "breaker", "unknown app", "no slot", "unsendable"])
async def test_other_failures_reveal_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same for what fails before anything was sent, and for deadlines."""
    caplog.set_level(logging.DEBUG)
    async with serving(hang) as hanging, serving(drop) as dropping:
        apps = {
            "refused": app_at(refused_url()),
            "hanging": impatient(app_at(hanging.url)),
            "breaker": replace(app_at(dropping.url), breaker_faults=1),
            "unknown app": replace(app_at(refused_url()), app_id="wx00000000000000e9"),
            "no slot": replace(app_at(hanging.url), max_concurrency=1, slot_wait=SOON),
            "unsendable": app_at(refused_url()),
        }
        code = CODE + ("\ud800" if name == "unsendable" else "")
        async with started(apps[name]) as rig:
            busy = asyncio.create_task(rig.client.code_to_session(app_id=APP_ID, code=CODE))
            if name == "no slot":
                await hanging.arrived.wait()
            elif name == "breaker":
                await asyncio.wait([busy])
            with pytest.raises(Exception) as raised:
                await rig.client.code_to_session(app_id=APP_ID, code=code)
            busy.cancel()
            [other] = await asyncio.gather(busy, return_exceptions=True)
    gc.collect()
    assert isinstance(other, BaseException)
    assert_clean(text_of(other))
    assert_clean(text_of(raised.value))
    assert_clean(repr(rig.observer.events))
    assert_clean(caplog.text)


async def test_cancellation_reveals_nothing() -> None:
    """What a cancelled caller gets back holds none of it either, though it passed through the HTTP library."""
    async with serving(hang) as peer, started(app_at(peer.url)) as rig:
        call = asyncio.create_task(rig.client.code_to_session(app_id=APP_ID, code=CODE))
        await peer.arrived.wait()
        call.cancel()
        [error] = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(error, asyncio.CancelledError)
    assert_clean(text_of(error))


async def test_success_reveals_nothing() -> None:
    """A good login's event and repr hold none of it."""
    async with serving(answering(GOOD_BODY.decode())) as peer, started(app_at(peer.url)) as rig:
        session = await rig.client.code_to_session(app_id=APP_ID, code=CODE)
    assert_clean(repr(session))
    assert_clean(repr(rig.observer.events))


async def test_the_library_by_itself_reveals_the_secret() -> None:
    """The search finds what it is looking for: aiohttp's own error for our request does hold the secret."""
    async with (
        serving(answering("{}")) as peer,
        aiohttp.ClientSession() as session,
        session.get(peer.url, params={"secret": SECRET}) as response,
    ):
        with pytest.raises(aiohttp.ContentTypeError) as raised:
            await response.json()
    with pytest.raises(AssertionError):
        assert_clean(text_of(raised.value))
