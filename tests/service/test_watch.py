"""Watching the log: snapshot, changes, heartbeats, resumption, drain, and what never leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, NotFresh, StoreUnavailable
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.revoke import SessionTarget
from authsvc.service.snapshots import Snapshot
from authsvc.service.watch import Changes, GoAway, Message
from tests.support.core import Core, build_core
from tests.support.database import add_fact, compact, copy_database, overwrite

SECOND = timedelta(seconds=1)


def watch(core: Core, resume_from: Cursor | None = None) -> AsyncIterator[Message]:
    """The messages as they are; each that completes something has the age of what it completes."""

    async def messages() -> AsyncIterator[Message]:
        source = core.watches.broadcast(lambda message: message).watch(resume_from)
        async with aclosing(source) as stream:  # type: ignore[type-var]
            async for message, age in stream:
                assert age == (None if message.through is None else core.tail.age_of(message.through))
                yield message

    return messages()


@asynccontextmanager
async def watching(core: Core, resume_from: Cursor | None = None) -> AsyncIterator[AsyncIterator[Message]]:
    async with aclosing(watch(core, resume_from)) as stream:  # type: ignore[type-var]
        yield stream


async def revoked(core: Core, user: str = "alice") -> Fact:
    """Make a fact and return it."""
    login = await core.login(user)
    session_id = login.opened.session.session_id
    result = await core.revocations.revoke(SessionTarget(session_id), reason=EndReason.ADMIN, by="x")
    await core.tail.reach(result.head)
    (fact,) = (await core.store.real.read_from(result.head.position, limit=1))[1]
    return fact


async def until(stream: AsyncIterator[Message], position: int) -> list[Fact]:
    """Read changes until they are complete through *position*; the facts that came, in order."""
    facts: list[Fact] = []
    async for message in stream:
        assert isinstance(message, Changes)
        facts += message.facts
        if message.through.position >= position:
            return facts
    raise AssertionError("the stream ended")


async def test_a_snapshot_then_changes_in_order(core: Core) -> None:
    """What was dead before comes in the snapshot, complete through its cursor; each later fact once, ascending."""
    before = [await revoked(core, user) for user in ("a", "b")]
    async with watching(core) as stream:
        snapshot = await anext(stream)
        assert snapshot == Snapshot(tuple(before), core.view.known)
        after = [await revoked(core, user) for user in ("c", "d", "e")]
        assert await until(stream, after[-1].position) == after


async def test_a_large_snapshot_comes_in_parts(core: Core) -> None:
    """Only the last part has a cursor and an age; together they are everything."""
    until_ = core.clock.now() + timedelta(hours=1)
    await core.tail.stop()
    rows = [
        Fact(n, FactKind.SESSION, f"{n:022}", EndReason.ADMIN, until_, fact_id=b"%08d" % n)
        for n in range(1, 4)
    ]
    for fact in rows:
        add_fact(core.path, fact, written_at=core.clock.now())
    await core.tail.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authsvc.service.snapshots.PART_FACTS", 2)
        async with watching(core) as stream:
            first, last = await anext(stream), await anext(stream)
    assert first == Snapshot(tuple(rows[:2]), None)
    assert isinstance(last, Snapshot)
    assert last.facts == tuple(rows[2:])
    assert last.through == core.view.known


async def test_resuming_misses_nothing(core: Core) -> None:
    """From a cursor received earlier come exactly the facts since, also after a restart, when memory is empty."""
    facts = [await revoked(core, user) for user in ("a", "b", "c")]
    assert core.view.known is not None
    resume = Cursor(core.view.known.incarnation, facts[0].position)
    async with watching(core, resume) as stream:
        assert await until(stream, facts[-1].position) == facts[1:]
    async with (
        build_core(core.path.parent, clock=core.clock, seed=2) as restarted,
        watching(restarted, resume) as stream,
    ):
        assert await until(stream, facts[-1].position) == facts[1:]


async def test_a_cursor_ahead_of_this_replica_makes_it_catch_up(core: Core) -> None:
    """A reader that comes from a faster replica hears nothing that is behind its cursor."""
    async with build_core(core.path.parent, clock=core.clock, seed=2) as other:
        fact = await revoked(core)
        assert core.view.known is not None
        assert other.view.known != core.view.known
        async with watching(other, core.view.known) as stream:
            first = await anext(stream)
            assert isinstance(first, Changes)
            assert first.facts == ()
            assert first.through.position >= fact.position


async def test_never_silent_for_a_second(core: Core) -> None:
    """Nothing happens, and there is a message within every second, as old as the log's last confirmation."""
    async with watching(core) as stream:
        await anext(stream)
        await anext(stream)
        for _ in range(3):
            asked = asyncio.ensure_future(anext(stream))
            sent_at = core.clock.elapsed()
            while not asked.done():
                assert core.clock.elapsed() - sent_at < 1.0
                await core.clock.until_sleeping(2)
                core.clock.advance(timedelta(milliseconds=50))
                await core.tail.poll()
                for _ in range(10):
                    await core.clock.sleep(timedelta(0))
            message = await asked
            assert isinstance(message, Changes)
            assert message.facts == ()
            assert message.through == core.view.known


