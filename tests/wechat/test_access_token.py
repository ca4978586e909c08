"""One token per app: fetched once however many ask, replaced before it dies, given up only by who saw it fail."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain import errors
from tests.wechat.platform import (
    CHECK,
    PHONE,
    RESET,
    TOKEN,
    Answer,
    app_on,
    check,
    connected,
    dropping,
    hanging,
    phone,
    phone_info,
    platform,
    refusing,
    reset,
)
from tests.wechat.wire import APP_ID, SECRET, SOON, Rig, Visit, started

REFUSED = (40001, 40014, 42001)


async def test_thousand_callers_cost_one_request() -> None:
    """With a cold cache a thousand concurrent calls fetch one token, and all of them use it."""
    async with connected() as (stage, rig):
        assert await asyncio.gather(*(check(rig) for _ in range(1000))) == [True] * 1000
        assert stage.count(TOKEN) == 1
        assert set(stage.tokens_used(CHECK)) == {"1_canarytoken"}


async def test_request_is_the_documented_one() -> None:
    """POST with real JSON, the app's secret in it, and nothing that forces a new token (facts page 2.2)."""
    async with connected() as (stage, rig):
        await check(rig)
        [visit] = stage.visits(TOKEN)
    assert visit.request.startswith(b"POST /cgi-bin/stable_token HTTP/1.1\r\n")
    assert b"application/json" in visit.request
    assert json.loads(visit.body) == {
        "grant_type": "client_credential",
        "appid": APP_ID,
        "secret": SECRET,
    }


@pytest.mark.parametrize("errcode", REFUSED)
@pytest.mark.parametrize(
    ("call", "path"), [(phone, PHONE), (check, CHECK), (reset, RESET)], ids=["phone", "check", "reset"]
)
async def test_refused_token_is_fetched_again_once(
    errcode: int, call: Callable[[Rig], Awaitable[object]], path: str
) -> None:
    """The call is repeated with the next token, and its answer is the answer."""
    async with connected() as (stage, rig):
        good = stage._usual

        def refuse_first(visit: Visit) -> Answer:
            fresh = visit.query["access_token"] == "2_canarytoken"
            return good(visit) if fresh else {"errcode": errcode, "errmsg": "x"}

        stage.scripts[path] = refuse_first
        await call(rig)
        assert stage.tokens_used(path) == ["1_canarytoken", "2_canarytoken"]
        assert rig.observer.named("wechat.misconfigured") == []


