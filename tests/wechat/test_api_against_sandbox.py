"""
The calls with a token meet the sandbox: tokens, phone numbers, session keys, user data, a rotated secret.

The sandbox's clock stands still unless a test moves it; tokens live on both clocks, which are one here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from authsvc.domain import errors
from authsvc.domain.user_data import UserData, check_signature
from authsvc.sandbox import SANDBOX_APPS, VARIANTS, SandboxServer, World, parse_fault
from authsvc.wechat import WeChatApp, WeChatClient, WeChatSettings, decrypt_user_data
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy
from tests.wechat.wire import NEVER

D1, D2 = (app.app_id for app in SANDBOX_APPS[:2])
NEXT = "5a4d0000nextnextnextnextnextnext"
STABLE, PHONE, CHECK = "/cgi-bin/stable_token", "/wxa/business/getuserphonenumber", "/wxa/checksession"


@dataclass(slots=True)
class Stage:
    """A sandbox and a client of all its apps, on one clock."""

    sandbox: SandboxServer
    client: WeChatClient
    clock: FakeClock
    observer: RecordingObserver

    def count(self, path: str) -> int:
        """How many requests for *path* arrived."""
        return sum(arrival.target.partition("?")[0] == path for arrival in self.sandbox.arrivals.select())

    async def login(self, user: str = "ann", app_id: str = D1) -> tuple[str, str]:
        """Log the user in; the openid and the session_key."""
        session = await self.client.code_to_session(app_id=app_id, code=self.sandbox.mint(app_id, user))
        return session.openid, session.session_key

    async def phone(self, openid: str, code: str, app_id: str = D1) -> str:
        """The pure number behind the code."""
        number = await self.client.phone_number(app_id=app_id, openid=openid, code=code)
        return number.pure_number


@asynccontextmanager
async def on_stage(*, next_secret: str | None = None) -> AsyncIterator[Stage]:
    clock, entropy, observer = FakeClock(), SeededEntropy(3), RecordingObserver()
    sandbox = SandboxServer(world=World(entropy=entropy), clock=clock, entropy=entropy)
    await sandbox.start()
    try:
        apps = {
            app.app_id: WeChatApp(
                app_id=app.app_id,
                secret=app.secret,
                next_secret=next_secret,
                base_url=sandbox.base_url,
                deadline=NEVER,
                connect_timeout=NEVER,
                slot_wait=NEVER,
                max_concurrency=2000,
                breaker_faults=1000,
            )
            for app in sandbox.world.apps
        }
        async with WeChatClient(
            apps=apps,
            clock=clock,
            entropy=entropy,
            observer=observer,
            settings=WeChatSettings(refuse_sandbox=False),
        ) as client:
            yield Stage(sandbox, client, clock, observer)
    finally:
        await sandbox.stop()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with on_stage() as running:
        yield running


async def test_cold_crowd_costs_one_token(stage: Stage) -> None:
    """A thousand concurrent checks with a cold cache: one token request, a thousand answers."""
    openid, key = await stage.login()
    checks = (stage.client.check_session_key(app_id=D1, openid=openid, session_key=key) for _ in range(1000))
    assert await asyncio.gather(*checks) == [True] * 1000
    assert (stage.count(STABLE), stage.count(CHECK)) == (1, 1000)


async def test_stuck_token_costs_one_refresh_and_one_retry(stage: Stage) -> None:
    """The sandbox's stuck mode ends the call after two tokens and two sends; the phone code is still good."""
    openid, _ = await stage.login()
    code = stage.sandbox.mint_phone(D1, "ann")
    stage.sandbox.world.tokens.set_stuck(D1, stuck=True)
    with pytest.raises(errors.WeChatMisconfigured):
        await stage.phone(openid, code)
    assert (stage.count(STABLE), stage.count(PHONE)) == (2, 2)
    stage.sandbox.world.tokens.set_stuck(D1, stuck=False)
    assert stage.sandbox.world.phones.of("ann").pure == await stage.phone(openid, code)


async def test_revoked_token_is_noticed_by_nobody(stage: Stage) -> None:
    """Somebody else's force_refresh costs one refused call and one refresh."""
    openid, key = await stage.login()
    assert await stage.client.check_session_key(app_id=D1, openid=openid, session_key=key)
    stage.sandbox.world.tokens.revoke(D1, now=stage.clock.now())
    assert await stage.client.check_session_key(app_id=D1, openid=openid, session_key=key)
    assert stage.count(STABLE) == 2


