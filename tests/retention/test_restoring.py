"""`authsvc restore` and `authsvc db`: what is put back, what is kept, who notices."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result

from authsvc.cli import main
from authsvc.cli.restore import LONGEST_ACCESS_LIFETIME
from authsvc.config import ConfiguredApp
from authsvc.domain.cursors import INCARNATION_STEP
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.ports import SessionQuery
from authsvc.storage import SchemaNotCurrent, SqliteStore
from authsvc.storage.backup import BackupProblem, back_up, restore
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import APP, SIBLING, World

T = TypeVar("T")
DAY = timedelta(days=1)


class Site:
    """A database and the words to do things to it, each as one process's visit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.entropy = SeededEntropy()

    def visit(self, act: "Callable[[World], object]") -> None:
        async def main() -> None:
            store = await SqliteStore.open(self.path, clock=self.clock, entropy=self.entropy)
            try:
                await act(World(None, store, self.clock, self.entropy))  # type: ignore[arg-type, misc]
            finally:
                await store.close()

        asyncio.run(main())

    def back_up(self, name: str = "backup.db") -> Path:
        target = self.path.with_name(name)
        back_up(self.path, target, entropy=self.entropy)
        return target

    def authsvc(self, *words: str) -> Result:
        env = {"AUTHSVC_ENV": "test", "AUTHSVC_DATABASE_URL": f"sqlite:///{self.path}"}
        return CliRunner().invoke(main, words, env=env, prog_name="authsvc")

    def files(self) -> set[str]:
        return {path.name for path in self.path.parent.iterdir()}


@pytest.fixture
def site(database: Path) -> Site:
    return Site(database)


