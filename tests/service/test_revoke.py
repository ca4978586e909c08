"""Revoke: each target, how far it reaches, what it refuses, and that OK means durable."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain import refresh_token
from authsvc.domain.access_token import InactiveReason
from authsvc.domain.errors import NotFound, SessionEnded, StoreUnavailable, UnknownApp
from authsvc.domain.sessions import EndReason
from authsvc.service.login import LoginResult
from authsvc.service.revoke import (
    AccessTokenTarget,
    AppTarget,
    RefreshTokenTarget,
    RevokeResult,
    SessionTarget,
    Target,
    UserTarget,
)
from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import D1, D2, OFF, Core, build_core
from tests.support.database import copy_database, overwrite
from tests.support.tokens import resign, stranger

NOBODY = "A" * 22
HOUR = timedelta(hours=1)


async def revoke(core: Core, target: Target, reason: EndReason = EndReason.LOGOUT) -> RevokeResult:
    return await core.revocations.revoke(target, reason=reason, by="edge")


async def is_dead(core: Core, login: LoginResult) -> bool:
    """Both tokens are dead, or both are good: never one of them."""
    access = isinstance(await core.judge(login.tokens.access_token), Refusal)
    try:
        await core.refresh(login.tokens.refresh_token)
    except SessionEnded:
        refresh = True
    else:
        refresh = False
    assert access == refresh
    return access


def target_of(kind: str, login: LoginResult, *, everything: bool = False) -> Target:
    targets: dict[str, Target] = {
        "access": AccessTokenTarget(login.tokens.access_token, everything),
        "refresh": RefreshTokenTarget(login.tokens.refresh_token, everything),
        "session": SessionTarget(login.opened.session.session_id, everything),
        "user": UserTarget(login.opened.user.user_id),
        "app": AppTarget(D1),
    }
    return targets[kind]


@pytest.mark.parametrize("kind", ["access", "refresh", "session"])
async def test_one_session_ends_and_no_other(core: Core, kind: str) -> None:
    """The named one, with the reason and the caller's name on it; the same user's other sessions live."""
    mine, other = await core.login(), await core.login()
    result = await revoke(core, target_of(kind, mine))
    assert result.ended_sessions == 1
    assert await core.judge(mine.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.LOGOUT
    )
    session = await core.store.real.get_session(mine.opened.session.session_id)
    assert session is not None
    assert session.ended is not None
    assert (session.ended.reason, session.ended.by) == (EndReason.LOGOUT, "edge")
    assert await is_dead(core, mine)
    assert not await is_dead(core, other)


@pytest.mark.parametrize("kind", ["access", "refresh", "session"])
async def test_everything_is_every_session_of_the_user_in_every_app(core: Core, kind: str) -> None:
    """Across both apps of the platform, and nobody else's; a login afterwards lives."""
    mine, second, shop = await core.login(), await core.login(), await core.login(app_id=D2)
    other = await core.login("bob")
    result = await revoke(core, target_of(kind, mine, everything=True))
    assert result.ended_sessions == 3
    assert [await is_dead(core, login) for login in (mine, second, shop, other)] == [True] * 3 + [False]
    assert not await is_dead(core, await core.login())


async def test_a_user_in_all_apps_or_in_one(core: Core) -> None:
    """`app_id` narrows; without it every app."""
    here, there = await core.login(), await core.login(app_id=D2)
    user_id = here.opened.user.user_id
    assert (await revoke(core, UserTarget(user_id, D2))).ended_sessions == 1
    assert await core.judge(there.tokens.access_token) == Refusal(
        InactiveReason.USER_REVOKED, EndReason.LOGOUT
    )
    assert [await is_dead(core, login) for login in (here, there)] == [False, True]
    assert not await is_dead(core, await core.login(app_id=D2))
    assert (await revoke(core, UserTarget(user_id))).ended_sessions == 2
    assert await is_dead(core, here)


async def test_an_app(core: Core) -> None:
    """Every session of one app, whoever's; those of other apps live, and so do later logins."""
    alice, bob, shop = await core.login("alice"), await core.login("bob"), await core.login(app_id=D2)
    assert (await revoke(core, AppTarget(D1), EndReason.ADMIN)).ended_sessions == 2
    assert await core.judge(alice.tokens.access_token) == Refusal(InactiveReason.APP_REVOKED, EndReason.ADMIN)
    assert [await is_dead(core, login) for login in (alice, bob, shop)] == [True, True, False]
    assert not await is_dead(core, await core.login("alice"))


@pytest.mark.parametrize("after", [timedelta(hours=3), timedelta(days=6)])
async def test_an_expired_access_token_suffices(core: Core, after: timedelta) -> None:
    """It names its session as well as ever: the session with its refresh token ends."""
    login = await core.login()
    core.clock.advance(after)
    await core.tail.poll()
    assert (await revoke(core, AccessTokenTarget(login.tokens.access_token))).ended_sessions == 1
    with pytest.raises(SessionEnded) as told:
        await core.refresh(login.tokens.refresh_token)
    assert told.value.end_reason == "LOGOUT"


