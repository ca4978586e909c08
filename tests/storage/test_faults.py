"""What callers see when SQLite fails: StoreUnavailable without details, nothing half done, and life afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.ports import Opened, SessionQuery, Written
from authsvc.storage import SqliteStore, writer
from authsvc.storage.schema import apps, users
from authsvc.storage.tx import Tx, View
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import HOUR, Login, World
from tests.storage.faults import (
    held,
    locked,
    overwrite,
    refuse_commit,
    runner_of,
    trigger,
    writing_connection,
)
from tests.storage.sqlite_backend import SqliteBackend


@pytest.fixture
def backend(tmp_path: Path, migrated_file: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path, template=migrated_file)


@pytest.fixture
def path(backend: SqliteBackend) -> Path:
    return backend.path


@pytest.fixture
async def store(world: World) -> AsyncIterator[SqliteStore]:
    assert isinstance(world.store, SqliteStore)
    yield world.store


def write_fact(tx: Tx) -> int:
    until = tx.now + HOUR
    return tx.write_fact(FactKind.SESSION, "s", reason=EndReason.ADMIN, useful_until=until).position


def write_fact_and_fail(tx: Tx) -> int:
    write_fact(tx)
    raise ZeroDivisionError


async def test_failing_statement_leaves_nothing(world: World, path: Path) -> None:
    """A login whose last insert fails leaves no user behind, says nothing of itself, and the next one works."""
    fault = trigger(path, on="INSERT ON sessions", does="RAISE(ABORT, 'secret openid-1')")
    with fault, pytest.raises(StoreUnavailable) as caught:
        await world.login("openid-1")
    assert "openid" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert "SQLITE_CONSTRAINT" in str(caught.value)
    assert [row[0] for row in world.backend.look(select(func.count()).select_from(users))] == [0]
    await world.login("openid-1")


async def test_neighbours_in_a_batch_are_not_harmed(world: World, store: SqliteStore, path: Path) -> None:
    """Units of a batch fail; those before and after them are stored, and positions have no hole."""
    write = runner_of(store).write
    with trigger(path, on="INSERT ON sessions", when="NEW.openid = 'bad'", does="RAISE(ABORT, 'no')"):
        async with held(store):
            tasks: list[asyncio.Task[object]] = [
                asyncio.create_task(work)
                for work in (
                    world.login("a"),
                    world.login("bad"),
                    world.login("b"),
                    write(write_fact),
                    write(write_fact_and_fail),
                    write(write_fact),
                )
            ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [Login, StoreUnavailable, Login, Written, ZeroDivisionError, Written]
    assert [fact.position for fact in await world.log()] == [1, 2]
    assert len(await world.store.list_sessions(SessionQuery())) == 2


async def test_what_waits_is_one_batch(world: World, store: SqliteStore) -> None:
    """Writes that queue up share a transaction, up to the limit, in the order in which they came."""
    async with held(store):
        count = writer.BATCH_LIMIT + 10
        tasks = [asyncio.create_task(runner_of(store).write(lambda tx: tx.ledger)) for _ in range(count)]
    ledgers = [written.value for written in await asyncio.gather(*tasks)]
    assert len({id(ledger) for ledger in ledgers}) == 2
    assert ledgers[0] is ledgers[writer.BATCH_LIMIT - 1] is not ledgers[writer.BATCH_LIMIT]


async def test_failing_commit_fails_everybody_in_the_batch(world: World, store: SqliteStore) -> None:
    """Where COMMIT is refused nobody was served and nothing is visible; a new connection goes on."""
    before = await store.read_head()
    write = runner_of(store).write
    async with held(store):
        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(work)
            for work in (world.login("a"), write(refuse_commit), write(write_fact), world.login("b"))
        ]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 4
    assert await store.list_sessions(SessionQuery(include_ended=True)) == []
    assert await store.read_head() == before
    await world.login("later")
    assert (await write(write_fact)).value == before.position + 1


async def test_bug_in_a_unit_is_not_dressed_up(store: SqliteStore) -> None:
    """What is no driver error comes out as it is, with everything taken back."""
    before = await store.read_head()
    with pytest.raises(ZeroDivisionError):
        await runner_of(store).write(write_fact_and_fail)
    assert await store.read_head() == before
    assert (await runner_of(store).write(write_fact)).value == before.position + 1


async def test_full_disk(world: World, store: SqliteStore) -> None:
    """When the file may not grow, writes are refused and reads go on; a new connection has room again."""
    login = await world.login("first")
    connection = writing_connection(store)
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        for number in range(500):
            await world.login(f"{number}", sealed=bytes(2000))
    assert await world.session(login) == login.session
    await world.login("later")


async def test_lock_held_elsewhere(world: World, path: Path) -> None:
    """A writer that waits for another process gives up in time; when the lock is free it goes on."""
    login = await world.login()
    with locked(path):
        with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
            await world.logout(login)
        assert await world.reason(login) is None
    await world.logout(login)
    assert await world.reason(login) is EndReason.LOGOUT


async def test_cancelled_caller_does_not_cut_the_work(world: World, store: SqliteStore) -> None:
    """A caller that stops waiting finds its login stored, and later callers get their own answers."""
    opening, _ = world.opening()
    async with held(store):
        task = asyncio.create_task(store.open_session(opening))
        await asyncio.sleep(0)  # noqa: TID251 - lets the task reach the queue; waits for nothing
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    other = await world.login("other")
    assert other.session.openid == "other"
    assert await store.get_session(opening.session_id) is not None


async def test_many_cancellations_never_mix_up_answers(world: World, store: SqliteStore) -> None:
    """Of three hundred logins two thirds stop waiting at different moments; each answer is the asker's own."""
    openings = [world.opening(f"{number}")[0] for number in range(300)]
    tasks = [asyncio.create_task(store.open_session(opening)) for opening in openings]
    for number, task in enumerate(tasks):
        if number % 3:
            await asyncio.sleep(0)  # noqa: TID251 - lets answers arrive in between; waits for nothing
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for opening, result in zip(openings, results, strict=True):
        if isinstance(result, BaseException):
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert isinstance(result.value, Opened)
            assert result.value.session.session_id == opening.session_id


