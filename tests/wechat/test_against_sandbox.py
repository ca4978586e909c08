"""
The client meets the sandbox: what the simulator of facts page section 10 does, the client reads as section 1 says.

The sandbox's clock stands still unless a test moves it, so its delays last until the client's deadline.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain import errors
from authsvc.sandbox import FAULTS, MARKER_HEADER, SANDBOX_APPS, Fault, SandboxServer, World
from authsvc.wechat import SANDBOX_HEADER, UnknownErrcode, WeChatApp, WeChatSettings
from authsvc.wechat.errcodes import MEANINGS, judge
from tests.fakes import FakeClock, SeededEntropy
from tests.wechat.wire import LATER, NEVER, Rig, started

D1, D2, D3 = (app.app_id for app in SANDBOX_APPS)
DEVELOPMENT = WeChatSettings(refuse_sandbox=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def sandbox(clock: FakeClock) -> AsyncIterator[SandboxServer]:
    entropy = SeededEntropy(3)
    server = SandboxServer(world=World(entropy=entropy), clock=clock, entropy=entropy)
    await server.start()
    yield server
    await server.stop()


def apps_of(sandbox: SandboxServer, *, deadline: timedelta = NEVER) -> list[WeChatApp]:
    return [
        WeChatApp(
            app_id=app.app_id,
            secret=app.secret,
            base_url=sandbox.base_url,
            deadline=deadline,
            connect_timeout=NEVER,
            slot_wait=NEVER,
            breaker_faults=1000,
        )
        for app in sandbox.world.apps
    ]


@pytest.fixture
async def rig(sandbox: SandboxServer) -> AsyncIterator[Rig]:
    async with started(*apps_of(sandbox), settings=DEVELOPMENT) as running:
        yield running


async def openid_of(rig: Rig, code: str, *, app_id: str = D1) -> str:
    return (await rig.client.code_to_session(app_id=app_id, code=code)).openid


@pytest.mark.parametrize("app_id", [D1, D2, D3])
async def test_login(rig: Rig, sandbox: SandboxServer, app_id: str) -> None:
    """Openid, session_key and, in bound apps, unionid are what the sandbox gave."""
    session = await rig.client.code_to_session(app_id=app_id, code=sandbox.mint(app_id, "ann"))
    identity = sandbox.world.identity(app_id, user="ann")
    assert (identity.openid, identity.unionid) == (session.openid, session.unionid)
    assert sandbox.world.session_key(app_id, user="ann") == session.session_key
    assert (app_id != D3) == (session.unionid is not None)


@pytest.mark.parametrize("code", ["a b&c=d", "\"q\"'s'", "a+b%2Bc", "码🙂", "#?/"])
async def test_odd_codes_arrive_as_they_are(rig: Rig, sandbox: SandboxServer, code: str) -> None:
    """A code with any text is found, so it was encoded right."""
    sandbox.mint(D1, "ann", code=code)
    assert sandbox.world.identity(D1, user="ann").openid == await openid_of(rig, code)


async def test_codes_life(rig: Rig, sandbox: SandboxServer, clock: FakeClock) -> None:
    """Unknown, expired, another app's: invalid. A second time: used. Of a blocked user: blocked."""
    with pytest.raises(errors.LoginCodeInvalid):
        await openid_of(rig, "never-minted")
    code = sandbox.mint(D1, "ann")
    await openid_of(rig, code)
    with pytest.raises(errors.LoginCodeUsed):
        await openid_of(rig, code)
    with pytest.raises(errors.LoginCodeInvalid):
        await openid_of(rig, sandbox.mint(D2, "ann"))
    sandbox.world.set_blocked(D1, user="ann", blocked=True)
    with pytest.raises(errors.WeChatUserBlocked):
        await openid_of(rig, sandbox.mint(D1, "ann"))
    old = sandbox.mint(D1, "bob")
    clock.advance(timedelta(minutes=5))
    with pytest.raises(errors.LoginCodeInvalid):
        await openid_of(rig, old)


async def test_wrong_secret_is_our_misconfiguration(sandbox: SandboxServer) -> None:
    """40125 names the app and the number."""
    app = replace(apps_of(sandbox)[0], secret="5a4d0000wrong")
    async with started(app, settings=DEVELOPMENT) as rig:
        with pytest.raises(errors.WeChatMisconfigured) as raised:
            await openid_of(rig, sandbox.mint(D1, "ann"))
    assert raised.value.metadata == {"app_id": D1, "errcode": "40125"}


@pytest.mark.parametrize("errcode", [*MEANINGS, 77777])
@pytest.mark.parametrize("form", ["errcode", "errcode-consumed", "quoted-errcode"])
async def test_every_errcode(rig: Rig, sandbox: SandboxServer, errcode: int, form: str) -> None:
    """Each errcode, as number or quoted, raises its error after exactly one request, with rid in the event."""
    code = sandbox.mint(D1, "ann", fault=f"{form};{errcode}")
    with pytest.raises(type(judge(errcode, app_id=D1).error)):
        await openid_of(rig, code)
    assert sandbox.requests_for(code) == 1
    assert errcode == rig.last_call["errcode"]
    assert rig.last_call["rid"]


