"""The process's one reader of the log: load, tail, reach, restored databases, wake-ups, failures."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.cursors import INCARNATION_STEP, Cursor
from authsvc.domain.errors import CursorExpired, NotFresh, StoreUnavailable
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.revoke import AccessTokenTarget, RevokeResult, SessionTarget
from authsvc.service.tail import POLL_INTERVAL, REACH_LIMIT
from authsvc.service.verify import Refusal, VerifiedToken
from tests.support.core import HARD_BOUND, Core, build_core
from tests.support.database import add_fact, compact, copy_database, overwrite

TICK = timedelta(milliseconds=1)


async def revoke(core: Core, session_id: str) -> RevokeResult:
    return await core.revocations.revoke(SessionTarget(session_id), reason=EndReason.ADMIN, by="operator")


async def one_poll(core: Core) -> None:
    """Return after the next poll that succeeds."""
    core.tail.nudge()
    assert await core.tail.wait_change(limit=timedelta(days=1))


async def one_failure(core: Core) -> None:
    """Return after the next poll, which the store is scripted to fail."""
    core.tail.nudge()
    while not core.observer.named("log.unreachable"):
        await core.clock.sleep(timedelta(0))


async def test_a_start_loads_every_live_fact(tmp_path: Path) -> None:
    """What was revoked before the start is dead after it; the rest lives."""
    async with build_core(tmp_path) as core:
        dead, alive = await core.login("dead"), await core.login("alive")
        await revoke(core, dead.opened.session.session_id)
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        assert isinstance(await again.judge(dead.tokens.access_token), Refusal)
        assert isinstance(await again.judge(alive.tokens.access_token), VerifiedToken)
        assert len(again.view) == 1


async def test_loading_and_tailing_go_over_pages(tmp_path: Path) -> None:
    """More facts than one read returns are all taken, at the start and while running."""
    async with build_core(tmp_path) as core:
        until = core.clock.now() + timedelta(hours=1)

        def write(first: int, last: int) -> None:
            for n in range(first, last):
                fact = Fact(n, FactKind.SESSION, f"sid{n}", EndReason.ADMIN, until, fact_id=b"%08d" % n)
                add_fact(core.path, fact, written_at=core.clock.now())

        write(1, 1005)
        await one_poll(core)
        assert len(core.view) == 1004
        async with build_core(tmp_path, clock=core.clock, seed=2) as other:
            assert len(other.view) == 1004
            write(1005, 2010)
            await one_poll(other)
            assert len(other.view) == 2009
            assert other.view.known == Cursor(await incarnation(core), 2009)


async def incarnation(core: Core) -> bytes:
    return (await core.store.real.read_head()).incarnation


async def test_before_the_first_snapshot_nothing_is_decided(tmp_path: Path) -> None:
    """No verdict, no age worth anything, and at_least is not reached."""
    async with build_core(tmp_path, start=False) as core:
        await core.keys.start()
        assert not core.tail.is_fresh()
        with pytest.raises(NotFresh):
            core.tail.require_fresh()
        reaching = asyncio.create_task(core.tail.reach(Cursor(b"12345678", 0)))
        await core.clock.until_sleeping()
        core.clock.advance(REACH_LIMIT)
        with pytest.raises(NotFresh):
            await reaching


async def test_an_unreadable_log_starts_nothing(tmp_path: Path) -> None:
    """`start` raises and no task polls behind its back."""
    async with build_core(tmp_path, start=False) as core:
        core.store.down = True
        with pytest.raises(StoreUnavailable):
            await core.tail.start()
        assert core.clock.sleeping == 0


async def test_age_counts_from_before_the_read(core: Core) -> None:
    """A read that takes three seconds leaves knowledge that is three seconds old."""
    gate = core.store.hold("read_from", after=True)
    core.tail.nudge()
    await gate.reached.wait()
    core.clock.advance(timedelta(seconds=3))
    gate.open()
    assert await core.tail.wait_change(limit=timedelta(days=1))
    assert core.tail.age() >= timedelta(seconds=3) - POLL_INTERVAL


async def test_the_hard_bound_is_a_bound(core: Core) -> None:
    """Fresh at the bound, not fresh a millisecond beyond; fresh again after one successful poll."""
    core.store.down = True
    await core.clock.until_sleeping()
    core.clock.advance(HARD_BOUND)
    core.tail.require_fresh()
    core.clock.advance(TICK)
    with pytest.raises(NotFresh):
        core.tail.require_fresh()
    core.store.down = False
    await one_poll(core)
    core.tail.require_fresh()


async def test_the_wall_clock_does_not_age_knowledge(core: Core) -> None:
    """An operator who sets the clock makes nothing stale."""
    core.clock.jump_wall(timedelta(days=1))
    core.tail.require_fresh()


async def test_the_poll_needs_no_nudge(tmp_path: Path, core: Core) -> None:
    """A write through another handle is found by the poll that always runs underneath."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        assert isinstance(await other.judge(login.tokens.access_token), VerifiedToken)
        await core.clock.until_sleeping(2)
        result = await revoke(core, login.opened.session.session_id)
        changed = asyncio.create_task(other.tail.wait_change(limit=timedelta(days=1)))
        await core.clock.until_sleeping(3)
        core.clock.advance(POLL_INTERVAL)
        assert await changed
        assert other.view.known == result.head
        assert isinstance(await other.judge(login.tokens.access_token), Refusal)