async def test_any_refresh_token_of_the_session_will_do(core: Core) -> None:
    """The first one ends the session two rotations later, as a logout, not as reuse."""
    login = await core.login()
    second = await core.refresh(login.tokens.refresh_token)
    third = await core.refresh(second.tokens.refresh_token)
    assert (await revoke(core, RefreshTokenTarget(login.tokens.refresh_token))).ended_sessions == 1
    assert await core.judge(third.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.LOGOUT
    )
    assert not core.observer.named("session.refresh_reuse")


@pytest.mark.parametrize("kind", ["access", "refresh", "session", "user"])
async def test_what_is_dead_already_is_success(core: Core, kind: str) -> None:
    """OK, nothing ended now, and the first reason stands."""
    login = await core.login()
    await revoke(core, SessionTarget(login.opened.session.session_id), EndReason.ADMIN)
    head = await core.store.real.read_head()
    result = await revoke(core, target_of(kind, login))
    assert result.ended_sessions == 0
    if kind != "user":
        assert (await core.store.real.read_head()).position == head.position
    session = await core.store.real.get_session(login.opened.session.session_id)
    assert session is not None
    assert session.ended is not None
    assert session.ended.reason is EndReason.ADMIN


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("everything", [False, True])
async def test_a_session_without_a_row_dies_all_the_same(
    core: Core, tmp_path: Path, kind: str, everything: bool
) -> None:
    """The database forgot it, its access token is out there: the fact is written."""
    backup = copy_database(core.path, tmp_path / "backup.db")
    login = await core.login()
    overwrite(backup, core.path)
    assert isinstance(await core.judge(login.tokens.access_token), VerifiedToken)
    result = await revoke(core, target_of(kind, login, everything=everything))
    assert result.ended_sessions == 0
    assert await core.judge(login.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.LOGOUT
    )
    async with build_core(tmp_path, clock=core.clock, seed=2) as restarted:
        assert isinstance(await restarted.judge(login.tokens.access_token), Refusal)


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_repeating_a_row_less_revocation_adds_nothing(core: Core, tmp_path: Path, kind: str) -> None:
    """A session known to be dead is not told of again: nobody can grow the log with one old token."""
    backup = copy_database(core.path, tmp_path / "backup.db")
    login = await core.login()
    overwrite(backup, core.path)
    await revoke(core, target_of(kind, login, everything=False))
    head = await core.store.real.read_head()
    for _ in range(3):
        assert (await revoke(core, target_of(kind, login, everything=False))).ended_sessions == 0
    assert await core.store.real.read_head() == head


async def test_a_row_less_session_beyond_its_absolute_end_writes_nothing(core: Core, tmp_path: Path) -> None:
    """No token of it can be accepted any more, so nobody needs to be told."""
    backup = copy_database(core.path, tmp_path / "backup.db")
    login = await core.login()
    overwrite(backup, core.path)
    core.clock.advance(timedelta(days=31))
    await core.tail.poll()
    head = await core.store.real.read_head()
    assert (await revoke(core, AccessTokenTarget(login.tokens.access_token))).ended_sessions == 0
    assert await core.store.real.read_head() == head


async def test_another_lines_nonce_touches_nothing(core: Core) -> None:
    """A MAC of ours over another nonce ends nothing, not even with `everything`, and is alerted."""
    login = await core.login()
    token = refresh_token.parse(login.tokens.refresh_token, ring=core.rings.refresh_mac)
    assert token is not None
    forged = refresh_token.spell(replace(token, nonce=b"n" * 16), ring=core.rings.refresh_mac)
    for everything in (False, True):
        assert (await revoke(core, RefreshTokenTarget(forged, everything))).ended_sessions == 0
    assert [event.level for event in core.observer.named("revoke.foreign_nonce")] == ["error", "error"]
    assert not await is_dead(core, login)


async def test_the_nonce_is_matched_again_by_the_write(core: Core, tmp_path: Path) -> None:
    """A row that was not there when it was looked for, and is when it is ended: another line's token spares it."""
    empty = copy_database(core.path, tmp_path / "empty.db")
    login = await core.login()
    full = copy_database(core.path, tmp_path / "full.db")
    token = refresh_token.parse(login.tokens.refresh_token, ring=core.rings.refresh_mac)
    assert token is not None
    forged = refresh_token.spell(replace(token, nonce=b"n" * 16), ring=core.rings.refresh_mac)
    overwrite(empty, core.path)
    gate = core.store.hold("get_session", after=True)
    revoking = asyncio.create_task(revoke(core, RefreshTokenTarget(forged)))
    await gate.reached.wait()
    overwrite(full, core.path)
    gate.open()
    assert (await revoking).ended_sessions == 0
    assert not await is_dead(core, login)


