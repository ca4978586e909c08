"""A unit of work that writes is alone on the file from its first look on, over all processes."""

import asyncio
import contextlib
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import SqliteStore
from authsvc.storage.tx import Tx, read_head
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import World
from tests.storage.faults import runner_of
from tests.storage.sqlite_backend import SqliteBackend


@pytest.fixture
def backend(tmp_path: Path, migrated_file: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path, template=migrated_file)


async def test_nobody_else_writes_between_a_units_looks(world: World, backend: SqliteBackend) -> None:
    """
    While a unit has only read so far, another process cannot begin to write: so what it read still holds when it
    writes, and it is never refused for having read too early (pitfalls page, SQL: BEGIN IMMEDIATE).
    """
    assert isinstance(world.store, SqliteStore)

    def look(tx: Tx) -> str:
        read_head(tx.connection)
        with contextlib.closing(sqlite3.connect(backend.path, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return error.sqlite_errorname
        return "wrote beside us"

    assert (await runner_of(world.store).write(look)).value == "SQLITE_BUSY"


async def test_what_was_refused_for_lateness_never_happens(tmp_path: Path, migrated_file: Path) -> None:
    """
    A claim whose caller was told "not sent, try again" is not made afterwards: the code must still be good.
    """
    path = SqliteBackend(tmp_path, template=migrated_file).path
    store = await SqliteStore.open(
        path, clock=FakeClock(), entropy=SeededEntropy(), answer_within=timedelta(milliseconds=50)
    )
    claim = {"app_id": "app", "code_hash": b"h" * 32, "ttl": timedelta(minutes=10)}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await store.claim_code(**claim)  # type: ignore[arg-type]
        other.execute("ROLLBACK")
    await store.close()  # whatever was queued has been done, or never will be
    again = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy())
    assert await again.claim_code(**claim)  # type: ignore[arg-type]
    await again.close()


async def test_another_process_commit_is_heard_of(tmp_path: Path, migrated_file: Path) -> None:
    """
    Who listens is woken soon after another handle on the file committed; not for nothing, and not after closing.
    """
    path = SqliteBackend(tmp_path, template=migrated_file).path
    store = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy(), listen=True)
    other = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy(2))
    woken = asyncio.Event()
    await store.on_change(woken.set)
    with pytest.raises(TimeoutError):  # nothing happened yet: a real wait, since silence has no event
        await asyncio.wait_for(woken.wait(), 0.2)
    await other.claim_code(app_id="app", code_hash=b"h" * 32, ttl=timedelta(minutes=10))
    await asyncio.wait_for(woken.wait(), 30)
    await store.close()
    woken.clear()
    await other.claim_code(app_id="app", code_hash=b"i" * 32, ttl=timedelta(minutes=10))
    await other.close()
    assert not woken.is_set()