@pytest.mark.parametrize("errcode", REFUSED)
async def test_stuck_refusal_costs_one_refresh_and_one_retry(errcode: int) -> None:
    """A token that stays refused ends as our misconfiguration after exactly two fetches and two calls."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = refusing(errcode)
        with pytest.raises(errors.WeChatMisconfigured) as raised:
            await phone(rig)
        assert (stage.count(TOKEN), stage.count(PHONE)) == (2, 2)
        assert raised.value.metadata == {"app_id": APP_ID, "errcode": str(errcode)}
        [event] = rig.observer.named("wechat.misconfigured")
        assert (event.level, event.fields) == (
            "error",
            {"app_id": APP_ID, "endpoint": "getuserphonenumber", "errcode": errcode},
        )
        bodies = [json.loads(visit.body) for visit in stage.visits(TOKEN)]
        assert all("force_refresh" not in body for body in bodies)


async def test_stuck_refusal_of_a_crowd_costs_one_refresh() -> None:
    """A hundred callers who saw the same token fail fetch one new one between them, though its text is the same."""
    async with connected() as (stage, rig):
        stage.scripts[TOKEN] = lambda _visit: {"access_token": "1_canarytoken", "expires_in": 7200}
        await check(rig)
        arrived, everybody = 0, asyncio.Event()

        async def refuse_together(_visit: Visit) -> Answer:
            nonlocal arrived
            arrived += 1
            if arrived == 100:
                everybody.set()
            await everybody.wait()
            return {"errcode": 40001, "errmsg": "x"}

        stage.scripts[CHECK] = refuse_together
        results = await asyncio.gather(*(check(rig) for _ in range(100)), return_exceptions=True)
        assert {type(result) for result in results} == {errors.WeChatMisconfigured}
        assert (stage.count(TOKEN), stage.count(CHECK)) == (2, 201)


async def test_late_refusal_of_an_old_token_expires_nothing() -> None:
    """Who comes back with a refusal of the token before takes the present one and fetches none."""
    async with connected() as (stage, rig):
        held, release = asyncio.Event(), asyncio.Event()

        async def refuse_old(visit: Visit) -> Answer:
            if visit.query["access_token"] != "1_canarytoken":
                return {"errcode": 0}
            if b'"slow"' in visit.body:
                held.set()
                await release.wait()
            return {"errcode": 42001}

        async def phone_script(visit: Visit) -> Answer:
            answer = await refuse_old(visit)
            return phone_info() if answer["errcode"] == 0 else answer

        stage.scripts[PHONE] = phone_script
        slow = asyncio.create_task(phone(rig, code="slow"))
        await held.wait()
        await phone(rig, code="quick")
        assert stage.count(TOKEN) == 2
        release.set()
        await slow
        assert stage.count(TOKEN) == 2
        assert stage.tokens_used(PHONE).count("2_canarytoken") == 2


async def test_late_refusal_counts_fetches_and_not_texts() -> None:
    """The same where WeChat gave the same text again: what is fresh is not given up for what an older fetch did."""
    async with connected() as (stage, rig):
        stage.scripts[TOKEN] = lambda _visit: {"access_token": "1_canarytoken", "expires_in": 7200}
        held, release = asyncio.Event(), asyncio.Event()
        seen: set[str] = set()

        async def refuse_first(visit: Visit) -> Answer:
            code = json.loads(visit.body)["code"]
            if code in seen:
                return phone_info()
            seen.add(code)
            if code == "slow":
                held.set()
                await release.wait()
            return {"errcode": 40001}

        stage.scripts[PHONE] = refuse_first
        slow = asyncio.create_task(phone(rig, code="slow"))
        await held.wait()
        await phone(rig, code="quick")
        release.set()
        await slow
        assert (stage.count(TOKEN), stage.count(PHONE)) == (2, 4)


async def test_token_is_replaced_before_its_last_five_minutes() -> None:
    """From 300 s before the end the old token still serves, and one successor is fetched behind its back."""
    async with connected() as (stage, rig):
        await check(rig)
        rig.clock.advance(timedelta(seconds=7200 - 361))
        await check(rig)
        assert stage.count(TOKEN) == 1

        came, release = asyncio.Event(), asyncio.Event()

        async def slowly(_visit: Visit) -> Answer:
            came.set()
            await release.wait()
            return stage.grant()

        stage.scripts[TOKEN] = slowly
        rig.clock.advance(timedelta(seconds=61))
        assert await asyncio.gather(*(check(rig) for _ in range(20))) == [True] * 20
        await came.wait()
        assert set(stage.tokens_used(CHECK)) == {"1_canarytoken"}
        release.set()
        while (await check(rig)) and stage.tokens_used(CHECK)[-1] != "2_canarytoken":
            pass
        assert stage.count(TOKEN) == 2


async def test_same_token_again_is_not_asked_for_at_once() -> None:
    """WeChat gives the same token with what is left of it; then it is left alone for half of that."""
    async with connected() as (stage, rig):
        stage.lifetime = 330
        await check(rig)
        for _ in range(20):
            await check(rig)
        assert stage.count(TOKEN) == 1
        rig.clock.advance(timedelta(seconds=164))
        await check(rig)
        assert stage.count(TOKEN) == 1


async def test_failed_refresh_keeps_the_old_token() -> None:
    """While the old token lives, a refresh that fails disturbs nobody, and is tried again only after a pause."""
    async with connected() as (stage, rig):
        await check(rig)
        rig.clock.advance(timedelta(seconds=6900))
        stage.scripts[TOKEN] = dropping
        await check(rig)
        while not any(event.fields["fault"] for event in rig.observer.named("wechat.call")):
            await check(rig)
        asked = stage.count(TOKEN)
        for _ in range(10):
            assert await check(rig)
        assert stage.count(TOKEN) == asked
        rig.clock.advance(timedelta(seconds=10))
        del stage.scripts[TOKEN]
        while stage.tokens_used(CHECK)[-1] == "1_canarytoken":
            await check(rig)
        assert stage.count(TOKEN) == asked + 1


async def test_dead_token_is_never_sent() -> None:
    """Once expired it is waited for a new one, by everybody together."""
    async with connected() as (stage, rig):
        await check(rig)
        rig.clock.advance(timedelta(seconds=7200))
        await asyncio.gather(*(check(rig) for _ in range(50)))
        assert stage.count(TOKEN) == 2
        assert set(stage.tokens_used(CHECK)[1:]) == {"2_canarytoken"}


@pytest.mark.parametrize("lifetime", [0, -1, -7200, 1, "0"])
async def test_no_lifetime_is_zero_or_less(lifetime: object) -> None:
    """Whatever WeChat says, a token is kept for a little while: neither for ever nor for no time."""
    async with connected() as (stage, rig):
        stage.lifetime = lifetime
        for _ in range(10):
            await check(rig)
        assert stage.count(TOKEN) == 1
        rig.clock.advance(timedelta(seconds=10))
        await check(rig)
        assert stage.count(TOKEN) == 2


async def test_endless_lifetime_ends() -> None:
    """No token outlives the two hours that WeChat's live."""
    async with connected() as (stage, rig):
        stage.lifetime = 10**9
        await check(rig)
        rig.clock.advance(timedelta(hours=2))
        await check(rig)
        assert stage.count(TOKEN) == 2