async def unverifiable(core: Core, login: LoginResult) -> list[Target]:
    token, signer = login.tokens.access_token, core.signer
    record, _ = stranger(core.clock)
    access = [
        "",
        "junk",
        token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"),
        await resign(token, signer=signer, issuer="elsewhere"),
        await resign(token, signer=signer, header={"typ": "JWT"}),
        await resign(token, signer=signer, header={"kid": record.kid}),
    ]
    refresh = ["", "junk", login.tokens.refresh_token[:-4] + "AAAA"]
    return [*(AccessTokenTarget(text) for text in access), *(RefreshTokenTarget(text) for text in refresh)]


async def test_what_cannot_be_verified_is_ok_and_nothing(core: Core) -> None:
    """No write at all, and an answer that tells a stranger nothing."""
    login = await core.login()
    head = await core.store.real.read_head()
    for target in await unverifiable(core, login):
        before = core.store.calls.copy()
        result = await revoke(core, target)
        assert (result.ended_sessions, result.head.position) == (0, head.position)
        assert set(core.store.calls - before) <= {"read_head", "list_signing_keys"}
    assert not await is_dead(core, login)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (SessionTarget(NOBODY), NotFound),
        (SessionTarget("not an id"), NotFound),
        (SessionTarget(NOBODY, everything=True), NotFound),
        (UserTarget(NOBODY), NotFound),
        (UserTarget(NOBODY, D1), NotFound),
        (UserTarget(NOBODY, "wx-unknown"), UnknownApp),
        (AppTarget("wx-unknown"), UnknownApp),
    ],
)
async def test_what_does_not_exist(core: Core, target: Target, error: type[Exception]) -> None:
    """Sessions and users are NOT_FOUND, apps are UNKNOWN_APP; nothing is written."""
    head = await core.store.real.read_head()
    with pytest.raises(error):
        await revoke(core, target)
    assert await core.store.real.read_head() == head


async def test_an_app_that_is_off_can_be_revoked(core: Core) -> None:
    """Switching off is no protection for its tokens."""
    assert (await revoke(core, AppTarget(OFF))).ended_sessions == 0


TARGETS = ["access", "refresh", "session", "user", "app"]
METHODS = {"user": "end_user_sessions", "app": "end_app_sessions"}


@pytest.mark.parametrize("kind", TARGETS)
async def test_ok_only_after_it_is_durable(core: Core, tmp_path: Path, kind: str) -> None:
    """While the write is held there is no answer; after the answer a restarted process knows it."""
    login = await core.login()
    target = target_of(kind, login)
    gate = core.store.hold(METHODS.get(kind, "end_session"), after=True)
    revoking = asyncio.create_task(revoke(core, target))
    await gate.reached.wait()
    assert not revoking.done()
    gate.open()
    assert (await revoking).ended_sessions == 1
    async with build_core(tmp_path, clock=core.clock, seed=2) as restarted:
        assert isinstance(await restarted.judge(login.tokens.access_token), Refusal)


@pytest.mark.parametrize("kind", TARGETS)
async def test_a_store_that_is_down_is_never_a_false_ok(core: Core, kind: str) -> None:
    """STORE_UNAVAILABLE, for unverifiable tokens too; the call can be repeated."""
    login = await core.login()
    target = target_of(kind, login)
    core.store.down = True
    for one in (target, AccessTokenTarget("junk"), RefreshTokenTarget("junk")):
        with pytest.raises(StoreUnavailable):
            await revoke(core, one)
    core.store.down = False
    assert (await revoke(core, target)).ended_sessions == 1


async def test_half_of_everything_is_not_ok(core: Core) -> None:
    """The session ended and the rest failed: no OK; repeated, it completes."""
    mine, other = await core.login(), await core.login(app_id=D2)
    core.store.fail("end_user_sessions")
    with pytest.raises(StoreUnavailable):
        await revoke(core, target_of("session", mine, everything=True))
    result = await revoke(core, target_of("session", mine, everything=True))
    assert result.ended_sessions == 1
    assert await is_dead(core, other)


async def test_a_caller_that_leaves_does_not_stop_the_revocation(core: Core) -> None:
    """Cancelled in mid-write: dead all the same, in this process's memory too."""
    login = await core.login()
    gate = core.store.hold("end_session")
    leaving = asyncio.create_task(revoke(core, target_of("access", login)))
    await gate.reached.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    await core.unbroken.drained()
    assert isinstance(await core.judge(login.tokens.access_token), Refusal)


async def test_the_fact_outlives_every_token_it_can_matter_for(core: Core) -> None:
    """Until the last access token is out of its leeway the refusal is SESSION_REVOKED, then EXPIRED."""
    login = await core.login()
    await revoke(core, target_of("session", login))
    core.clock.advance(login.tokens.access_expires_at - core.clock.now() + timedelta(seconds=4))
    list(core.view.pack(now=core.clock.now()))
    assert await core.judge(login.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.LOGOUT
    )


async def test_operators_hear_of_it(core: Core) -> None:
    """One event per call with reason, caller and number; no token in it."""
    login = await core.login()
    await revoke(core, target_of("access", login))
    (event,) = core.observer.named("sessions.revoked")
    assert event.fields == {
        "target": "AccessTokenTarget",
        "reason": "LOGOUT",
        "by": "edge",
        "ended_sessions": 1,
    }
