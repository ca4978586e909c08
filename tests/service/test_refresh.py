"""Refresh: one successor per token, and an end for every token that should not have been presented."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain import refresh_token
from authsvc.domain.access_token import InactiveReason
from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import (
    AppDisabled,
    InvalidField,
    RefreshTokenInvalid,
    SessionEnded,
    StoreUnavailable,
    UnknownApp,
    UserBlocked,
)
from authsvc.domain.keyring import KeyRing
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.keys import DirectoryKeys
from authsvc.service.revoke import AppTarget, SessionTarget, Target, UserTarget
from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import D1, Core, build_core, sandbox_apps
from tests.support.database import copy_database, overwrite
from tests.support.tokens import claims_of

GRACE = timedelta(seconds=30)


def parsed(core: Core, text: str) -> RefreshToken:
    token = refresh_token.parse(text, ring=core.rings.refresh_mac)
    assert token is not None
    return token


def spelled(core: Core, token: RefreshToken) -> str:
    return refresh_token.spell(token, ring=core.rings.refresh_mac)


async def ended(core: Core, text: str) -> EndReason:
    """Present a token whose session is over or ends by it; return the reason that is told."""
    with pytest.raises(SessionEnded) as told:
        await core.refresh(text)
    return EndReason[told.value.end_reason]


async def test_a_refresh_rotates(core: Core) -> None:
    """A new pair for the same session, good at once; the older access token lives out its time."""
    login = await core.login()
    core.clock.advance(timedelta(minutes=1))
    await core.tail.poll()
    result = await core.refresh(login.tokens.refresh_token)
    assert result.tokens.refresh_token != login.tokens.refresh_token
    assert not result.rotation.replayed
    claims = claims_of(result.tokens.access_token)
    assert claims.session_id == login.opened.session.session_id
    assert claims.user_id == login.opened.user.user_id
    assert claims.position == login.opened.session.position
    assert claims.token_id != claims_of(login.tokens.access_token).token_id
    assert claims.expires_at == int(result.tokens.access_expires_at.timestamp())
    for token in (login.tokens.access_token, result.tokens.access_token):
        assert isinstance(await core.judge(token), VerifiedToken)
    assert result.tokens.refresh_expires_at == core.clock.now() + timedelta(days=7)


async def test_fifty_parallel_refreshes_have_one_successor(core: Core) -> None:
    """All fifty answers carry the same refresh token and expiry; the session lives and the successor works."""
    login = await core.login()
    results = await asyncio.gather(*(core.refresh(login.tokens.refresh_token) for _ in range(50)))
    assert len({result.tokens.refresh_token for result in results}) == 1
    assert len({result.tokens.access_expires_at for result in results}) == 1
    assert sum(not result.rotation.replayed for result in results) == 1
    session = await core.store.real.get_session(login.opened.session.session_id)
    assert session is not None
    assert session.counter == 1
    assert session.ended is None
    assert (await core.refresh(results[0].tokens.refresh_token)).rotation.session.counter == 2


async def test_the_grace_window_is_counted_from_the_rotation(core: Core) -> None:
    """The same successor up to 30 s after the rotation, replays in between or not; a moment later it is over."""
    login = await core.login()
    first = await core.refresh(login.tokens.refresh_token)
    for _ in range(2):
        core.clock.advance(GRACE / 2)
        again = await core.refresh(login.tokens.refresh_token)
        assert again.tokens.refresh_token == first.tokens.refresh_token
        assert again.tokens.access_expires_at == first.tokens.access_expires_at
        assert claims_of(again.tokens.access_token).expires_at == int(
            first.tokens.access_expires_at.timestamp()
        )
    core.clock.advance(timedelta(milliseconds=1))
    await core.tail.poll()
    assert await ended(core, login.tokens.refresh_token) is EndReason.REFRESH_STALE
    for text in (first.tokens.refresh_token, login.tokens.refresh_token):
        assert await ended(core, text) is EndReason.REFRESH_STALE
    assert await core.judge(first.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.REFRESH_STALE
    )
    assert len(core.observer.named("session.refresh_stale")) == 1


async def test_two_behind_is_reuse(core: Core) -> None:
    """Within or without the window: the session ends, told once as suspicious, and its tokens die at once."""
    login = await core.login()
    second = await core.refresh(login.tokens.refresh_token)
    third = await core.refresh(second.tokens.refresh_token)
    assert await ended(core, login.tokens.refresh_token) is EndReason.REFRESH_REUSE
    for text in (third.tokens.refresh_token, second.tokens.refresh_token, login.tokens.refresh_token):
        assert await ended(core, text) is EndReason.REFRESH_REUSE
    assert await core.judge(third.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.REFRESH_REUSE
    )
    (event,) = core.observer.named("session.refresh_reuse")
    assert event.level == "warning"
    assert event.fields["session_id"] == login.opened.session.session_id


async def test_a_counter_from_the_future_means_a_restored_store(core: Core, tmp_path: Path) -> None:
    """A token that was rotated before the backup came back is STORE_RESTORED, never reuse."""
    login = await core.login()
    backup = copy_database(core.path, tmp_path / "backup.db")
    rotated = await core.refresh(login.tokens.refresh_token)
    overwrite(backup, core.path)
    assert await ended(core, rotated.tokens.refresh_token) is EndReason.STORE_RESTORED
    assert not core.observer.named("session.refresh_reuse")
    assert core.observer.named("session.store_restored")


async def test_a_session_the_store_forgot_is_restored_too(core: Core, tmp_path: Path) -> None:
    """A valid MAC without a row: the login came after the backup."""
    backup = copy_database(core.path, tmp_path / "backup.db")
    login = await core.login()
    overwrite(backup, core.path)
    assert await ended(core, login.tokens.refresh_token) is EndReason.STORE_RESTORED


async def test_another_lines_nonce_touches_nothing(core: Core) -> None:
    """A MAC of ours over another nonce: refused, alerted, and the session goes on."""
    login = await core.login()
    forged = spelled(core, replace(parsed(core, login.tokens.refresh_token), nonce=b"n" * 16))
    with pytest.raises(RefreshTokenInvalid):
        await core.refresh(forged)
    (event,) = core.observer.named("refresh.foreign_nonce")
    assert event.level == "error"
    assert isinstance(await core.judge(login.tokens.access_token), VerifiedToken)
    assert (await core.refresh(login.tokens.refresh_token)).rotation.session.counter == 1


@pytest.mark.parametrize(
    "damage", ["mac", "body", "prefix", "case", "pad", "cut", "long", "junk", "other key"]
)
async def test_a_forged_token_never_reaches_the_store(core: Core, damage: str) -> None:
    """Decided by the MAC alone."""
    text = (await core.login()).tokens.refresh_token
    other = KeyRing(core.rings.refresh_mac.current_id, {core.rings.refresh_mac.current_id: b"x" * 32})
    forged = {
        "mac": text[:-6] + ("AAAAAA" if text[-6:] != "AAAAAA" else "BBBBBB"),
        "body": text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
        "prefix": "wxr2." + text[5:],
        "case": text.swapcase(),
        "pad": text + "=",
        "cut": text[:-1],
        "long": text + "A" * 5000,
        "junk": "not a token",
        "other key": refresh_token.spell(parsed(core, text), ring=other),
    }[damage]
    before = core.store.calls.total()
    with pytest.raises(RefreshTokenInvalid):
        await core.refresh(forged)
    assert core.store.calls.total() == before


async def test_an_empty_token_is_a_bad_request(core: Core) -> None:
    """Not a forgery: a caller's mistake."""
    with pytest.raises(InvalidField):
        await core.refresh("")


