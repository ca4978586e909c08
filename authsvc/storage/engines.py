"""
How a SQLite file is opened: private, in WAL mode, durable, by connections that leave transactions to us.

Python's driver would open and close transactions by its own rules, so all connections are in autocommit mode and
every BEGIN, COMMIT and ROLLBACK is written out by whoever uses them.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from authsvc.storage.faults import DRIVER_ERRORS, is_busy, unavailable

READERS = 4
# Readers wait in SQLite only while another process recovers or closes the log file.
_READ_TIMEOUT_S = 0.8
_SCHEME = "sqlite:///"
# How often a switch to WAL knocks while another process does the same: about 0.9 s in all.
_WAL_TRIES = 450
_WAL_PAUSE_S = 0.002


def is_postgres(url_or_path: str | Path) -> bool:
    """Tell whether a database URL names PostgreSQL."""
    scheme, separator, _ = str(url_or_path).partition("://")
    return bool(separator) and scheme.partition("+")[0] in {"postgresql", "postgres"}


def database_path(url_or_path: str | Path) -> Path:
    """
    Return the file behind `sqlite:///relative`, `sqlite:////absolute` or a plain path.

    Raises:
        ValueError: another kind of URL, or no file (an in-memory database cannot be shared by two engines).

    """
    text = str(url_or_path)
    if text.startswith(_SCHEME):
        text = text.removeprefix(_SCHEME)
    elif "://" in text:
        raise ValueError("the database URL begins with neither sqlite:/// nor postgresql://")
    if not text or text == ":memory:":
        raise ValueError("the database needs a file")
    return Path(text)


def create_private(path: Path) -> None:
    """Create the file readable by its owner only, unless it exists; SQLite gives its companions the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def writing_engine(path: Path, *, timeout_s: float = 0.0) -> Engine:
    """Return an engine whose connections write durably: WAL, an fsync per commit; a lock is waited for *timeout_s*."""
    engine = _engine(path, poolclass=NullPool, timeout=timeout_s)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        _use_wal(connection)
        # Per connection, not per file; NORMAL loses acknowledged commits at a power cut (pitfalls page, SQL).
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def reading_engine(path: Path) -> Engine:
    """Return an engine whose connections cannot write."""
    engine = _engine(path, poolclass=QueuePool, pool_size=READERS, max_overflow=0, timeout=_READ_TIMEOUT_S)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """
    Give a connection for a single look at the file, which must exist.

    Raises:
        StoreUnavailable: the file cannot be read as a database.

    """
    engine = reading_engine(path)
    try:
        with engine.connect() as connection:
            yield connection
    except DRIVER_ERRORS as error:
        raise unavailable(error) from None
    finally:
        engine.dispose()


def _engine(path: Path, *, timeout: float, **options: Any) -> Engine:
    return create_engine(
        f"{_SCHEME}{path}",
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={"timeout": timeout, "check_same_thread": False},
        **options,
    )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, which lasts; two processes doing so at once are refused without any waiting."""
    pause = threading.Event()
    for _ in range(_WAL_TRIES):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            pause.wait(_WAL_PAUSE_S)
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")
