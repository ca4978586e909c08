"""checksession and resetusersessionkey: the signature, the verdicts, and what may be sent twice."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from authsvc.domain import errors
from authsvc.ports import NewSessionKey
from authsvc.wechat.api import sign
from tests.wechat.platform import (
    CHECK,
    NEW_KEY,
    RESET,
    TOKEN,
    USER_KEY,
    Answer,
    app_on,
    check,
    connected,
    dropping,
    platform,
    refusing,
    reset,
)
from tests.wechat.wire import APP_ID, OPENID, Rig, started

OFFICIAL_KEY = "o0q0otL8aEzpcZL/FT9WsQ=="


def test_official_vector() -> None:
    """Facts page 3.7: the key is the text, the result lowercase hex."""
    assert (
        sign(OFFICIAL_KEY, b'{"foo":"bar"}')
        == "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"
    )


@pytest.mark.parametrize(("call", "path"), [(check, CHECK), (reset, RESET)], ids=["check", "reset"])
async def test_request_is_the_documented_one(call: Callable[[Rig], Awaitable[object]], path: str) -> None:
    """GET with token, openid, signature of the empty message and its method, all in the query (facts page 3.2)."""
    async with connected() as (stage, rig):
        await call(rig)
        [visit] = stage.visits(path)
    assert visit.request.startswith(b"GET ")
    assert visit.query == {
        "access_token": "1_canarytoken",
        "openid": OPENID,
        "signature": sign(USER_KEY),
        "sig_method": "hmac_sha256",
    }
    assert USER_KEY.encode() not in visit.request


async def test_valid_key() -> None:
    """`errcode` 0 is a yes."""
    async with connected() as (_, rig):
        assert await check(rig) is True


@pytest.mark.parametrize("errcode", [87009, 87007])
async def test_key_that_is_not_valid(errcode: int) -> None:
    """A wrong signature or a key that is gone: no for a check, SESSION_KEY_STALE for a reset."""
    async with connected() as (stage, rig):
        stage.scripts[CHECK] = stage.scripts[RESET] = refusing(errcode)
        assert await check(rig) is False
        with pytest.raises(errors.SessionKeyStale):
            await reset(rig)
        assert (stage.count(CHECK), stage.count(RESET)) == (1, 1)


@pytest.mark.parametrize("errcode", [40097, 87008])
async def test_arguments_of_ours_that_are_refused(errcode: int) -> None:
    """What WeChat finds wrong with our request is our fault and raises an alarm."""
    async with connected() as (stage, rig):
        stage.scripts[CHECK] = stage.scripts[RESET] = refusing(errcode)
        for call in (check, reset):
            with pytest.raises(errors.WeChatMisconfigured):
                await call(rig)
        endpoints = [event.fields["endpoint"] for event in rig.observer.named("wechat.misconfigured")]
        assert endpoints == ["checksession", "resetusersessionkey"]


@pytest.mark.parametrize(
    "answer", [{}, {"errmsg": "ok"}, {"errcode": None}, {"errcode": ""}, {"errcode": False}]
)
async def test_only_a_zero_is_a_yes(answer: Answer) -> None:
    """An answer that doesn't say 0 says nothing."""
    async with connected() as (stage, rig):
        stage.scripts[CHECK] = lambda _visit: answer
        with pytest.raises(errors.WeChatUnavailable):
            await check(rig)


async def test_check_is_repeated_once() -> None:
    """It changes nothing, so a dropped connection or a busy WeChat is tried once more, and no further."""
    async with connected() as (stage, rig):
        stage.answer_in_turn(CHECK, {"errcode": -1}, {"errcode": 0})
        assert await check(rig)
        stage.scripts[CHECK] = dropping
        with pytest.raises(errors.WeChatUnavailable):
            await check(rig)
        assert stage.count(CHECK) == 4


async def test_repeats_add_up_to_no_more_than_one_of_each() -> None:
    """A refused token and a transient fault in one call: three sends, two tokens, never more."""
    async with connected() as (stage, rig):
        stage.answer_in_turn(CHECK, {"errcode": -1}, {"errcode": 42001}, {"errcode": -1})
        with pytest.raises(errors.WeChatUnavailable):
            await check(rig)
        assert (stage.count(CHECK), stage.count(TOKEN)) == (3, 2)


@pytest.mark.parametrize("busy", [True, False])
async def test_reset_is_not_repeated(busy: bool) -> None:
    """It kills the old key, so once written it is never sent again, to this host or to another."""
    async with platform() as stage, platform() as backup:
        stage.scripts[RESET] = refusing(-1) if busy else dropping
        async with started(replace(app_on(stage), backup_urls=(backup.url,))) as rig:
            with pytest.raises(errors.WeChatUnavailable):
                await reset(rig)
        assert (stage.count(RESET), backup.count(RESET)) == (1, 0)


async def test_reset_gives_the_new_key_and_shows_it_nowhere() -> None:
    """The value holds the key; its repr does not."""
    async with connected() as (_, rig):
        fresh = await reset(rig)
    assert fresh == NewSessionKey(NEW_KEY)
    assert repr(fresh) == "NewSessionKey()"
    assert NEW_KEY not in repr(rig.observer.events)


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 0, "openid": "somebody else", "session_key": NEW_KEY},
        {"errcode": 0, "session_key": NEW_KEY},
        {"errcode": 0, "openid": OPENID},
        {"errcode": 0, "openid": OPENID, "session_key": ""},
        {"errcode": 0, "openid": OPENID, "session_key": 7},
    ],
)
async def test_reset_of_somebody_else_is_no_answer(answer: Answer) -> None:
    """A key comes with the openid it is for, or is not taken."""
    async with connected() as (stage, rig):
        stage.scripts[RESET] = lambda _visit: answer
        with pytest.raises(errors.WeChatUnavailable):
            await reset(rig)


async def test_signature_is_of_the_text() -> None:
    """A key with characters that a URL or base64 would change is signed as it is."""
    async with connected() as (stage, rig):
        key = "+/==" * 6
        await rig.client.check_session_key(app_id=APP_ID, openid="o +&=/", session_key=key)
        [visit] = stage.visits(CHECK)
    assert (visit.query["openid"], visit.query["signature"]) == ("o +&=/", sign(key))


async def test_throttle() -> None:
    """45011 says a minute."""
    async with connected() as (stage, rig):
        stage.scripts[RESET] = refusing(45011)
        with pytest.raises(errors.WeChatThrottled):
            await reset(rig)