@contextmanager
def opened_elsewhere(path: Path) -> Iterator[None]:
    """Another process has the database open, and does nothing with it now, as an idle server."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=WAL');"
        "c.execute('SELECT count(*) FROM users').fetchall(); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


def test_a_restore_is_a_new_incarnation_above_both_histories(site: Site) -> None:
    """Positions of the replaced database are below the new log, and its cursors are of another incarnation."""

    async def before(world: World) -> None:
        await world.logout(await world.login("a"))

    async def after(world: World) -> None:
        for number in range(3):
            await world.logout(await world.login(f"lost-{number}"))

    site.visit(before)
    backup = site.back_up()
    site.visit(after)
    result = site.authsvc("restore", str(backup))
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["position"] == 4 + INCARNATION_STEP
    assert said["revoked_apps"] == []

    async def look(world: World) -> None:
        assert [fact.position for fact in await world.log()] == [1]
        later = await world.logout(await world.login("later"))
        assert later.facts[0].position == 5 + INCARNATION_STEP

    site.visit(look)
    assert _incarnation(site.path) != _incarnation(backup) == _incarnation(Path(said["replaced"]))


def test_what_is_replaced_is_kept_and_the_backup_is_not_touched(site: Site) -> None:
    """The old database is whole under its new name, and one backup can be restored many times."""
    backup = site.back_up()
    original = backup.read_bytes()

    async def lost(world: World) -> None:
        await world.login("lost")

    site.visit(lost)
    for _ in range(2):
        assert site.authsvc("restore", str(backup)).exit_code == 0
        assert backup.read_bytes() == original
    kept = sorted(
        name for name in site.files() if ".replaced-" in name and not name.endswith(("-wal", "-shm"))
    )
    assert sorted(_count(site.path.with_name(name), "sessions") for name in kept) == [0, 1]
    assert _count(site.path, "sessions") == 0
    assert site.path.stat().st_mode & 0o777 == 0o600
    assert not any("partial" in name for name in site.files())


def test_refused_while_anybody_has_it_open(site: Site) -> None:
    """Also by an idle process: nothing is changed, and afterwards it works."""
    backup = site.back_up()
    with opened_elsewhere(site.path):
        before = site.files()
        result = site.authsvc("restore", str(backup))
        assert result.exit_code == 1
        assert "stop every server" in result.stderr
        assert site.files() == before
        assert _count(site.path, "users") == 0
    assert site.authsvc("restore", str(backup)).exit_code == 0


def test_a_database_that_is_gone_or_ruined_is_replaced_all_the_same(site: Site) -> None:
    """Damage is what backups are for: the ruin is kept, with its log file, which the new one never sees."""
    backup = site.back_up()
    for ruin in (b"", b"not a database" * 1000, None):
        for path in (site.path, Path(f"{site.path}-wal")):
            if ruin is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(ruin)
        result = site.authsvc("restore", str(backup))
        assert result.exit_code == 0, result.output
        replaced = json.loads(result.stdout)["replaced"]
        if ruin is None:
            assert replaced is None
        else:
            assert Path(replaced).read_bytes() == ruin
        assert not Path(f"{site.path}-wal").exists()
        assert site.authsvc("db", "status").exit_code == 0


@pytest.mark.parametrize("spoil", ["missing", "empty", "text", "itself"])
def test_a_source_that_is_no_backup_is_refused(site: Site, spoil: str) -> None:
    """The database stays in its place, as it is."""
    source = site.path.with_name("source.db")
    if spoil == "empty":
        source.touch()
    elif spoil == "text":
        source.write_text("hello" * 1000)
    elif spoil == "itself":
        source = site.path
    before = site.path.read_bytes()
    assert site.authsvc("restore", str(source)).exit_code == 1
    assert site.path.read_bytes() == before
    assert not any("partial" in name or "replaced" in name for name in site.files())


def test_a_damaged_backup_is_refused(site: Site) -> None:
    """It is checked before anything is moved."""
    backup = site.back_up()
    with closing(sqlite3.connect(backup)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users'").fetchone()
    with backup.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(BackupProblem):
        restore(backup, site.path, clock=site.clock, entropy=site.entropy)
    assert not any("partial" in name or "replaced" in name for name in site.files())


def test_a_newer_schema_is_refused(site: Site) -> None:
    """A backup of a later release needs that release."""
    backup = site.back_up()
    with closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaNotCurrent):
        restore(backup, site.path, clock=site.clock, entropy=site.entropy)
    assert "newer" in site.authsvc("restore", str(backup)).stderr


def test_a_failed_exchange_is_undone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the draft cannot take the place, what was there is there again, companions and all."""
    backup = site.back_up()
    Path(f"{site.path}-shm").write_bytes(b"companion")
    before = site.files()
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(28, "no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BackupProblem, match="No space left"):
        restore(backup, site.path, clock=site.clock, entropy=site.entropy)
    assert site.files() | {"authsvc.db-shm"} == before
    assert _count(site.path, "users") == 0


def test_revoke_all_reaches_every_app_of_both_histories(site: Site) -> None:
    """Sessions in the backup are over, silently, and the log has a fact for each app, useful for the longest life."""

    async def before(world: World) -> None:
        await world.login("a", app=APP)

    async def after(world: World) -> None:
        await world.login("b", app=SIBLING)

    site.visit(before)
    backup = site.back_up()
    site.visit(after)
    head = _head(site.path)
    done = restore(backup, site.path, clock=site.clock, entropy=site.entropy, revoke_for=DAY)
    assert done.revoked_apps == (APP.app_id, SIBLING.app_id)

    async def look(world: World) -> None:
        facts = [fact for fact in await world.log() if fact.kind is FactKind.APP]
        assert {fact.target for fact in facts} == {APP.app_id, SIBLING.app_id}
        assert all(fact.position > head for fact in facts)
        assert all(fact.useful_until and fact.useful_until > world.now + DAY for fact in facts)
        (session,) = await world.store.list_sessions(SessionQuery(include_ended=True))
        assert session.ended is not None
        assert (session.ended.reason, session.ended.by) == (EndReason.STORE_RESTORED, "restore")

    site.visit(look)


def test_the_longest_life_is_the_one_that_apps_may_have() -> None:
    """Else a token could outlive the revocation of everything."""
    (bound,) = [
        item.le for item in ConfiguredApp.model_fields["access_lifetime"].metadata if hasattr(item, "le")
    ]
    assert timedelta(seconds=bound) == LONGEST_ACCESS_LIFETIME


def test_status_tells_where_the_database_stands(site: Site) -> None:
    """Schema, place, rows; of the incarnation only a digest's beginning."""

    async def act(world: World) -> None:
        await world.logout(await world.login("a"))

    site.visit(act)
    result = site.authsvc("db", "status")
    said = json.loads(result.stdout)
    assert (said["schema"], said["position"], said["compacted_through"]) == ("current", 1, 0)
    assert (said["rows"]["users"], said["rows"]["revocations"]) == (1, 1)
    assert len(said["incarnation"]) == 8
    assert _incarnation(site.path).hex()[:8] != said["incarnation"]
    site.path.unlink()
    missing = site.authsvc("db", "status")
    assert (missing.exit_code, json.loads(missing.stdout)) == (1, {"schema": "empty"})


def test_mark_restored_begins_an_incarnation_by_hand(site: Site) -> None:
    """Above what the log holds, and above what the operator knows of the lost one."""
    first = json.loads(site.authsvc("db", "status").stdout)
    marked = json.loads(site.authsvc("db", "mark-restored").stdout)
    assert marked["incarnation"] != first["incarnation"]
    assert marked["position"] == INCARNATION_STEP
    again = json.loads(site.authsvc("db", "mark-restored", "--above", str(10 * INCARNATION_STEP)).stdout)
    assert again["position"] == 11 * INCARNATION_STEP
    site.path.unlink()
    assert site.authsvc("db", "mark-restored").exit_code == 1


@pytest.mark.parametrize("how", ["moved over it", "copied into it", "removed"])
async def test_a_file_exchanged_under_a_store_is_noticed(database: Path, how: str) -> None:
    """Nothing is answered from it and no write is acknowledged any more; only a new start helps."""
    backup = database.with_name("backup.db")
    back_up(database, backup, entropy=SeededEntropy())
    clock = FakeClock()
    store = await SqliteStore.open(database, clock=clock, entropy=SeededEntropy())
    world = World(None, store, clock, SeededEntropy(2))  # type: ignore[arg-type]
    await world.login("before")
    aside = database.with_name("aside.db")
    if how == "moved over it":
        shutil.copyfile(database, aside)
        shutil.move(backup, database)
    elif how == "copied into it":
        shutil.copyfile(database, aside)
        shutil.copyfile(backup, database)
    else:
        shutil.move(database, aside)
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.ping()
    with pytest.raises(StoreUnavailable, match="replaced"):
        await world.login("after")
    shutil.copyfile(aside, database)
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.ping()
    await store.close()


async def test_a_write_into_a_file_exchanged_meanwhile_is_not_acknowledged(database: Path) -> None:
    """The commit succeeds in a file that nobody will read again: its caller must not hear that it did."""
    store = await SqliteStore.open(database, clock=FakeClock(), entropy=SeededEntropy())
    backup = database.with_name("backup.db")
    shutil.copyfile(database, backup)
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store._runner.write(lambda _: shutil.move(backup, database))
    await store.close()


async def test_stores_of_one_process_share_the_file(database: Path) -> None:
    """One that closes takes nothing from the others: the database still counts as open, for everybody."""
    clock = FakeClock()
    one = await SqliteStore.open(database, clock=clock, entropy=SeededEntropy(1))
    two = await SqliteStore.open(database, clock=clock, entropy=SeededEntropy(2))
    await one.close()
    assert not _can_be_had_alone(database)
    await two.ping()
    await two.close()
    assert _can_be_had_alone(database)


def _can_be_had_alone(path: Path) -> bool:
    """As another process sees it."""
    code = (
        "import sys; from pathlib import Path; from authsvc.storage.database_file import InUse, held_alone\n"
        "try:\n  with held_alone(Path(sys.argv[1])): print('alone')\nexcept InUse: print('in use')"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "alone"


def _count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names


def _head(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT position FROM log_head").fetchone()[0])


def _incarnation(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        return bytes(connection.execute("SELECT incarnation FROM log_head").fetchone()[0])
