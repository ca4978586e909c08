"""Databases for tests: migrated once, copied per test, and operated on behind the store's back."""

import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from authsvc.domain.revocations import Fact
from authsvc.storage import migrate

_EPOCH_MICROS = 1_000_000


@functools.cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "template.db"
        migrate(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def fresh_database(directory: Path) -> Path:
    """A new migrated database in *directory*."""
    path = directory / "authsvc.db"
    path.touch(mode=0o600)
    path.write_bytes(_template())
    return path


def copy_database(path: Path, target: Path) -> Path:
    """A consistent copy of a database that may be in use, as a backup makes it."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def put_back(backup: Path, path: Path) -> None:
    """Replace a database that nobody has open by an older copy of itself."""
    for companion in (f"{path}-wal", f"{path}-shm"):
        Path(companion).unlink(missing_ok=True)
    shutil.copyfile(backup, path)


def overwrite(backup: Path, path: Path) -> None:
    """Set a database that is in use back to an older copy, for everybody who has it open."""
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


def add_fact(path: Path, fact: Fact, *, written_at: datetime) -> None:
    """Write a fact of any kind into the log and move its head there, as another release might."""
    add_facts(path, [fact], written_at=written_at)


def add_facts(path: Path, facts: Iterable[Fact], *, written_at: datetime) -> None:
    """Write many facts, ascending, in one transaction, as `add_fact` does."""

    def micros(instant: datetime | None) -> int | None:
        return None if instant is None else int(instant.timestamp() * _EPOCH_MICROS)

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO revocations (position, fact_id, kind, target, reason, useful_until, app_filter,"
            " written_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    fact.position,
                    fact.fact_id,
                    fact.kind.value,
                    fact.target,
                    int(fact.reason),
                    micros(fact.useful_until),
                    fact.app_filter,
                    micros(written_at),
                )
                for fact in facts
            ),
        )
        connection.execute(
            "UPDATE log_head SET position = max(position, (SELECT max(position) FROM revocations))"
        )


def compact(path: Path, through: int) -> None:
    """Forget the log through a position, as the compaction does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM revocations WHERE position <= ?", (through,))
        connection.execute("UPDATE log_head SET compacted_through = ?", (through,))
