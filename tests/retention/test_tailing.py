"""A compacted log and those who read it: the tail, its waiters, its subscribers."""

from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.login import LoginResult
from authsvc.service.revoke import SessionTarget
from authsvc.service.verify import Refusal
from tests.support.core import Core, build_core
from tests.support.database import add_fact, copy_database, overwrite

DEAD = Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)


async def revoke(core: Core, login: LoginResult) -> Cursor:
    target = SessionTarget(login.opened.session.session_id)
    return (await core.revocations.revoke(target, reason=EndReason.ADMIN, by="operator")).head


async def one_poll(core: Core) -> None:
    core.tail.nudge()
    assert await core.tail.wait_change(limit=timedelta(days=1))


async def test_a_tail_at_the_end_of_the_log_notices_nothing(core: Core) -> None:
    """Compaction behind it is no news: same place, same incarnation, nothing loaded anew."""
    for user in ("a", "b", "c"):
        head = await revoke(core, await core.login(user))
    await core.tail.reach(head)
    core.clock.advance(timedelta(hours=3))
    assert await core.store.real.compact_log(limit=10) == 2
    loads = core.store.calls["read_live"]
    await one_poll(core)
    assert core.view.known == head
    assert core.store.calls["read_live"] == loads
    assert not core.observer.named("log.incarnation_changed")


async def test_a_tail_that_compaction_has_passed_loads_anew(tmp_path: Path, core: Core) -> None:
    """Frozen for hours: the fact it stood on is gone, and all live facts are known after its next poll."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        await core.tail.reach(await revoke(other, await other.login("first")))
        gate = core.store.hold("read_from")
        core.tail.nudge()
        await gate.reached.wait()
        for user in ("a", "b"):
            await revoke(other, await other.login(user))
        core.clock.advance(timedelta(hours=3))
        login = await other.login("late")
        head = await revoke(other, login)
        assert await other.store.real.compact_log(limit=10) == 3
        loads = core.store.calls["read_live"]
        gate.open()
        assert await core.tail.wait_change(limit=timedelta(days=1))
        assert core.store.calls["read_live"] > loads
        assert core.view.known == head
        assert await core.judge(login.tokens.access_token) == DEAD
        for each in (core, other):
            assert not each.observer.named("log.incarnation_changed")
            assert each.store.calls["begin_incarnation"] == 0
        loads = core.store.calls["read_live"]
        await one_poll(core)
        assert core.store.calls["read_live"] == loads


async def test_a_tail_below_the_mark_whose_fact_stands_just_goes_on(tmp_path: Path, core: Core) -> None:
    """A longer-lived fact below the mark proves that the history is ours: the rest is read, not loaded."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        until = core.clock.now() + timedelta(days=2)
        fact = Fact(1, FactKind.APP, "gone", EndReason.ADMIN, until, fact_id=b"12345678")
        add_fact(core.path, fact, written_at=core.clock.now())
        await one_poll(core)
        await one_poll(other)
        gate = core.store.hold("read_from")
        core.tail.nudge()
        await gate.reached.wait()
        await revoke(other, await other.login("a"))
        core.clock.advance(timedelta(hours=3))
        login = await other.login("b")
        head = await revoke(other, login)
        assert await other.store.real.compact_log(limit=10) == 1
        loads = core.store.calls["read_live"]
        gate.open()
        await core.tail.reach(head)
        assert core.store.calls["read_live"] == loads
        assert await core.judge(login.tokens.access_token) == DEAD


async def test_a_restore_is_noticed_also_below_the_mark(tmp_path: Path, core: Core) -> None:
    """Another fact where ours was means another history, wherever the mark is."""
    login = await core.login("victim")
    backup = copy_database(core.path, tmp_path / "backup.db")
    head = await revoke(core, login)
    await core.tail.reach(head)
    gate = core.store.hold("read_from")
    core.tail.nudge()
    await gate.reached.wait()
    overwrite(backup, core.path)
    other = Fact(1, FactKind.SESSION, "sid", EndReason.ADMIN, None, fact_id=b"12345678")
    add_fact(core.path, other, written_at=core.clock.now())
    gate.open()
    assert await core.tail.wait_change(limit=timedelta(days=1))
    assert core.observer.named("log.incarnation_changed")
    assert await core.judge(login.tokens.access_token) == DEAD


async def test_a_restore_hidden_by_compaction_revives_nobody(tmp_path: Path, core: Core) -> None:
    """
    Frozen while the database was restored, written on and compacted past us: what we knew dead stays dead, and
    what was revoked in the meantime is known.
    """
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        victim = await core.login("victim")
        backup = copy_database(core.path, tmp_path / "backup.db")
        await core.tail.reach(await revoke(core, victim))
        frozen, stopped = core.store.hold("read_from"), other.store.hold("read_from")
        for each, gate in ((core, frozen), (other, stopped)):
            each.tail.nudge()
            await gate.reached.wait()
        overwrite(backup, core.path)
        real = other.store.real
        for user in ("a", "b"):
            session = (await other.login(user)).opened.session
            await real.end_session(session.session_id, reason=EndReason.ADMIN, by="op")
        core.clock.advance(timedelta(minutes=119))
        late = await other.login("late")
        core.clock.advance(timedelta(minutes=31))
        await real.end_session(late.opened.session.session_id, reason=EndReason.ADMIN, by="op")
        assert await real.compact_log(limit=10) == 2
        frozen.open()
        assert await core.tail.wait_change(limit=timedelta(days=1))
        assert await core.judge(late.tokens.access_token) == DEAD
        assert core.view.known == Cursor((await real.read_head()).incarnation, 3)
        stopped.open()


async def test_a_subscriber_below_the_mark_is_told_to_take_a_snapshot(tmp_path: Path) -> None:
    """Its cursor is too old, not of another incarnation; one at the mark misses nothing and goes on."""
    async with build_core(tmp_path) as core:
        cursors = [await revoke(core, await core.login(user)) for user in ("a", "b")]
        core.clock.advance(timedelta(hours=3))
        last = await revoke(core, await core.login("c"))
        assert await core.store.real.compact_log(limit=10) == 2
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        await again.tail.reach(cursors[0])
        with pytest.raises(CursorExpired):
            await again.tail.facts_after(cursors[0].position)
        facts, through = await again.tail.facts_after(cursors[1].position)
        assert ([fact.position for fact in facts], through) == ([3], 3)
        assert last.position == 3