async def test_two_days_of_calls(stage: Stage) -> None:
    """Over many token lives no call is ever refused its token, and each life costs a few requests."""
    openid, key = await stage.login()
    refused = 0
    for _ in range(2 * 24 * 6):
        stage.sandbox.world.keys.logged_in(D1, user="ann", now=stage.clock.now())
        await stage.client.check_session_key(app_id=D1, openid=openid, session_key=key)
        refused += any(e.fields["outcome"] == "token_refused" for e in stage.observer.named("wechat.call"))
        stage.clock.advance(timedelta(minutes=10))
    assert refused == 0
    assert 24 <= stage.count(STABLE) <= 75


@pytest.mark.parametrize("length", [136, 512])
async def test_long_tokens(stage: Stage, length: int) -> None:
    """Tokens of 136 and of 512 characters are sent back whole."""
    stage.sandbox.world.tokens.set_length(D1, length)
    openid, key = await stage.login()
    assert await stage.client.check_session_key(app_id=D1, openid=openid, session_key=key)


@pytest.mark.parametrize("as_number", [True, False])
async def test_phone_number(stage: Stage, as_number: bool) -> None:
    """The user's number comes, whichever type its country code has on the wire."""
    stage.sandbox.world.switches.country_code_as_number = as_number
    stage.sandbox.world.phones.set("ann", number="61234567", country="852")
    openid, _ = await stage.login()
    number = await stage.client.phone_number(
        app_id=D1, openid=openid, code=stage.sandbox.mint_phone(D1, "ann")
    )
    assert (number.number, number.pure_number, number.country_code) == ("+85261234567", "61234567", "852")


async def test_codes_are_not_interchangeable(stage: Stage) -> None:
    """A login code is no phone code, a phone code no login code; used, old and unknown ones are neither."""
    openid, _ = await stage.login()
    used = stage.sandbox.mint_phone(D1, "ann")
    await stage.phone(openid, used)
    old = stage.sandbox.mint_phone(D1, "ann")
    stage.clock.advance(timedelta(minutes=5))
    for code in (stage.sandbox.mint(D1, "ann"), used, old, "0" * 64):
        with pytest.raises(errors.PhoneCodeInvalid):
            await stage.phone(openid, code)
    with pytest.raises(errors.LoginCodeInvalid):
        await stage.client.code_to_session(app_id=D1, code=stage.sandbox.mint_phone(D1, "ann"))


@pytest.mark.parametrize("errcode", [40003, 40029, 61000, 47001])
async def test_another_users_code_is_refused(stage: Stage, errcode: int) -> None:
    """Whatever number WeChat says it with, it is PhoneCodeInvalid, and the owner can still use the code."""
    stage.sandbox.world.switches.openid_mismatch_errcode = errcode
    thief, _ = await stage.login("bob")
    owner, _ = await stage.login("ann")
    code = stage.sandbox.mint_phone(D1, "ann")
    with pytest.raises(errors.PhoneCodeInvalid):
        await stage.phone(thief, code)
    assert stage.sandbox.world.phones.of("ann").pure == await stage.phone(owner, code)


@pytest.mark.parametrize("errcode", [40029, 40013])
async def test_another_apps_code_is_refused(stage: Stage, errcode: int) -> None:
    """With the documented number and with the observed one."""
    stage.sandbox.world.switches.phone_wrong_app_errcode = errcode
    openid, _ = await stage.login()
    with pytest.raises(errors.PhoneCodeInvalid):
        await stage.phone(openid, stage.sandbox.mint_phone(D2, "ann"))


@pytest.mark.parametrize(
    "fault",
    [
        "system-error",
        "system-error-consumed",
        "drop",
        "drop-consumed",
        "http;502",
        "http-consumed;503",
        "empty-body",
        "empty-body-consumed",
        "gbk",
        "truncated",
        "cut-body",
        "array",
        "huge",
    ],
)
async def test_faults_send_a_phone_code_once(stage: Stage, fault: str) -> None:
    """Whatever goes wrong behind the write, the code arrives once and the caller may ask again."""
    openid, _ = await stage.login()
    code = stage.sandbox.mint_phone(D1, "ann", fault=fault)
    with pytest.raises(errors.WeChatUnavailable):
        await stage.phone(openid, code)
    assert stage.sandbox.requests_for(code) == 1


async def test_session_key_checks(stage: Stage) -> None:
    """The live key is valid, a replaced, foreign or expired one is not."""
    openid, key = await stage.login()
    stranger, _ = await stage.login("bob")
    check = stage.client.check_session_key
    assert await check(app_id=D1, openid=openid, session_key=key)
    assert not await check(app_id=D1, openid=stranger, session_key=key)
    stage.sandbox.world.keys.replace(D1, user="ann", now=stage.clock.now())
    assert not await check(app_id=D1, openid=openid, session_key=key)
    current = stage.sandbox.world.session_key(D1, user="ann")
    assert current is not None
    assert await check(app_id=D1, openid=openid, session_key=current)
    stage.sandbox.world.keys.expire(D1, user="ann", now=stage.clock.now())
    assert not await check(app_id=D1, openid=openid, session_key=current)


