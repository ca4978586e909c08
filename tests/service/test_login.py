"""Login: one code, at most one send, one session; every way it can go wrong says whether the code is gone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.errors import (
    AppDisabled,
    AuthError,
    InvalidField,
    LoginCodeInvalid,
    LoginCodeSpent,
    LoginCodeUsed,
    StoreUnavailable,
    UnknownApp,
    UserBlocked,
    WeChatMisconfigured,
    WeChatThrottled,
    WeChatUnavailable,
    WeChatUserBlocked,
)
from authsvc.domain.login_code import hash_code
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.domain.users import Block
from authsvc.keys import DirectoryKeys
from authsvc.ports import SessionQuery
from authsvc.service.code_exchange import CLAIM_TTL
from authsvc.service.login import LoginResult
from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import D1, D2, D3, OFF, Core, build_core, sandbox_apps
from tests.support.tokens import claims_of


async def log_in(core: Core, code: str, app_id: str = D1, **client: str) -> LoginResult:
    return await core.logins.login(app_id=app_id, code=code, client=ClientInfo(**client))


async def count_sessions(core: Core) -> int:
    return len(await core.store.real.list_sessions(SessionQuery(include_ended=True)))


async def test_a_login_says_who_and_hands_out_good_tokens(core: Core) -> None:
    """The pair works at once, the claims are the session's, and WeChat's ids are WeChat's."""
    result = await core.login("alice", client=ClientInfo(device_id="phone"))
    identity = core.sandbox.world.identity(D1, user="alice")
    assert (result.openid, result.opened.unionid) == (identity.openid, identity.unionid)
    assert result.opened.is_new_user
    claims = claims_of(result.tokens.access_token)
    session = result.opened.session
    assert (claims.user_id, claims.session_id, claims.app_id) == (
        result.opened.user.user_id,
        session.session_id,
        D1,
    )
    assert (claims.audiences, claims.scopes, claims.openid) == ((D1,), ("profile", "orders"), identity.openid)
    assert claims.expires_at == int(result.tokens.access_expires_at.timestamp())
    assert claims.position == session.position
    assert isinstance(await core.judge(result.tokens.access_token), VerifiedToken)
    assert session.client.device_id == "phone"
    (event,) = core.observer.named("session.opened")
    assert event.fields["session_id"] == session.session_id


async def test_lifetimes(core: Core) -> None:
    """2 h less up to 5 %, idle 7 days; the jitter differs from login to login."""
    results = [await core.login(f"user{n}") for n in range(8)]
    now = core.clock.now()
    lifetimes = {result.tokens.access_expires_at - now for result in results}
    assert all(
        timedelta(hours=1, minutes=54) - timedelta(seconds=1) <= one <= timedelta(hours=2)
        for one in lifetimes
    )
    assert len(lifetimes) > 1
    assert {result.tokens.refresh_expires_at - now for result in results} == {timedelta(days=7)}
    assert all(result.tokens.server_time == now for result in results)


async def test_openid_stays_out_of_a_token_where_the_app_says_so(core: Core) -> None:
    """d3 keeps it out; the login still tells it."""
    result = await core.login(app_id=D3)
    assert claims_of(result.tokens.access_token).openid is None
    assert result.openid
    assert result.opened.unionid is None


async def test_users_are_linked_by_unionid(core: Core) -> None:
    """d1 and d2 share an open platform: one person, one user. d3 does not: another user."""
    one, two, three = [await core.login("alice", app_id=app_id) for app_id in (D1, D2, D3)]
    assert one.opened.user.user_id == two.opened.user.user_id != three.opened.user.user_id
    assert [login.opened.is_new_user for login in (one, two, three)] == [True, False, True]
    again = await core.login("alice")
    assert (again.opened.user.user_id, again.opened.is_new_user) == (one.opened.user.user_id, False)


async def test_fifty_parallel_logins_with_one_code_are_one(core: Core) -> None:
    """WeChat saw one request, there is one session, and all fifty have it."""
    code = core.code()
    results = await asyncio.gather(*(log_in(core, code) for _ in range(50)))
    assert core.sandbox.requests_for(code) == 1
    assert len({result.opened.session.session_id for result in results}) == 1
    assert len({result.tokens.refresh_token for result in results}) == 1
    assert await count_sessions(core) == 1
    with pytest.raises(LoginCodeUsed):
        await log_in(core, code)
    assert core.sandbox.requests_for(code) == 1