@pytest.mark.parametrize("length", [1, 136, 512, 4096])
async def test_any_length_of_token(length: int) -> None:
    """The text is sent back as it came, 512 characters and beyond (facts page 1.1)."""
    text = ("7_" + "aB-" * length)[:length]
    async with connected() as (stage, rig):
        stage.scripts[TOKEN] = lambda _visit: {"access_token": text, "expires_in": 7200}
        await check(rig)
        assert stage.tokens_used(CHECK) == [text]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"access_token": "", "expires_in": 7200},
        {"access_token": "a b", "expires_in": 7200},
        {"access_token": "x" * 4097, "expires_in": 7200},
        {"access_token": 7, "expires_in": 7200},
        {"access_token": "x"},
        {"access_token": "x", "expires_in": None},
        {"access_token": "x", "expires_in": True},
        {"access_token": "x", "expires_in": "soon"},
    ],
)
async def test_odd_answer_is_no_token(answer: Answer) -> None:
    """What isn't a token with a lifetime is a transient fault: nothing is sent with it."""
    async with connected() as (stage, rig):
        stage.scripts[TOKEN] = lambda _visit: answer
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert stage.count(PHONE) == 0


async def test_cancelled_caller_stops_nobody_elses_token() -> None:
    """The fetch goes on for the others when the caller who began it goes away."""
    async with connected() as (stage, rig):
        came, release = asyncio.Event(), asyncio.Event()

        async def slowly(_visit: Visit) -> Answer:
            came.set()
            await release.wait()
            return stage.grant()

        stage.scripts[TOKEN] = slowly
        first = asyncio.create_task(check(rig))
        await came.wait()
        second = asyncio.create_task(check(rig))
        first.cancel()
        await asyncio.wait([first])
        release.set()
        assert await second
        assert stage.count(TOKEN) == 1


async def test_wait_for_a_token_ends_with_the_deadline() -> None:
    """A token request that hangs makes the call UNAVAILABLE by its deadline, and nothing else was sent."""
    async with connected(lambda app: replace(app, deadline=SOON)) as (stage, rig):
        stage.scripts[TOKEN] = hanging
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert stage.count(PHONE) == 0


async def test_closing_ends_the_wait() -> None:
    """A client that closes leaves no caller waiting for a token."""
    async with platform() as stage:
        came = asyncio.Event()

        async def never(_visit: Visit) -> None:
            came.set()
            await asyncio.Event().wait()

        stage.scripts[TOKEN] = never
        async with started(app_on(stage)) as rig:
            call = asyncio.create_task(check(rig))
            await came.wait()
        with pytest.raises(errors.WeChatUnavailable):
            await call


async def test_refused_configuration_is_told_once_per_request() -> None:
    """A crowd that waits for one refused token request gets an error each and raises one alarm."""
    async with connected() as (stage, rig):
        stage.scripts[TOKEN] = refusing(40164)
        results = await asyncio.gather(*(check(rig) for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {errors.WeChatMisconfigured}
        assert len({id(result) for result in results}) == 50
        assert len(rig.observer.named("wechat.misconfigured")) == stage.count(TOKEN) == 1


async def test_login_needs_no_token() -> None:
    """While no token can be had, logins go on (facts page 0.5)."""
    async with connected(lambda app: replace(app, breaker_faults=2)) as (stage, rig):
        stage.scripts[TOKEN] = dropping
        for _ in range(4):
            with pytest.raises(errors.WeChatUnavailable):
                await check(rig)
        await rig.client.code_to_session(app_id=APP_ID, code="code")
        assert stage.count(TOKEN) == 2  # then the breaker was open
        [opened] = rig.observer.named("wechat.breaker_opened")
        assert opened.fields["lane"] == "token"


async def test_cloud_sends_no_token() -> None:
    """Behind the side-car of WeChat cloud hosting no token is fetched or sent, over plain HTTP (facts page 6.2)."""
    async with connected(lambda app: replace(app, cloud=True)) as (stage, rig):
        await phone(rig)
        assert (stage.count(TOKEN), stage.tokens_used(PHONE)) == (0, [""])
        stage.scripts[PHONE] = refusing(40001)
        with pytest.raises(errors.WeChatMisconfigured):
            await phone(rig)
        assert stage.count(PHONE) == 2