async def test_reset_replaces_the_key(stage: Stage) -> None:
    """The new key is the valid one, the old one is stale; too many resets are throttled."""
    openid, key = await stage.login()
    fresh = await stage.client.reset_session_key(app_id=D1, openid=openid, session_key=key)
    assert fresh.session_key == stage.sandbox.world.session_key(D1, user="ann")
    check = stage.client.check_session_key
    assert await check(app_id=D1, openid=openid, session_key=fresh.session_key)
    assert not await check(app_id=D1, openid=openid, session_key=key)
    with pytest.raises(errors.SessionKeyStale):
        await stage.client.reset_session_key(app_id=D1, openid=openid, session_key=key)
    with pytest.raises(errors.WeChatThrottled):
        for _ in range(1000):
            fresh = await stage.client.reset_session_key(
                app_id=D1, openid=openid, session_key=fresh.session_key
            )


# What each variant comes to with the latest and the previous key at hand; None: it opens.
VERDICTS: dict[str, type[errors.AuthError] | None] = {
    **dict.fromkeys(("faithful", "previous-key", "raw-reserialised", "raw-signature"), None),
    **dict.fromkeys(
        ("wrong-app", "old", "short-iv", "truncated", "empty", "spaces", "percent", "not-base64"),
        errors.UserDataInvalid,
    ),
    **dict.fromkeys(
        (
            "no-watermark",
            "wrong-key",
            "wrong-iv",
            "flipped-bit",
            "bad-padding",
            "zero-padding",
            "long-padding",
            "no-padding",
            "lost-block",
            "not-json",
            "array",
            "not-utf8",
        ),
        errors.SessionKeyStale,
    ),
}


def test_every_variant_has_a_verdict() -> None:
    """No hostile variant that the sandbox knows is left out."""
    assert set(VARIANTS) == set(VERDICTS)


@pytest.mark.parametrize("name", VERDICTS)
async def test_user_data(stage: Stage, name: str) -> None:
    """Each variant opens or is refused with its one reason; signatures hold exactly where nothing was changed."""
    openid, previous = await stage.login()
    latest = stage.sandbox.world.keys.replace(D1, user="ann", now=stage.clock.now())
    data = stage.sandbox.user_data(D1, "ann", variant=name)

    def decrypt() -> UserData:
        return decrypt_user_data(
            encrypted_data=data.encrypted_data,
            iv=data.iv,
            session_keys=(latest, previous),
            app_id=D1,
            now=stage.clock.now(),
            freshness=timedelta(hours=1),
            openid=openid,
        )

    verdict = VERDICTS[name]
    if verdict is None:
        assert decrypt().fields["openId"] == openid
    else:
        with pytest.raises(errors.AuthError) as raised:
            decrypt()
        assert type(raised.value) is verdict
    signed = check_signature(raw_data=data.raw_data, signature=data.signature, session_key=latest)
    assert signed == (not name.startswith("raw-"))


async def test_secret_rotated_under_load() -> None:
    """The secret changes in the sandbox while users log in: everybody is in with at most one new code."""
    async with on_stage(next_secret=NEXT) as stage:
        tries: dict[str, int] = {}
        done: list[str] = []

        async def user(name: str) -> None:
            for number in range(1, 10):
                tries[name] = number
                try:
                    openid, _ = await stage.login(name)
                except errors.LoginCodeSpent:
                    continue
                assert openid == stage.sandbox.world.identity(D1, user=name).openid
                done.append(name)
                if len(done) == 30:
                    stage.sandbox.world.book.change_secret(D1, NEXT)
                return
            raise AssertionError(name)

        async def queue(label: int) -> None:
            for number in range(10):
                await user(f"user-{label}-{number}")

        await asyncio.gather(*(queue(label) for label in range(20)))
        assert len(tries) == 200
        assert max(tries.values()) == 2  # somebody was hit, and nobody twice
        assert all(tries[name] == 1 for name in done[-100:])
        [event] = stage.observer.named("wechat.secret_switched")
        assert event.fields["to"] == "next"


async def test_app_with_a_fault_leaves_the_others_alone(stage: Stage) -> None:
    """While one app is answered with 502, another one's calls all work."""
    stage.sandbox.faults.put(parse_fault("http;502"), app_id=D1)
    with pytest.raises(errors.LoginCodeSpent):
        await stage.login()
    openid, key = await stage.login("ann", D2)
    assert await stage.client.check_session_key(app_id=D2, openid=openid, session_key=key)
