"""What a restored database answers, line by line, and that restored is what it calls itself."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, SessionEnded
from authsvc.domain.sessions import EndReason
from authsvc.service.login import LoginResult
from authsvc.service.revoke import RevokeResult, SessionTarget
from authsvc.service.verify import Refusal, VerifiedToken
from authsvc.storage.backup import back_up, restore
from tests.fakes import SeededEntropy
from tests.support.core import Core, build_core

DAY = timedelta(days=1)


async def revoke(core: Core, login: LoginResult) -> RevokeResult:
    target = SessionTarget(login.opened.session.session_id)
    return await core.revocations.revoke(target, reason=EndReason.ADMIN, by="operator")


async def ending(core: Core, refresh_token: str) -> EndReason:
    with pytest.raises(SessionEnded) as caught:
        await core.refresh(refresh_token)
    return EndReason[caught.value.end_reason]


async def put_back(core: Core, backup: Path, *, revoke_for: timedelta | None = None) -> None:
    await asyncio.to_thread(
        restore, backup, core.path, clock=core.clock, entropy=SeededEntropy(77), revoke_for=revoke_for
    )


async def test_older_than_the_backup_goes_on_newer_is_restored_never_reuse(tmp_path: Path) -> None:
    """Silent logins for what the backup does not know; what it knows lives or is dead as it was then."""
    backup = tmp_path / "backup.db"
    async with build_core(tmp_path) as core:
        kept, ahead, dead, forgotten = [await core.login(user) for user in ("a", "b", "c", "d")]
        before = await revoke(core, dead)
        await asyncio.to_thread(back_up, core.path, backup, entropy=SeededEntropy(7))
        first = await core.refresh(ahead.tokens.refresh_token)
        second = await core.refresh(first.tokens.refresh_token)
        unknown = await core.login("e")
        after = await revoke(core, forgotten)
        lost = await core.login("f")
        await revoke(core, lost)
    await put_back(core, backup)
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        assert (await again.refresh(kept.tokens.refresh_token)).tokens.refresh_token
        for token in (first.tokens.refresh_token, second.tokens.refresh_token):
            assert await ending(again, token) is EndReason.STORE_RESTORED
        assert await ending(again, unknown.tokens.refresh_token) is EndReason.STORE_RESTORED
        assert await ending(again, lost.tokens.refresh_token) is EndReason.STORE_RESTORED
        assert await ending(again, dead.tokens.refresh_token) is EndReason.ADMIN
        killed = Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)
        assert await again.judge(dead.tokens.access_token) == killed
        # What the page says is lost: revocations made after the backup. Their tokens live until they expire.
        for login in (forgotten, lost):
            assert isinstance(await again.judge(login.tokens.access_token), VerifiedToken)
        assert (await again.refresh(forgotten.tokens.refresh_token)).tokens.refresh_token
        for cursor in (before.head, after.head):
            with pytest.raises(CursorExpired):
                await again.tail.reach(cursor)
        later = await again.login("g")
        assert later.opened.session.position > after.head.position


async def test_with_revoke_all_nothing_made_before_is_accepted(tmp_path: Path) -> None:
    """Also tokens that the backup does not know, and those whose revocation it has lost; new logins are."""
    backup = tmp_path / "backup.db"
    async with build_core(tmp_path) as core:
        kept, forgotten = await core.login("a"), await core.login("b")
        await asyncio.to_thread(back_up, core.path, backup, entropy=SeededEntropy(7))
        await revoke(core, forgotten)
        lost = await core.login("c")
        await revoke(core, lost)
        unknown = await core.login("d")
    await put_back(core, backup, revoke_for=DAY)
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        gone = Refusal(InactiveReason.APP_REVOKED, EndReason.STORE_RESTORED)
        for login in (kept, forgotten, lost, unknown):
            assert await again.judge(login.tokens.access_token) == gone
            assert await ending(again, login.tokens.refresh_token) is EndReason.STORE_RESTORED
        fresh = await again.login("a")
        assert fresh.opened.user.user_id == kept.opened.user.user_id
        assert isinstance(await again.judge(fresh.tokens.access_token), VerifiedToken)


async def test_a_mark_by_hand_is_taken_up_by_running_servers(tmp_path: Path, core: Core) -> None:
    """Both end in the new incarnation without a restart, and nothing that was dead revives."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        result = await revoke(core, login)
        await other.tail.reach(result.head)
        head = await core.store.real.begin_incarnation(above=result.head.position)
        for each in (core, other):
            await each.polled()
            known = each.view.known
            assert known is not None
            assert known == Cursor(head.incarnation, head.position)
            with pytest.raises(CursorExpired):
                await each.tail.reach(result.head)
            assert isinstance(await each.judge(login.tokens.access_token), Refusal)
            assert each.store.calls["begin_incarnation"] == 0