async def test_own_writes_are_known_before_the_answer(core: Core) -> None:
    """Even with the log unreadable since, the process that revoked refuses at once."""
    login = await core.login()
    gate = core.store.hold("read_from")
    await revoke(core, login.opened.session.session_id)
    verdict = await core.judge(login.tokens.access_token)
    assert verdict == Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)
    gate.open()


async def test_reach_sees_another_handles_write(tmp_path: Path, core: Core) -> None:
    """at_least of a write made elsewhere makes this process ask the store instead of waiting for its poll."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        result = await revoke(core, login.opened.session.session_id)
        await other.tail.reach(result.head)
        assert isinstance(await other.judge(login.tokens.access_token), Refusal)


async def test_reach_gives_up_within_its_limit(core: Core) -> None:
    """A position that nobody has written yet is NotFresh after 500 ms, not before."""
    head = core.view.known
    assert head is not None
    reaching = asyncio.create_task(core.tail.reach(Cursor(head.incarnation, head.position + 1)))
    await core.clock.until_sleeping(2)
    for _ in range(5):
        assert not reaching.done()
        core.clock.advance(REACH_LIMIT / 5)
        await one_poll(core)
    with pytest.raises(NotFresh):
        await reaching


async def test_reach_outlasts_polls_that_came_too_early(core: Core) -> None:
    """A poll that does not get there is followed by another, until the position appears."""
    login = await core.login()
    head = core.view.known
    assert head is not None
    reaching = asyncio.create_task(core.tail.reach(Cursor(head.incarnation, head.position + 1)))
    await one_poll(core)
    assert not reaching.done()
    await core.store.real.end_session(login.opened.session.session_id, reason=EndReason.ADMIN, by="x")
    await reaching


@pytest.mark.timeout(20)
async def test_a_nudge_during_a_poll_makes_another(core: Core) -> None:
    """No wake-up is lost: what was written after the read began is seen without waiting for the interval."""
    login = await core.login()
    gate = core.store.hold("read_from", after=True)
    core.tail.nudge()
    await gate.reached.wait()
    result = await revoke(core, login.opened.session.session_id)
    gate.open()
    while core.view.known is None or core.view.known.position < result.head.position:
        await core.clock.sleep(timedelta(0))  # nobody nudges again and no time passes
    assert core.view.known == result.head


async def test_a_cursor_of_an_old_incarnation_is_refused(core: Core) -> None:
    """CursorExpired at once: its position is below what is known and its log is not ours."""
    with pytest.raises(CursorExpired):
        await core.tail.reach(Cursor(b"another!", 0))


async def test_a_cursor_of_an_incarnation_that_is_news_here_is_reached(tmp_path: Path, core: Core) -> None:
    """Another replica noticed the restore first: its cursor makes this one look, and is not called expired."""
    old = core.view.known
    assert old is not None
    head = await core.store.real.begin_incarnation(above=old.position)
    core.clock.advance(TICK)
    await core.tail.reach(Cursor(head.incarnation, head.position))
    core.clock.advance(TICK)
    with pytest.raises(CursorExpired):
        await core.tail.reach(Cursor(b"neither!", head.position + 1))


async def test_a_restored_database_begins_a_new_incarnation(tmp_path: Path, core: Core) -> None:
    """Set back to an older copy: a step above everything seen, old cursors refused, the dead stay dead."""
    dead, alive = await core.login("dead"), await core.login("alive")
    backup = copy_database(core.path, tmp_path / "backup.db")
    result = await revoke(core, dead.opened.session.session_id)
    await core.tail.reach(result.head)
    overwrite(backup, core.path)
    await one_poll(core)
    known = core.view.known
    assert known is not None
    assert known.incarnation != result.head.incarnation
    assert known.position >= result.head.position + INCARNATION_STEP
    with pytest.raises(CursorExpired):
        await core.tail.reach(result.head)
    assert await core.judge(dead.tokens.access_token) == Refusal(
        InactiveReason.SESSION_REVOKED, EndReason.ADMIN
    )
    assert isinstance(await core.judge(alive.tokens.access_token), VerifiedToken)
    assert len(core.observer.named("log.incarnation_changed")) == 1
    later = await core.login("later")
    assert later.opened.session.position == known.position


async def test_a_restore_that_was_written_over_is_noticed(tmp_path: Path, core: Core) -> None:
    """The head has passed the watermark again, but another fact stands there."""
    one, two = await core.login("one"), await core.login("two")
    backup = copy_database(core.path, tmp_path / "backup.db")
    await core.tail.reach((await revoke(core, one.opened.session.session_id)).head)
    gate = core.store.hold("read_from")
    core.tail.nudge()
    await gate.reached.wait()
    overwrite(backup, core.path)
    await core.store.real.end_session(two.opened.session.session_id, reason=EndReason.ADMIN, by="x")
    gate.open()
    assert await core.tail.wait_change(limit=timedelta(days=1))
    assert core.observer.named("log.incarnation_changed")
    assert isinstance(await core.judge(one.tokens.access_token), Refusal)
    assert isinstance(await core.judge(two.tokens.access_token), Refusal)


async def test_a_restore_is_noticed_also_where_the_newest_fact_was_stale_at_the_start(
    tmp_path: Path,
) -> None:
    """The watermark's fact is remembered although no token needs it any more."""
    async with build_core(tmp_path) as core:
        login = await core.login()
        backup = copy_database(core.path, tmp_path / "backup.db")
        await revoke(core, login.opened.session.session_id)
        core.clock.advance(timedelta(hours=5))
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        assert len(again.view) == 0
        gate = again.store.hold("read_from")
        again.tail.nudge()
        await gate.reached.wait()
        overwrite(backup, again.path)
        other = Fact(1, FactKind.SESSION, "sid", EndReason.ADMIN, None, fact_id=b"12345678")
        add_fact(again.path, other, written_at=again.clock.now())
        gate.open()
        assert await again.tail.wait_change(limit=timedelta(days=1))
        assert again.observer.named("log.incarnation_changed")


