"""Taking the record away from a running service, from outside, and giving it back unharmed."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# sqlite3 file format, section "WAL-Index File Locking": the eight lock bytes of the -shm file.
_SHM_LOCKS_AT = 120
_SHM_LOCKS = 8


@contextmanager
def write_locked(database: Path) -> Iterator[None]:
    """Hold SQLite's write lock, as a backup tool that hangs would: reads go on, nothing can be written."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def unreadable(database: Path) -> Iterator[None]:
    """Hold every lock of the database's WAL index: nobody else can begin a read or a write."""
    with Path(f"{database}-shm").open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, _SHM_LOCKS, _SHM_LOCKS_AT)
        yield