@pytest.mark.parametrize("kind", ["session", "user", "app"])
@pytest.mark.parametrize("reason", [EndReason.LOGOUT, EndReason.ADMIN])
async def test_a_revoked_session_refreshes_no_more(core: Core, kind: str, reason: EndReason) -> None:
    """Whatever was revoked around it, the reason is the revocation's."""
    login = await core.login()
    targets: dict[str, Target] = {
        "session": SessionTarget(login.opened.session.session_id),
        "user": UserTarget(login.opened.user.user_id),
        "app": AppTarget(D1),
    }
    await core.revocations.revoke(targets[kind], reason=reason, by="operator")
    for _ in range(2):
        assert await ended(core, login.tokens.refresh_token) is reason
    assert not core.observer.named("session.refresh_reuse")


async def test_a_blocked_user_gets_nothing(core: Core) -> None:
    """USER_BLOCKED while it holds; afterwards the session is over as BLOCKED."""
    login = await core.login()
    user_id = login.opened.user.user_id
    await core.store.real.block_user(user_id, block=Block(reason="x", by="operator", at=core.clock.now()))
    with pytest.raises(UserBlocked):
        await core.refresh(login.tokens.refresh_token)
    await core.store.real.unblock_user(user_id, by="op")
    assert await ended(core, login.tokens.refresh_token) is EndReason.BLOCKED


