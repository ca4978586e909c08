"""Many apps in one client: what happens to one never reaches another, and the list may change while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from authsvc.domain import errors
from authsvc.wechat import TokenCommand, WeChatApp
from tests.wechat.platform import (
    CHECK,
    LOGIN,
    OTHER_ID,
    PHONE,
    TOKEN,
    Platform,
    app_on,
    check,
    connected,
    dropping,
    hanging,
    phone,
    phone_info,
    platform,
    refusing,
)
from tests.wechat.wire import APP_ID, OPENID, SOON, Rig, started


@dataclass(slots=True)
class Two:
    """Two apps on platforms of their own, in one client."""

    sick: Platform
    well: Platform
    rig: Rig


@asynccontextmanager
async def two(**patience: object) -> AsyncIterator[Two]:
    """The app on `sick` has *patience*; the one on `well` has all of it."""
    async with platform() as sick, platform() as well:
        well.scripts[PHONE] = lambda _visit: phone_info(OTHER_ID)
        ill: WeChatApp = replace(app_on(sick), **patience)  # type: ignore[arg-type]
        async with started(ill, app_on(well, OTHER_ID)) as rig:
            yield Two(sick, well, rig)


async def login(rig: Rig, app_id: str, code: str = "code") -> str:
    return (await rig.client.code_to_session(app_id=app_id, code=code)).openid


async def everything(rig: Rig, app_id: str) -> None:
    """Each kind of call once."""
    assert await login(rig, app_id) == OPENID
    assert await check(rig, app_id=app_id)
    await phone(rig, app_id=app_id)


async def test_app_whose_wechat_hangs_disturbs_nobody() -> None:
    """Its calls end by their deadline, its breaker opens, its slots are taken; the other app notices nothing."""
    async with two(deadline=SOON, breaker_faults=3, max_concurrency=2) as apps:
        for path in (LOGIN, TOKEN):
            apps.sick.scripts[path] = hanging
        stuck = [asyncio.create_task(login(apps.rig, APP_ID)) for _ in range(6)]
        stuck += [asyncio.create_task(login(apps.rig, APP_ID)) for _ in range(6)]
        await everything(apps.rig, OTHER_ID)
        results = await asyncio.gather(*stuck, return_exceptions=True)
        assert {type(result) for result in results} <= {errors.LoginCodeSpent, errors.WeChatUnavailable}
        for _ in range(4):
            with pytest.raises(errors.WeChatUnavailable):
                await check(apps.rig)
        while not apps.rig.observer.named("wechat.breaker_opened"):
            with pytest.raises(errors.AuthError):
                await login(apps.rig, APP_ID)
        await everything(apps.rig, OTHER_ID)
        assert {e.fields["app_id"] for e in apps.rig.observer.named("wechat.breaker_opened")} == {APP_ID}


async def test_bad_secret_of_one_app_is_its_own() -> None:
    """A refused secret, appid or address stops one app and is told with its name."""
    async with two() as apps:
        for path in (LOGIN, TOKEN):
            apps.sick.scripts[path] = refusing(40125)
        with pytest.raises(errors.WeChatMisconfigured):
            await login(apps.rig, APP_ID)
        with pytest.raises(errors.WeChatMisconfigured):
            await check(apps.rig)
        await everything(apps.rig, OTHER_ID)
        assert {e.fields["app_id"] for e in apps.rig.observer.named("wechat.misconfigured")} == {APP_ID}


async def test_each_app_has_its_own_token() -> None:
    """One app's token is never sent for another."""
    async with two() as apps:
        apps.well.granted = 500
        await asyncio.gather(
            *(check(apps.rig) for _ in range(20)), *(check(apps.rig, app_id=OTHER_ID) for _ in range(20))
        )
        assert set(apps.sick.tokens_used(CHECK)) == {"1_canarytoken"}
        assert set(apps.well.tokens_used(CHECK)) == {"501_canarytoken"}


async def test_kinds_of_calls_have_breakers_of_their_own() -> None:
    """Phone numbers that fail take no login with them, nor the other way round."""
    async with connected(lambda app: replace(app, breaker_faults=2)) as (stage, rig):
        stage.scripts[PHONE] = dropping
        for _ in range(3):
            with pytest.raises(errors.WeChatUnavailable):
                await phone(rig)
        assert stage.count(PHONE) == 2
        await login(rig, APP_ID)
        [opened] = rig.observer.named("wechat.breaker_opened")
        assert opened.fields["lane"] == "api"