async def test_two_replicas_notice_one_restore(tmp_path: Path, core: Core) -> None:
    """Both end in the same incarnation, and nothing that either knew comes back to life."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        backup = copy_database(core.path, tmp_path / "backup.db")
        result = await revoke(core, login.opened.session.session_id)
        await core.tail.reach(result.head)
        await other.tail.reach(result.head)
        overwrite(backup, core.path)
        await asyncio.gather(one_poll(core), one_poll(other))
        await asyncio.gather(one_poll(core), one_poll(other))
        assert core.view.known == other.view.known
        for replica in (core, other):
            assert isinstance(await replica.judge(login.tokens.access_token), Refusal)


async def test_a_restore_is_taken_up_again_after_a_failure(tmp_path: Path, core: Core) -> None:
    """The store fails right after the new incarnation began: the next poll loads it, without another one."""
    login = await core.login()
    backup = copy_database(core.path, tmp_path / "backup.db")
    await core.tail.reach((await revoke(core, login.opened.session.session_id)).head)
    overwrite(backup, core.path)
    core.store.fail("read_head")
    await one_failure(core)
    await one_poll(core)
    assert core.store.calls["begin_incarnation"] == 1
    assert core.view.known == Cursor(await incarnation(core), (await core.store.real.read_head()).position)
    assert isinstance(await core.judge(login.tokens.access_token), Refusal)


async def test_compaction_below_the_watermark_is_no_restore(core: Core) -> None:
    """Facts that were forgotten leave gaps; the log goes on."""
    logins = [await core.login(user) for user in ("a", "b", "c")]
    for login in logins:
        result = await revoke(core, login.opened.session.session_id)
    await core.tail.reach(result.head)
    compact(core.path, result.head.position)
    await one_poll(core)
    assert core.view.known == result.head
    assert not core.observer.named("log.incarnation_changed")


async def test_a_gap_in_positions_is_passed_over(core: Core) -> None:
    """Positions need not be contiguous: the largest visible one is the watermark."""
    head = core.view.known
    assert head is not None
    fact = Fact(40, FactKind.SESSION, "sid", EndReason.ADMIN, None, fact_id=b"12345678")
    add_fact(core.path, fact, written_at=core.clock.now())
    await one_poll(core)
    assert core.view.known == Cursor(head.incarnation, 40)
    assert list((await core.tail.facts_after(0))[0]) == [fact]
    add_fact(core.path, replace(fact, position=42, fact_id=b"87654321"), written_at=core.clock.now())
    await one_poll(core)
    assert [fact.position for fact in (await core.tail.facts_after(40))[0]] == [42]


async def test_memory_that_does_not_reach_back_is_completed_from_the_store(tmp_path: Path) -> None:
    """A restarted process has no recent facts: what was before it comes from the log, or is too old to have."""
    async with build_core(tmp_path) as core:
        for user in ("a", "b", "c"):
            await revoke(core, (await core.login(user)).opened.session.session_id)
    async with build_core(tmp_path, clock=core.clock, seed=2) as again:
        facts, through = await again.tail.facts_after(1)
        assert [fact.position for fact in facts] == [2, 3]
        assert through == 3
        assert await again.tail.facts_after(3) == ((), 3)
        compact(again.path, 2)
        with pytest.raises(CursorExpired):
            await again.tail.facts_after(1)
        assert [fact.position for fact in (await again.tail.facts_after(2))[0]] == [3]


async def test_the_tail_survives_whatever_a_read_raises(core: Core) -> None:
    """A scripted refusal and an invented one are told once each, and the next poll goes on as if nothing was."""
    for error in (StoreUnavailable("scripted"), RuntimeError("scripted")):
        core.observer.events.clear()
        core.store.fail("read_from", error)
        await one_failure(core)
        await one_poll(core)
        (lost,) = core.observer.named("log.unreachable")
        assert lost.fields["error"] == type(error).__name__
        assert len(core.observer.named("log.reachable")) == 1
    core.tail.require_fresh()


async def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """No sleeper and no task of the tail is left, and stopping twice is once."""
    async with build_core(tmp_path) as core:
        await core.clock.until_sleeping()
        before = len(asyncio.all_tasks())
        await core.tail.stop()
        await core.tail.stop()
        await core.clock.sleep(timedelta(0))
        assert core.clock.sleeping == 0
        assert len(asyncio.all_tasks()) < before
        assert not any("Event.wait" in repr(task) for task in asyncio.all_tasks())


async def test_old_facts_are_forgotten_in_time(core: Core) -> None:
    """A minute of polls prunes what no token needs any more."""
    login = await core.login()
    await core.revocations.revoke(
        AccessTokenTarget(login.tokens.access_token), reason=EndReason.LOGOUT, by="edge"
    )
    assert len(core.view) == 1
    core.clock.advance(timedelta(hours=3))
    for _ in range(241):
        await one_poll(core)
    assert len(core.view) == 0
