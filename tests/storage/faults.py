"""Faults laid over a real SQLite store from outside: locks, triggers, refused statements."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from authsvc.storage import SqliteStore
from authsvc.storage.sqlite import SqliteRunner
from authsvc.storage.tx import Tx


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, as another process would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextlib.contextmanager
def trigger(path: Path, *, on: str, does: str, when: str = "1") -> Iterator[None]:
    """Have SQLite do something at every matching change while the block runs; *does* is a RAISE clause."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"CREATE TRIGGER fault BEFORE {on} WHEN {when} BEGIN SELECT {does}; END")
    try:
        yield
    finally:
        connection.execute("DROP TRIGGER fault")
        connection.close()


def runner_of(store: SqliteStore) -> SqliteRunner:
    """The store's backend, to run units of a test's own."""
    assert isinstance(store._runner, SqliteRunner)
    return store._runner


def writing_connection(store: SqliteStore) -> sqlite3.Connection:
    """The driver's connection of the writer, which must be idle."""
    connection = runner_of(store)._writer._connection
    assert connection is not None
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def refuse_commit(tx: Tx) -> None:
    """A unit of work after which SQLite refuses the COMMIT of its batch."""

    def authorize(action: int, argument: str | None, *_: object) -> int:
        denied = action == sqlite3.SQLITE_TRANSACTION and argument == "COMMIT"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    driver = tx.connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_authorizer(authorize)


@contextlib.asynccontextmanager
async def held(store: SqliteStore) -> AsyncIterator[None]:
    """Keep the writer busy, so that everything handed to it meanwhile is one batch (up to the limit)."""
    begun, go_on = threading.Event(), threading.Event()

    def occupy(_: Tx) -> None:
        begun.set()
        go_on.wait()

    occupied = asyncio.create_task(runner_of(store).write(occupy))
    await asyncio.to_thread(begun.wait)
    try:
        yield
        await asyncio.sleep(0)  # noqa: TID251 - lets new tasks reach the queue; waits for nothing
    finally:
        go_on.set()
    await occupied


def overwrite(path: Path) -> None:
    """Damage every page but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