async def test_unknown_app_is_not_sent() -> None:
    """No method knows an app that is not configured."""
    async with connected() as (stage, rig):
        for call in (phone, check):
            with pytest.raises(errors.UnknownApp):
                await call(rig, app_id=OTHER_ID)
        assert stage.peer.visits == []


async def test_unchanged_app_keeps_everything() -> None:
    """New settings that leave an app alone cost it no token request and close no breaker."""
    async with two(breaker_faults=1) as apps:
        await check(apps.rig)
        apps.sick.scripts[LOGIN] = dropping
        with pytest.raises(errors.LoginCodeSpent):
            await login(apps.rig, APP_ID)
        apps.rig.client.reconfigure({APP_ID: replace(app_on(apps.sick), breaker_faults=1)})
        del apps.sick.scripts[LOGIN]
        with pytest.raises(errors.WeChatUnavailable):
            await login(apps.rig, APP_ID)
        assert await check(apps.rig)
        assert (apps.sick.count(LOGIN), apps.sick.count(TOKEN)) == (1, 1)


async def test_removed_app_is_unknown_and_a_new_one_known() -> None:
    """The list is what it is told to be, at once; a call under way ends as it began."""
    async with two() as apps:
        came, release = asyncio.Event(), asyncio.Event()

        async def slowly(_visit: object) -> dict[str, object]:
            came.set()
            await release.wait()
            return {"errcode": 0}

        apps.sick.scripts[CHECK] = slowly
        under_way = asyncio.create_task(check(apps.rig))
        await came.wait()
        apps.rig.client.reconfigure({OTHER_ID: app_on(apps.well, OTHER_ID), "wx3": app_on(apps.well, "wx3")})
        with pytest.raises(errors.UnknownApp):
            await login(apps.rig, APP_ID)
        await everything(apps.rig, OTHER_ID)
        assert await login(apps.rig, "wx3") == OPENID
        release.set()
        assert await under_way


async def test_changed_secret_takes_effect_and_drops_the_token() -> None:
    """The next login carries the new secret, the next call fetches a token with it."""
    async with connected() as (stage, rig):
        await check(rig)
        rig.client.reconfigure({APP_ID: replace(app_on(stage), secret="other-secret")})
        await login(rig, APP_ID)
        await check(rig)
        assert stage.visits(LOGIN)[-1].query["secret"] == "other-secret"
        assert stage.tokens_used(CHECK) == ["1_canarytoken", "2_canarytoken"]


async def test_changed_patience_keeps_the_token_and_the_breaker() -> None:
    """What a change doesn't concern stays: here the token and the count of faults."""
    async with connected(lambda app: replace(app, breaker_faults=2)) as (stage, rig):
        await check(rig)
        stage.scripts[PHONE] = dropping
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        rig.client.reconfigure(
            {APP_ID: replace(app_on(stage), breaker_faults=2, deadline=timedelta(seconds=50))}
        )
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert len(rig.observer.named("wechat.breaker_opened")) == 1
        assert stage.count(TOKEN) == 1


async def test_changed_address_forgets_breaker_and_token() -> None:
    """Another WeChat has its own tokens and has not failed yet."""
    async with platform() as old, platform() as new:
        async with started(replace(app_on(old), breaker_faults=1)) as rig:
            await check(rig)
            old.scripts[CHECK] = dropping
            with pytest.raises(errors.WeChatUnavailable):
                await check(rig)
            rig.client.reconfigure({APP_ID: replace(app_on(new), breaker_faults=1)})
            assert await check(rig)
        assert (new.count(TOKEN), new.count(CHECK)) == (1, 1)


async def test_changed_source_forgets_the_token() -> None:
    """A token of WeChat's own is not used where the company's keeper was named."""
    async with connected() as (stage, rig):
        await check(rig)
        source = TokenCommand("echo 5_fromthekeeper", timeout=timedelta(seconds=60))
        rig.client.reconfigure({APP_ID: replace(app_on(stage), token_source=source)})
        await check(rig)
        assert stage.tokens_used(CHECK) == ["1_canarytoken", "5_fromthekeeper"]
