"""The schema: migrations and tables agree, states are told apart, and nobody migrates twice."""

import contextlib
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import (
    SchemaNotCurrent,
    SchemaState,
    SqliteStore,
    check_schema,
    database_path,
    migrate,
    schema_state,
    versions,
)
from authsvc.storage.engines import reading
from authsvc.storage.schema import metadata
from tests.fakes import FakeClock, SeededEntropy


def set_version(path: Path, version: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = ?", [version])
    connection.commit()
    connection.close()


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def test_migrations_make_the_tables_of_the_schema(migrated_file: Path) -> None:
    """Alembic finds no difference between a migrated database and schema.py."""
    with reading(migrated_file) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrated_tables_are_those_of_the_schema(tmp_path: Path, migrated_file: Path) -> None:
    """Types, nullability, defaults, keys and indexes are the same, by migration and by metadata."""
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path / 'metadata.db'}")
    metadata.create_all(engine)
    engine.dispose()

    def shape(path: Path) -> dict[str, tuple[set[object], set[object]]]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            names = {
                name
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                if name != "alembic_version"
            }
            return {
                name: (
                    # Without the column's number: one that was added later comes last.
                    {row[1:] for row in connection.execute(f"PRAGMA table_xinfo({name})")},
                    {
                        (
                            index if origin == "c" else "",
                            unique,
                            tuple(row[2] for row in connection.execute(f"PRAGMA index_info({index})")),
                        )
                        for _, index, unique, origin, _ in connection.execute(f"PRAGMA index_list({name})")
                    },
                )
                for name in names
            }

    found = shape(migrated_file)
    assert set(found) == set(metadata.tables)
    assert found == shape(tmp_path / "metadata.db")


def test_revisions_are_alembics() -> None:
    """The constant that saves importing Alembic lists its revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(versions._MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(newest_first)) == versions.REVISIONS
    assert scripts.get_current_head() == versions.REVISIONS[-1]


def test_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and an empty file are empty; then current; older and unknown revisions are told apart."""
    path = tmp_path / "a.db"
    assert schema_state(path) is SchemaState.EMPTY
    assert not path.exists()
    path.touch()
    assert schema_state(path) is SchemaState.EMPTY
    migrate(path)
    assert schema_state(f"sqlite:///{path}") is SchemaState.CURRENT
    check_schema(path)
    monkeypatch.setattr(versions, "REVISIONS", (*versions.REVISIONS, "9998"))
    assert schema_state(path) is SchemaState.OUTDATED
    monkeypatch.undo()
    set_version(path, "9999")
    assert schema_state(path) is SchemaState.NEWER
    with pytest.raises(SchemaNotCurrent, match="upgrade authsvc"):
        migrate(path)


async def test_store_refuses_another_schema(tmp_path: Path) -> None:
    """Opening tells what to do instead of failing somewhere later, and creates nothing."""
    path = tmp_path / "a.db"
    with pytest.raises(SchemaNotCurrent, match="run `authsvc migrate`") as caught:
        await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy())
    assert caught.value.state is SchemaState.EMPTY
    assert not path.exists()


def test_processes_migrating_at_once_are_safe(tmp_path: Path) -> None:
    """Four processes migrate one new file: all succeed, and the schema is there once."""
    path = tmp_path / "a.db"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=migrate, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    check_schema(path)


def test_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """All steps are one transaction: an existing table in the way, and not one of the others is made."""
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.commit()
    with pytest.raises(StoreUnavailable):
        migrate(path)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    assert tables == [("users",)]


def test_downgrade_and_upgrade_again(tmp_path: Path) -> None:
    """The first revision can be taken back, and applied again."""
    from alembic import command

    from authsvc.storage.engines import writing_engine

    path = tmp_path / "a.db"
    migrate(path)
    config = Config()
    config.set_main_option("script_location", str(versions._MIGRATIONS))
    engine = writing_engine(path)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    assert schema_state(path) is SchemaState.EMPTY
    migrate(path)
    check_schema(path)


async def test_files_are_the_owners_only(tmp_path: Path) -> None:
    """Database, log and shared memory are made 0600 whatever the umask."""
    path = tmp_path / "a.db"
    umask = os.umask(0)
    try:
        migrate(path)
        store = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy())
        found = modes(tmp_path)
        await store.close()
    finally:
        os.umask(umask)
    assert found == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_current_schema_costs_no_alembic(migrated_file: Path) -> None:
    """Migrating a current database imports nothing of Alembic: a start is quick."""
    code = "import sys; from authsvc.storage import migrate; migrate(sys.argv[1]); print('alembic' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code, str(migrated_file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////a/b.db", "/a/b.db"), ("/a/b.db", "/a/b.db")],
)
def test_database_urls(url: str, path: str) -> None:
    """Relative and absolute URLs and plain paths name files."""
    assert database_path(url) == Path(path)


@pytest.mark.parametrize(
    "url", ["postgresql://host/db", "sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:"]
)
def test_database_urls_that_name_no_file(url: str) -> None:
    """What is no file of SQLite is refused before anything is created."""
    with pytest.raises(ValueError, match="database"):
        database_path(url)