async def test_different_codes_do_not_share(core: Core) -> None:
    """Users who log in at once get a session each."""
    codes = [core.code(f"user{n}") for n in range(5)]
    results = await asyncio.gather(*(log_in(core, code) for code in codes))
    assert len({result.opened.user.user_id for result in results}) == 5
    assert [core.sandbox.requests_for(code) for code in codes] == [1] * 5


async def test_a_claim_of_another_replica_stands(core: Core) -> None:
    """The code is not sent, and LOGIN_CODE_USED says so until the claim has expired."""
    code = core.code()
    await core.store.real.claim_code(app_id=D1, code_hash=hash_code(code), ttl=CLAIM_TTL)
    with pytest.raises(LoginCodeUsed):
        await log_in(core, code)
    assert core.sandbox.requests_for(code) == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drop", LoginCodeSpent),
        ("drop-consumed", LoginCodeSpent),
        ("system-error", LoginCodeSpent),
        ("http", LoginCodeSpent),
        ("empty-body", LoginCodeSpent),
        ("truncated", LoginCodeSpent),
        ("missing-session-key", LoginCodeSpent),
        ("minute-quota", WeChatThrottled),
        ("daily-quota", WeChatThrottled),
        ("errcode;40029", LoginCodeInvalid),
        ("errcode;40163", LoginCodeUsed),
        ("errcode;40226", WeChatUserBlocked),
        ("errcode;40125", WeChatMisconfigured),
    ],
)
async def test_what_wechat_does_is_told_and_the_code_stays_claimed(
    core: Core, fault: str, error: type[AuthError]
) -> None:
    """Each fault has its error; fifty at once share it over one request; no session; the code is not sent again."""
    code = core.code(fault=fault)
    outcomes = await asyncio.gather(*(log_in(core, code) for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {error}
    with pytest.raises(LoginCodeUsed):
        await log_in(core, code)
    assert core.sandbox.requests_for(code) == 1
    assert await count_sessions(core) == 0


async def test_unsent_releases_the_claim(core: Core) -> None:
    """While WeChat cannot be reached the code is safe: the same one works afterwards."""
    code = core.code()
    await core.sandbox.refuse()
    with pytest.raises(WeChatUnavailable):
        await log_in(core, code)
    await core.sandbox.accept()
    assert isinstance(await log_in(core, code), LoginResult)
    assert core.sandbox.requests_for(code) == 1


async def test_a_claim_that_cannot_be_released_is_told(core: Core) -> None:
    """The caller hears the truth (unsent); operators hear why the retry will be LOGIN_CODE_USED."""
    code = core.code()
    await core.sandbox.refuse()
    core.store.fail("release_code")
    with pytest.raises(WeChatUnavailable):
        await log_in(core, code)
    assert len(core.observer.named("login.claim_not_released")) == 1
    await core.sandbox.accept()
    with pytest.raises(LoginCodeUsed):
        await log_in(core, code)


async def test_a_store_that_is_down_before_spends_no_code(core: Core) -> None:
    """STORE_UNAVAILABLE, nothing sent; the same code works once the store is back."""
    code = core.code()
    core.store.down = True
    with pytest.raises(StoreUnavailable):
        await log_in(core, code)
    assert core.sandbox.requests_for(code) == 0
    core.store.down = False
    assert isinstance(await log_in(core, code), LoginResult)


@pytest.mark.parametrize("after", [False, True])
async def test_a_store_that_fails_after_the_exchange_spent_the_code(core: Core, after: bool) -> None:
    """Answered and not stored, or stored and not told: a new code is needed, never a false 'try again'."""
    code = core.code()
    core.store.fail("open_session", after=after)
    with pytest.raises(LoginCodeSpent):
        await log_in(core, code)
    assert core.sandbox.requests_for(code) == 1
    assert await count_sessions(core) == int(after)


async def test_a_replica_that_cannot_issue_spends_no_code(core: Core) -> None:
    """Without the active private key neither claim nor exchange happens."""
    code = core.code()
    core.keys._material = DirectoryKeys([])
    with pytest.raises(StoreUnavailable):
        await log_in(core, code)
    assert core.store.calls["claim_code"] == 0
    assert core.sandbox.requests_for(code) == 0


@pytest.mark.parametrize(
    ("app_id", "code", "error"),
    [
        ("wx0000000000000bad", "code", UnknownApp),
        (OFF, "code", AppDisabled),
        (D1, "", InvalidField),
        (D1, "x" * 513, InvalidField),
        (D1, "the code is a mock one", LoginCodeInvalid),
    ],
)
async def test_refused_before_any_io(core: Core, app_id: str, code: str, error: type[AuthError]) -> None:
    """Neither the store nor WeChat hears of it."""
    before = core.store.calls.total()
    with pytest.raises(error):
        await log_in(core, code, app_id)
    assert core.store.calls.total() == before
    assert core.sandbox.requests_for(code) == 0


@pytest.mark.parametrize("code", ["a b", "a&appid=x", 'q"q', "a=b#c?d/é%20+", "码" * 10, "x" * 512])
async def test_any_text_reaches_wechat_unchanged(core: Core, code: str) -> None:
    """Spaces, ampersands, quotes and Chinese are the code's own business."""
    core.sandbox.mint(D1, "alice", code=code)
    assert isinstance(await log_in(core, code), LoginResult)
    assert core.sandbox.requests_for(code) == 1


async def test_an_expired_or_foreign_code_is_invalid(core: Core) -> None:
    """Expired, of another app, or invented: WeChat's 40029."""
    old, other = core.code(), core.code(app_id=D2)
    core.clock.advance(timedelta(minutes=5, seconds=1))
    for code in (old, other, "invented"):
        with pytest.raises(LoginCodeInvalid):
            await log_in(core, code)


async def test_a_blocked_user_gets_no_session(core: Core) -> None:
    """USER_BLOCKED while the block holds, in every app of the user; a session again afterwards."""
    first = await core.login()
    block = Block(reason="spam", by="operator", at=core.clock.now())
    await core.store.real.block_user(first.opened.user.user_id, block=block)
    for app_id in (D1, D2):
        with pytest.raises(UserBlocked):
            await core.login(app_id=app_id)
    await core.store.real.unblock_user(first.opened.user.user_id, by="op")
    assert (await core.login()).opened.user.user_id == first.opened.user.user_id


async def test_what_a_login_replaces_is_dead_before_the_answer(tmp_path: Path) -> None:
    """Beyond the cap the oldest session ends as REPLACED; the same device's older one as SUPERSEDED."""
    async with build_core(tmp_path, apps=sandbox_apps(max_sessions=2)) as core:
        first = await core.login(client=ClientInfo(device_id="phone"))
        core.clock.advance(timedelta(seconds=61))
        await core.tail.poll()
        gate = core.store.hold("read_from")
        second = await core.login(client=ClientInfo(device_id="phone"))
        assert await core.judge(first.tokens.access_token) == Refusal(
            InactiveReason.SESSION_REVOKED, EndReason.SUPERSEDED
        )
        core.clock.advance(timedelta(seconds=1))
        for _ in range(2):
            await core.login()
        assert await core.judge(second.tokens.access_token) == Refusal(
            InactiveReason.SESSION_REVOKED, EndReason.REPLACED
        )
        gate.open()


async def test_a_caller_that_leaves_does_not_stop_the_commit(core: Core) -> None:
    """Cancelled in mid-write: the session is there, and one who waits for the same code gets it."""
    code = core.code()
    gate = core.store.hold("open_session")
    leaving = asyncio.create_task(log_in(core, code))
    await gate.reached.wait()
    staying = asyncio.create_task(log_in(core, code))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    result = await staying
    assert await core.store.real.get_session(result.opened.session.session_id) is not None
    assert core.sandbox.requests_for(code) == 1


async def test_a_login_that_nobody_waits_for_is_committed(core: Core) -> None:
    """Its only caller gone, the exchange is stored all the same."""
    gate = core.store.hold("claim_code")
    leaving = asyncio.create_task(log_in(core, core.code()))
    await gate.reached.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    gate.open()
    await core.unbroken.drained()
    assert await count_sessions(core) == 1
    assert core.logins._in_flight == {}


async def test_the_session_key_is_sealed_at_rest_and_in_sight(core: Core) -> None:
    """Neither the database files nor any report hold it, nor the code, nor the tokens."""
    code = core.code()
    result = await log_in(core, code)
    session_key = core.sandbox.world.session_key(D1, user="alice")
    assert session_key is not None
    stored = b"".join(path.read_bytes() for path in core.path.parent.glob("authsvc.db*"))
    secrets = (session_key, code, result.tokens.access_token, result.tokens.refresh_token)
    assert result.openid.encode() in stored
    assert not [secret for secret in secrets if secret.encode() in stored]
    reported = repr(core.observer.events) + repr(result) + repr(replace(result.opened))
    assert not [secret for secret in (*secrets, result.openid) if secret in reported]
