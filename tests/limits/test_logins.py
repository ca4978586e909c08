"""Who is stopped at logins and refreshes, and who is not: through the use cases, with the sandbox behind them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeUsed,
    RateLimited,
    RefreshTokenInvalid,
)
from authsvc.domain.limits import Rate
from authsvc.domain.sessions import ClientInfo
from authsvc.service.limits import LimitRules
from tests.support.core import D1, Core, build_core

CARRIER = "203.0.113.7"


@pytest_asyncio.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """A core under the rules that hold by default; its clock stands still."""
    async with build_core(tmp_path, rules=LimitRules.default()) as core:
        yield core


async def log_in(core: Core, code: str, **client: str) -> None:
    await core.logins.login(app_id=D1, code=code, client=ClientInfo(**{"ip": CARRIER, **client}))


async def fail(core: Core, number: int, **client: str) -> str:
    """The name of the error that a made-up code meets."""
    try:
        await log_in(core, f"made-up-{number:026d}", **client)
    except (LoginCodeInvalid, LoginCodeUsed, RateLimited) as error:
        return type(error).__name__
    return "in"


async def test_one_abuser_is_stopped_and_thousands_behind_the_same_address_are_not(core: Core) -> None:
    """
    The abuser's codes stop reaching WeChat; everybody else on the carrier's address logs in meanwhile.
    """
    outcomes = []
    for number in range(60):
        outcomes.append(await fail(core, number, device_id="abuser"))
        await asyncio.gather(
            *(
                log_in(core, core.code(f"user-{number}-{more}"), device_id=f"phone-{number}-{more}")
                for more in range(5)
            )
        )
    assert outcomes == ["LoginCodeInvalid"] * 10 + ["RateLimited"] * 50
    assert core.store.calls["claim_code"] == 10 + 300


@pytest.mark.long
async def test_five_thousand_behind_one_address(core: Core) -> None:
    """
    All of them, by default rules, while two abusers try: one with a device, one without.
    """
    stopped = 0
    for wave in range(100):
        await asyncio.gather(
            *(
                log_in(core, core.code(f"user-{wave}-{more}"), device_id=f"phone-{wave}-{more}")
                for more in range(50)
            )
        )
        stopped += await fail(core, wave, device_id="abuser") == "RateLimited"
        stopped += await fail(core, 1000 + wave, user_agent="curl") == "RateLimited"
        core.clock.advance(timedelta(milliseconds=10))
    assert stopped == 90 + 50


async def test_who_changes_device_with_every_try_is_stopped_by_the_address(core: Core) -> None:
    """
    Then devices that have logged in before still do, however many newcomers must wait.
    """
    await log_in(core, core.code("alice"), device_id="alices-phone")
    outcomes = [await fail(core, number, device_id=f"made-up-{number}") for number in range(400)]
    assert outcomes.count("LoginCodeInvalid") == 300
    with pytest.raises(RateLimited) as caught:
        await log_in(core, core.code("newcomer"), device_id="new-phone")
    assert caught.value.retry_after is not None
    await log_in(core, core.code("alice"), device_id="alices-phone")
    core.clock.advance(caught.value.retry_after)
    await log_in(core, core.code("newcomer"), device_id="new-phone")


async def test_good_logins_give_an_address_its_failures_back(core: Core) -> None:
    """
    An address where as many get in as fail is never stopped.
    """
    for number in range(350):
        assert await fail(core, number, device_id=f"clumsy-{number}") == "LoginCodeInvalid"
        await log_in(core, core.code(f"user-{number}"), device_id=f"phone-{number}")


async def test_a_refused_login_costs_nothing_and_its_code_stays_good(core: Core) -> None:
    """
    Limits decide before the code is claimed or sent: once the wait is over, the same code logs in.
    """
    for number in range(10):
        await fail(core, number, device_id="clumsy")
    code, claims = core.code("alice"), core.store.calls["claim_code"]
    with pytest.raises(RateLimited) as caught:
        await log_in(core, code, device_id="clumsy")
    assert core.store.calls["claim_code"] == claims
    assert caught.value.retry_after is not None
    core.clock.advance(caught.value.retry_after)
    await log_in(core, code, device_id="clumsy")


async def test_one_code_tried_over_and_over_is_stopped_wherever_it_comes_from(core: Core) -> None:
    """
    After three failures the record is not asked for it any more.
    """
    outcomes = []
    for number in range(6):
        ip = f"198.51.100.{number}"
        outcomes.append(await fail(core, 1, ip=ip))
    assert outcomes == ["LoginCodeInvalid", "LoginCodeUsed", "LoginCodeUsed", *["RateLimited"] * 3]


async def test_codes_that_erase_are_held_to_the_same_limit(core: Core) -> None:
    """
    Trying one code over and over reaches the record no more often for being another call.
    """
    outcomes = []
    for _ in range(5):
        with pytest.raises((LoginCodeInvalid, LoginCodeUsed, RateLimited)) as caught:
            await core.personal_data.erase_self(app_id=D1, code=f"made-up-{1:026d}", by="edge")
        outcomes.append(caught.type)
    assert outcomes == [LoginCodeInvalid, LoginCodeUsed, LoginCodeUsed, RateLimited, RateLimited]


async def test_one_user_cannot_log_in_without_end(core: Core) -> None:
    """
    Whatever the addresses and devices; others of the same address can.
    """
    for number in range(30):
        await log_in(core, core.code("alice"), ip=f"198.51.100.{number}")
    with pytest.raises(RateLimited):
        await log_in(core, core.code("alice"))
    await log_in(core, core.code("bob"))


async def test_an_ipv6_customer_is_one_address(core: Core) -> None:
    """
    All of a /64 is stopped together, its neighbour is not.
    """
    outcomes = [
        await fail(core, number, ip=f"2001:db8:1:2::{number:x}", user_agent="curl") for number in range(60)
    ]
    assert outcomes.count("LoginCodeInvalid") == 50
    assert await fail(core, 100, ip="2001:db8:1:3::1", user_agent="curl") == "LoginCodeInvalid"


async def test_our_own_failures_are_nobodys_fault(core: Core) -> None:
    """
    A record that does not answer stops nobody afterwards.
    """
    for number in range(20):
        core.store.fail("claim_code")
        with pytest.raises(Exception, match="scripted"):
            await log_in(core, core.code(f"user-{number}"), device_id="phone")
    await log_in(core, core.code("alice"), device_id="phone")


async def test_an_app_has_its_own_limit_if_it_says_so(tmp_path: Path) -> None:
    """
    Counted over all its addresses; another app is not touched.
    """
    from dataclasses import replace

    from tests.support.core import D2, sandbox_apps

    apps = sandbox_apps()
    apps[D1] = replace(apps[D1], login_rate=Rate(per_second=0.1, burst=2))
    async with build_core(tmp_path, apps=apps, rules=LimitRules.default()) as core:
        for number in range(2):
            await log_in(core, core.code(f"user-{number}"), ip=f"198.51.100.{number}")
        with pytest.raises(RateLimited) as caught:
            await log_in(core, core.code("carol"), ip="198.51.100.9")
        assert caught.value.retry_after == timedelta(seconds=10)
        await core.logins.login(app_id=D2, code=core.code("dave", app_id=D2), client=ClientInfo())


async def test_forged_refresh_tokens_are_stopped_and_good_ones_behind_the_address_are_not(core: Core) -> None:
    """
    The 21st is told to wait; whoever holds a token of ours refreshes all the while.
    """
    result = await core.logins.login(app_id=D1, code=core.code("alice"), client=ClientInfo(ip=CARRIER))
    text = result.tokens.refresh_token
    outcomes = []
    for number in range(30):
        with pytest.raises((RefreshTokenInvalid, RateLimited)) as caught:
            await core.refreshes.refresh(f"wxr1.forged{number}", client=ClientInfo(ip=CARRIER))
        outcomes.append(caught.type)
        if number % 2:
            refreshed = await core.refreshes.refresh(text, client=ClientInfo(ip=CARRIER))
            text = refreshed.tokens.refresh_token
    assert outcomes == [RefreshTokenInvalid] * 20 + [RateLimited] * 10


async def test_one_session_cannot_refresh_without_end(core: Core) -> None:
    """
    The record is not asked any more; the session lives, and refreshes again after the wait.
    """
    result = await core.logins.login(app_id=D1, code=core.code("alice"), client=ClientInfo())
    text = result.tokens.refresh_token
    for _ in range(30):
        text = (await core.refreshes.refresh(text, client=ClientInfo())).tokens.refresh_token
    asked = core.store.calls["rotate"]
    with pytest.raises(RateLimited) as caught:
        await core.refreshes.refresh(text, client=ClientInfo())
    assert core.store.calls["rotate"] == asked
    assert caught.value.retry_after is not None
    core.clock.advance(caught.value.retry_after)
    await core.refreshes.refresh(text, client=ClientInfo())


async def test_a_flood_is_counted_one_by_one_and_told_a_few_times(core: Core) -> None:
    """
    The first refusal at once, those behind it together, ten seconds later.
    """
    for number in range(500):
        await fail(core, number, device_id="abuser")
    assert len(core.observer.named("limits.refused")) == 490
    assert [event.fields["refused"] for event in core.observer.named("limits.refusing")] == [1]
    core.clock.advance(timedelta(seconds=10))
    await fail(core, 1000, device_id="abuser")
    told = core.observer.named("limits.refusing")
    assert [event.fields for event in told] == [
        {"limit": "login.failed_device", "refused": 1},
        {"limit": "login.failed_device", "refused": 490},
    ]


async def test_buckets_hold_nothing_that_names_a_person(core: Core) -> None:
    """
    Neither addresses nor devices, users, sessions or codes.
    """
    await fail(core, 1, device_id="abusers-device", user_agent="abusers-agent")
    await log_in(core, core.code("alice"), device_id="alices-phone")
    buckets = core.limiter._buckets
    text = repr(buckets._full_at)
    assert len(buckets) > 5
    for secret in (CARRIER, "abusers", "alices", "alice", "made-up"):
        assert secret not in text