async def test_closed_store_answers_nothing(world: World, store: SqliteStore) -> None:
    """After close every call is StoreUnavailable, and closing again is nothing."""
    login = await world.login()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await world.logout(login)
    await store.close()


async def test_close_finishes_what_is_queued(world: World, store: SqliteStore) -> None:
    """Everything handed over before close is answered and stored."""
    async with held(store):
        tasks = [asyncio.create_task(world.login(f"{number}")) for number in range(150)]
    await store.close()
    logins = await asyncio.gather(*tasks)
    replica = await world.replica()
    stored = await replica.list_sessions(SessionQuery(limit=1000))
    assert {session.session_id for session in stored} == {login.id for login in logins}


async def test_overload_is_refused(world: World, monkeypatch: pytest.MonkeyPatch, store: SqliteStore) -> None:
    """Beyond the limit of waiting writes a caller is told at once; those that wait are served."""
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 3)
    async with held(store):
        tasks = [asyncio.create_task(world.login(f"{number}")) for number in range(5)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Login] * 3 + [StoreUnavailable] * 2
    assert len(await store.list_sessions(SessionQuery(limit=100))) == 3


async def test_row_that_keeps_changing_is_given_up(world: World, path: Path) -> None:
    """A rotation whose statement never matches what was judged ends as unavailable, not in a loop."""
    login = await world.login()
    with trigger(path, on="UPDATE ON sessions", does="RAISE(IGNORE)"):
        with pytest.raises(StoreUnavailable, match="kept changing"):
            await world.present(login.token)
        with pytest.raises(StoreUnavailable, match="kept changing"):
            await world.present(login.at(1))
    assert (await world.rotate(login.token)).session.counter == 1


async def test_reads_cannot_write(store: SqliteStore) -> None:
    """The reading connections refuse a write, whoever asks."""

    def write(view: View) -> None:
        view.connection.execute(insert(apps).values(app_id="a", position=1, position_reason=1))

    with pytest.raises(StoreUnavailable, match="SQLITE_READONLY"):
        await runner_of(store).read(write)


async def test_damaged_file(tmp_path: Path) -> None:
    """A file that is no database is StoreUnavailable at open, and is left as it is."""
    path = tmp_path / "damaged.db"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StoreUnavailable):
        await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy())
    assert path.read_bytes().startswith(b"not a database")


async def test_damaged_pages(world: World, path: Path, store: SqliteStore) -> None:
    """Pages that were overwritten are found out as StoreUnavailable, never as an empty answer."""
    await world.login()
    await store.close()
    overwrite(path)
    with pytest.raises(StoreUnavailable):
        await world.replica()