async def test_an_idle_session_expires(core: Core) -> None:
    """Seven days without a refresh, and a refresh in between starts them anew."""
    login = await core.login()
    core.clock.advance(timedelta(days=6))
    second = await core.refresh(login.tokens.refresh_token)
    core.clock.advance(timedelta(days=6))
    third = await core.refresh(second.tokens.refresh_token)
    core.clock.advance(timedelta(days=7))
    assert await ended(core, third.tokens.refresh_token) is EndReason.EXPIRED


async def test_no_token_outlives_the_absolute_end(tmp_path: Path) -> None:
    """30 days after the login it is over, however diligently it was refreshed; the last tokens end with it."""
    apps = sandbox_apps(absolute_lifetime=timedelta(days=10), idle_lifetime=timedelta(days=7))
    async with build_core(tmp_path, apps=apps) as core:
        login = await core.login()
        end = core.clock.now() + timedelta(days=10)
        core.clock.advance(timedelta(days=5))
        second = await core.refresh(login.tokens.refresh_token)
        assert second.tokens.refresh_expires_at == end
        core.clock.advance(timedelta(days=5) - timedelta(minutes=10))
        third = await core.refresh(second.tokens.refresh_token)
        assert third.tokens.access_expires_at == third.tokens.refresh_expires_at == end
        core.clock.advance(timedelta(minutes=10))
        assert await ended(core, third.tokens.refresh_token) is EndReason.EXPIRED


async def test_an_apps_fate_is_its_sessions(core: Core) -> None:
    """Switched off or gone from the configuration: refused as such, and nothing is ended."""
    login = await core.login()
    apps = dict(core.apps.apps)
    for registry, error in (
        ({**apps, D1: replace(apps[D1], enabled=False)}, AppDisabled),
        ({name: app for name, app in apps.items() if name != D1}, UnknownApp),
    ):
        core.refreshes._apps = AppRegistry(registry)
        with pytest.raises(error):
            await core.refresh(login.tokens.refresh_token)
    core.refreshes._apps = core.apps
    assert (await core.refresh(login.tokens.refresh_token)).rotation.session.counter == 1


async def test_a_replica_that_cannot_issue_does_not_rotate(core: Core) -> None:
    """The token stays the newest; another replica rotates it."""
    login = await core.login()
    material, core.keys._material = core.keys._material, DirectoryKeys([])
    with pytest.raises(StoreUnavailable):
        await core.refresh(login.tokens.refresh_token)
    assert core.store.calls["rotate"] == 0
    core.keys._material = material
    assert not (await core.refresh(login.tokens.refresh_token)).rotation.replayed


@pytest.mark.parametrize("after", [False, True])
async def test_a_lost_write_is_repeated(core: Core, after: bool) -> None:
    """STORE_UNAVAILABLE whether or not it took effect; the same token then gives the one successor."""
    login = await core.login()
    core.store.fail("rotate", after=after)
    with pytest.raises(StoreUnavailable):
        await core.refresh(login.tokens.refresh_token)
    result = await core.refresh(login.tokens.refresh_token)
    assert result.rotation.replayed is after
    assert result.rotation.session.counter == 1


async def test_a_caller_that_leaves_does_not_stop_the_rotation(core: Core) -> None:
    """Cancelled in mid-write: rotated all the same, and the retry gets that successor."""
    login = await core.login()
    gate = core.store.hold("rotate")
    leaving = asyncio.create_task(core.refresh(login.tokens.refresh_token))
    await gate.reached.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open()
    await core.unbroken.drained()
    assert (await core.refresh(login.tokens.refresh_token)).rotation.replayed
