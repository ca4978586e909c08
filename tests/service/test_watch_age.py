"""The age of a message is that of the cursor it carries, also where the process knows more than the message tells."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from authsvc.domain.cursors import Cursor
from authsvc.domain.ids import encode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.snapshots import Snapshot
from authsvc.service.watch import Broadcast, Changes, GoAway, Message
from tests.support.core import Core, build_core
from tests.support.database import add_facts

SECOND = timedelta(seconds=1)
# Older than any hard bound.
AGES = timedelta(minutes=5)

Told = tuple[Message, timedelta | None]


def broadcast(core: Core) -> Broadcast[Message]:
    """Messages as they are."""
    return core.watches.broadcast(lambda message: message)


async def known(core: Core) -> Cursor:
    """What this process knows, with a log that is polled only when the test says so."""
    await core.tail.stop()
    await core.tail.poll()
    assert core.view.known is not None
    return core.view.known


async def grow(core: Core, count: int) -> None:
    """*count* more facts in the log, known here; a second passes before them and one after."""
    above = (await core.store.real.read_head()).position
    until = core.clock.now() + timedelta(hours=2)
    add_facts(
        core.path,
        [
            Fact(n, FactKind.SESSION, encode_id(b"%016d" % n), EndReason.ADMIN, until, fact_id=b"%08d" % n)
            for n in range(above + 1, above + count + 1)
        ],
        written_at=core.clock.now(),
    )
    core.clock.advance(SECOND)
    await core.tail.poll()
    core.clock.advance(SECOND)


async def rest(stream: AsyncIterator[Told]) -> list[Told]:
    """Everything until the stream ends."""
    return [told async for told in stream]


async def test_a_shared_snapshot_is_as_old_as_its_cursor(core: Core) -> None:
    """Who takes it late hears how long ago its cursor was last the head, and only with the changes that it is fresh."""
    source = broadcast(core)
    first = await known(core)
    async with aclosing(source.watch(None)) as early:  # type: ignore[type-var]
        assert await anext(early) == (Snapshot((), first), timedelta(0))
    core.clock.advance(30 * SECOND)
    await core.tail.poll()  # still the head
    await grow(core, 1)
    async with aclosing(source.watch(None)) as late:  # type: ignore[type-var]
        assert await anext(late) == (Snapshot((), first), 2 * SECOND)
        message, age = await anext(late)
        assert isinstance(message, Changes)
        assert (len(message.facts), message.through, age) == (1, core.view.known, SECOND)


async def test_a_page_that_stops_short_is_as_old_as_its_cursor(core: Core) -> None:
    """Each page but the last dates from before the log grew past it; the last is what the process knows itself."""
    first = await known(core)
    await grow(core, 1500)
    await grow(core, 1000)
    ages = {}
    async with aclosing(broadcast(core).watch(first)) as stream:  # type: ignore[type-var]
        for _ in range(3):
            message, age = await anext(stream)
            assert isinstance(message, Changes)
            ages[message.through.position] = age
    assert ages == {1000: 4 * SECOND, 2000: 3 * SECOND, 2500: SECOND}


async def test_a_page_from_before_this_process_is_not_young(core: Core) -> None:
    """When its cursor was the head nobody here knows: so it is older than any hard bound, until the last page."""
    first = await known(core)
    await grow(core, 1500)
    async with (
        build_core(core.path.parent, clock=core.clock, seed=2) as restarted,
        aclosing(broadcast(restarted).watch(first)) as stream,  # type: ignore[type-var]
    ):
        _, age = await anext(stream)
        assert age is not None
        assert age > AGES
        message, age = await anext(stream)
        assert message.through == restarted.view.known
        assert age == restarted.tail.age()


async def test_a_drain_leaves_nothing_unsaid(core: Core) -> None:
    """Who lags when the process drains is told what it knows, several pages if need be, and then to go away."""
    first = await known(core)
    async with aclosing(broadcast(core).watch(first)) as stream:  # type: ignore[type-var]
        await anext(stream)
        await grow(core, 2500)
        core.watches.drain()
        *changes, (farewell, age) = await rest(stream)
    assert [len(message.facts) for message, _ in changes if isinstance(message, Changes)] == [1000, 1000, 500]
    assert (farewell, age) == (GoAway(await last(core)), SECOND)


async def test_a_drain_does_not_read_the_store_for_who_is_far_behind(core: Core) -> None:
    """It goes away with the cursor it came with, which is not called young; elsewhere it resumes from there."""
    first = await known(core)
    await grow(core, 1)
    async with build_core(core.path.parent, clock=core.clock, seed=2) as restarted:
        restarted.watches.drain()
        restarted.store.down = True
        async with aclosing(broadcast(restarted).watch(first)) as stream:  # type: ignore[type-var]
            ((farewell, age),) = await rest(stream)
    assert farewell == GoAway(first)
    assert age is not None
    assert age > AGES


async def last(core: Core) -> Cursor:
    """The log's head, read anew."""
    head = await core.store.real.read_head()
    return Cursor(head.incarnation, head.position)