async def test_heartbeats_tell_how_old_the_knowledge_is(core: Core) -> None:
    """With the store down messages go on, and their age grows."""
    source = core.watches.broadcast(lambda message: message).watch(None)
    async with aclosing(source) as stream:  # type: ignore[type-var]
        await anext(stream)
        await anext(stream)
        core.store.down = True
        ages = []
        for _ in range(3):
            asked = asyncio.ensure_future(anext(stream))
            await core.clock.until_sleeping(2)
            core.clock.advance(SECOND)
            message, age = await asked
            assert isinstance(message, Changes)
            ages.append(age)
        assert ages == [SECOND, 2 * SECOND, 3 * SECOND]


async def test_refusals(core: Core, tmp_path: Path) -> None:
    """Another incarnation and a compacted cursor are CursorExpired; no snapshot here is NotFresh."""
    facts = [await revoked(core, user) for user in ("a", "b", "c")]
    known = core.view.known
    assert known is not None
    with pytest.raises(CursorExpired):
        await anext(watch(core, Cursor(b"12345678", 1)))
    compact(core.path, facts[1].position)
    async with build_core(core.path.parent, clock=core.clock, seed=2) as restarted:
        with pytest.raises(CursorExpired):
            await anext(watch(restarted, Cursor(known.incarnation, facts[0].position)))
        restarted.store.down = True
        with pytest.raises(StoreUnavailable):
            await anext(watch(restarted, None))
        with pytest.raises(StoreUnavailable):
            await anext(watch(restarted, Cursor(known.incarnation, facts[1].position)))
    async with build_core(core.path.parent, clock=core.clock, seed=3, start=False) as unready:
        with pytest.raises(NotFresh):
            await anext(watch(unready, None))


async def test_a_restore_ends_every_stream(core: Core, tmp_path: Path) -> None:
    """A reader of the old history is told to take a snapshot, which is then of the new one."""
    await core.login()
    backup = copy_database(core.path, tmp_path / "backup.db")
    await revoked(core)
    async with watching(core) as stream:
        await anext(stream)
        await anext(stream)
        overwrite(backup, core.path)
        core.tail.nudge()
        with pytest.raises(CursorExpired):
            async for _ in stream:
                pass
    async with watching(core) as stream:
        snapshot = await anext(stream)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.through == core.view.known


async def test_a_cursor_of_an_incarnation_that_is_news_here_is_followed(core: Core) -> None:
    """A reader whose replica noticed the restore first is not sent away by one that has not looked yet."""
    assert core.view.known is not None
    head = await core.store.real.begin_incarnation(above=core.view.known.position)
    core.clock.advance(timedelta(milliseconds=1))
    async with watching(core, Cursor(head.incarnation, head.position)) as stream:
        message = await anext(stream)
        assert isinstance(message, Changes)
        assert message.through == Cursor(head.incarnation, head.position)


async def test_draining_says_go_away_and_ends(core: Core) -> None:
    """Streams that wait and streams that open later: GoAway with the cursor to resume from, then the end."""
    async with watching(core) as waiting, watching(core) as late:
        await anext(waiting)
        await anext(waiting)
        asked = asyncio.ensure_future(anext(waiting))
        await core.clock.until_sleeping(2)
        core.watches.drain()
        core.watches.drain()
        assert await asked == GoAway(core.view.known)  # type: ignore[arg-type]
        assert [message async for message in waiting] == []
        snapshot, farewell = [message async for message in late]
        assert isinstance(snapshot, Snapshot)
        assert isinstance(farewell, GoAway)


async def test_principal_facts_never_leave(core: Core) -> None:
    """Neither in a snapshot nor as a change; the cursor passes over them."""
    principal = Fact(1, FactKind.PRINCIPAL, "svc-a", EndReason.ADMIN, None, fact_id=b"12345678")
    add_fact(core.path, principal, written_at=core.clock.now())
    await core.polled()
    async with watching(core) as stream:
        snapshot = await anext(stream)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.facts == ()
        second = Fact(2, FactKind.PRINCIPAL, "svc-b", EndReason.ADMIN, None, fact_id=b"87654321")
        add_fact(core.path, second, written_at=core.clock.now())
        await core.polled()
        assert await until(stream, 2) == []
        fact = await revoked(core)
        assert await until(stream, fact.position) == [fact]


async def test_a_reader_that_leaves_leaks_nothing(core: Core) -> None:
    """Cancelled while it waits, or closed between messages: no sleeper and no task stays behind."""
    await core.clock.until_sleeping()
    tasks, sleepers = len(asyncio.all_tasks()), core.clock.sleeping
    for _ in range(20):
        async with watching(core) as stream:
            await anext(stream)
            await anext(stream)
            asked = asyncio.ensure_future(anext(stream))
            await core.clock.until_sleeping(sleepers + 1)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        async with watching(core) as stream:
            await anext(stream)
    while core.clock.sleeping > sleepers or len(asyncio.all_tasks()) > tasks:
        await core.clock.sleep(timedelta(0))
    assert core.observer.gauges["watchers"]() == 0
