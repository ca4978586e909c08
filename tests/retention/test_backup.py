"""`authsvc backup`: consistent, private, complete in one file, and never over anything."""

import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authsvc.cli import main
from authsvc.storage import SchemaState
from authsvc.storage.backup import BackupProblem, back_up
from tests.fakes import SeededEntropy
from tests.support.database import fresh_database


def authsvc(*words: str, url: str) -> Result:
    env = {"AUTHSVC_ENV": "test", "AUTHSVC_DATABASE_URL": url}
    return CliRunner().invoke(main, words, env=env, prog_name="authsvc")


def leftovers(directory: Path, *known: str) -> set[str]:
    return {path.name for path in directory.iterdir()} - set(known)


def test_the_copy_is_one_sound_private_file(database: Path, tmp_path: Path) -> None:
    """0600 whatever the umask, readable without anything beside it, and nothing else is left lying about."""
    (tmp_path / "b").mkdir()
    umask = os.umask(0)
    try:
        result = authsvc("backup", str(tmp_path / "b/copy.db"), url=f"sqlite:///{database}")
    finally:
        os.umask(umask)
    copy = tmp_path / "b/copy.db"
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"bytes": copy.stat().st_size, "schema": "current", "position": None}
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert leftovers(tmp_path / "b", "copy.db") == set()


def test_the_copy_is_of_one_moment_while_others_write(database: Path, tmp_path: Path) -> None:
    """Two tables that are always changed together agree in every copy, and the copy holds all that came before."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE left (n INTEGER)")
        connection.execute("CREATE TABLE right (n INTEGER, pad TEXT)")
        connection.commit()
    stop, written = threading.Event(), [0]

    def write() -> None:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            while not stop.is_set():
                with connection:
                    connection.execute("INSERT INTO left VALUES (?)", (written[0],))
                    connection.execute("INSERT INTO right VALUES (?, ?)", (written[0], "x" * 3000))
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        for number in range(5):
            while written[0] < 50 * (number + 1):
                pass
            before = written[0]
            copy = tmp_path / f"copy-{number}.db"
            back_up(database, copy, entropy=SeededEntropy())
            with closing(sqlite3.connect(copy)) as connection:
                left = [n for (n,) in connection.execute("SELECT n FROM left ORDER BY n")]
                right = [n for (n,) in connection.execute("SELECT n FROM right ORDER BY n")]
            assert left == right == list(range(len(left)))
            assert len(left) >= before
            counts.append(len(left))
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(set(counts))


def test_nothing_is_ever_overwritten(database: Path, tmp_path: Path) -> None:
    """What is there stays as it is, byte for byte."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    result = authsvc("backup", str(target), url=f"sqlite:///{database}")
    assert (result.exit_code, target.read_bytes()) == (1, b"precious")
    assert "never overwrites" in result.stderr


@pytest.mark.parametrize("spoil", ["missing", "empty", "foreign"])
def test_what_is_no_database_of_ours_is_refused(tmp_path: Path, spoil: str) -> None:
    """And no file is made, neither the backup nor the database."""
    database = tmp_path / "authsvc.db"
    if spoil == "empty":
        database.touch()
    elif spoil == "foreign":
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE other (n)")
    before = leftovers(tmp_path)
    with pytest.raises(BackupProblem, match="no database of authsvc"):
        back_up(database, tmp_path / "copy.db", entropy=SeededEntropy())
    assert leftovers(tmp_path) == before


def test_a_damaged_database_gives_no_backup(database: Path, tmp_path: Path) -> None:
    """The copy is checked; where it is not sound nothing is kept, and the operator is told."""
    _damage(database)
    with pytest.raises(BackupProblem):
        back_up(database, tmp_path / "copy.db", entropy=SeededEntropy())
    assert leftovers(tmp_path, "authsvc.db", "authsvc.db-wal", "authsvc.db-shm") == set()


def test_an_older_schema_is_backed_up_as_it_is(database: Path, tmp_path: Path) -> None:
    """An upgrade begins with a backup, made by whichever release is installed."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    made = back_up(database, tmp_path / "copy.db", entropy=SeededEntropy())
    assert (made.schema, made.head) == (SchemaState.NEWER, None)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [(("backup", "x.db"), "pg_basebackup"), (("restore", "x.db"), "db mark-restored")],
)
def test_for_postgresql_the_commands_name_the_procedure(words: tuple[str, ...], remedy: str) -> None:
    """Nothing is attempted, and the URL with its password is not repeated."""
    result = authsvc(*words, url="postgresql://user:hunter2@127.0.0.1:1/x")
    assert result.exit_code == 1
    assert remedy in result.stderr
    assert "hunter2" not in result.output


def test_a_plain_copy_would_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server has committed and not yet moved into the file is in the backup."""
    database = fresh_database(tmp_path)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        with connection:
            connection.execute("CREATE TABLE committed (n)")
        assert b"committed" not in database.read_bytes()
        back_up(database, tmp_path / "copy.db", entropy=SeededEntropy())
    assert b"committed" in (tmp_path / "copy.db").read_bytes()


def _damage(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sessions_by_user'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