# What each fault of the sandbox comes to: the error, or None for a login. Faults that need a parameter have one here.
OUTCOMES: dict[str, tuple[str, type[Exception] | None]] = {
    "system-error": ("", errors.LoginCodeSpent),
    "system-error-consumed": ("", errors.LoginCodeSpent),
    "minute-quota": ("", errors.WeChatThrottled),
    "daily-quota": ("", errors.WeChatThrottled),
    "errcode": (";40226", errors.WeChatUserBlocked),
    "errcode-consumed": (";12345", UnknownErrcode),
    "quoted-errcode": ("", errors.LoginCodeInvalid),
    "drop": ("", errors.LoginCodeSpent),
    "drop-consumed": ("", errors.LoginCodeSpent),
    "delay": (";60", errors.LoginCodeSpent),
    "delay-consumed": (";60", errors.LoginCodeSpent),
    "http": (";503", errors.LoginCodeSpent),
    "http-consumed": ("", errors.LoginCodeSpent),
    "empty-body": ("", errors.LoginCodeSpent),
    "empty-body-consumed": ("", errors.LoginCodeSpent),
    "gbk": ("", errors.LoginCodeSpent),
    "errcode-zero": ("", None),
    "old-expires-in": ("", None),
    "missing-session-key": ("", errors.LoginCodeSpent),
    "empty-openid": ("", errors.LoginCodeSpent),
    "old-hints": ("", None),
    "truncated": ("", errors.LoginCodeSpent),
    "cut-body": ("", errors.LoginCodeSpent),
    "array": ("", errors.LoginCodeSpent),
    "bom": ("", None),
    "huge": ("", errors.LoginCodeSpent),
    "trickle": ("", errors.LoginCodeSpent),
    "close-idle": ("", None),
}
# On a clock that stands still these last until the client's own deadline, which is real: sockets know no other.
SLOW = {"delay", "delay-consumed", "trickle"}


def test_every_fault_has_an_outcome() -> None:
    """No way of failing that the sandbox knows is left out."""
    assert set(FAULTS) == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_every_fault(sandbox: SandboxServer, name: str) -> None:
    """Each fault ends as it should, the code arrives once whatever happens, and the next login works."""
    param, expected = OUTCOMES[name]
    code = sandbox.mint(D1, "ann", fault=name + param)
    openid = sandbox.world.identity(D1, user="ann").openid
    deadline = LATER if name in SLOW else NEVER
    async with started(*apps_of(sandbox, deadline=deadline), settings=DEVELOPMENT) as rig:
        if expected is None:
            assert openid == await openid_of(rig, code)
        else:
            with pytest.raises(expected):
                await openid_of(rig, code)
    async with started(*apps_of(sandbox), settings=DEVELOPMENT) as rig:
        assert openid == await openid_of(rig, sandbox.mint(D1, "ann"))
    assert sandbox.requests_for(code) == 1


async def test_minute_quota_of_a_user(sandbox: SandboxServer, rig: Rig) -> None:
    """The sandbox's own limit per user and minute comes out as a throttle that says a minute."""
    for _ in range(100):
        await openid_of(rig, sandbox.mint(D1, "ann"))
    with pytest.raises(errors.WeChatThrottled) as raised:
        await openid_of(rig, sandbox.mint(D1, "ann"))
    assert timedelta(minutes=1) == raised.value.retry_after


async def test_old_trace_id_is_found(sandbox: SandboxServer, rig: Rig) -> None:
    """The trace id of before 2021 reaches the event as well."""
    code = sandbox.mint(D1, "ann")
    await openid_of(rig, code)
    sandbox.faults.bind(code, fault=Fault("old-hints"))
    with pytest.raises(errors.LoginCodeUsed):
        await openid_of(rig, code)
    assert rig.last_call["rid"]
    assert "-" not in str(rig.last_call["rid"])


async def test_refused_connections_are_unsent(sandbox: SandboxServer, rig: Rig) -> None:
    """While it refuses connections nothing is sent; the same code works afterwards."""
    code = sandbox.mint(D1, "ann")
    await sandbox.refuse()
    with pytest.raises(errors.WeChatUnavailable):
        await openid_of(rig, code)
    assert sandbox.requests_for(code) == 0
    await sandbox.accept()
    assert sandbox.world.identity(D1, user="ann").openid == await openid_of(rig, code)


async def test_many_at_once_get_their_own_answers(sandbox: SandboxServer, rig: Rig) -> None:
    """A hundred parallel logins of a hundred users: nobody gets another's openid."""
    users = [f"user-{number}" for number in range(100)]
    openids = await asyncio.gather(*(openid_of(rig, sandbox.mint(D1, user)) for user in users))
    assert [sandbox.world.identity(D1, user=user).openid for user in users] == openids


async def test_production_refuses_the_sandbox(sandbox: SandboxServer) -> None:
    """The real sandbox carries the marker that production refuses (DESIGN section 4)."""
    assert SANDBOX_HEADER == MARKER_HEADER
    async with started(*apps_of(sandbox)) as rig:
        with pytest.raises(errors.WeChatMisconfigured):
            await openid_of(rig, sandbox.mint(D1, "ann"))
    assert len(rig.observer.named("wechat.sandbox_answer")) == 1
