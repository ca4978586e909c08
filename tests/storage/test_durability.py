"""Acknowledged means on the disk: settings, fsyncs, kills; and several processes on one file."""

import multiprocessing
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.storage import SqliteStore
from authsvc.storage.tx import View
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import World
from tests.storage.faults import runner_of, writing_connection
from tests.storage.processes import burst, log_in_and_out
from tests.storage.sqlite_backend import SqliteBackend

SPAWN = multiprocessing.get_context("spawn")
FULL = 2
STRACE = shutil.which("strace") or ""


@pytest.fixture
def backend(tmp_path: Path, migrated_file: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path, template=migrated_file)


async def test_settings_of_the_connections(world: World) -> None:
    """The writer uses WAL and syncs every commit; the readers cannot write."""
    store = world.store
    assert isinstance(store, SqliteStore)
    await world.login()
    writing = writing_connection(store)
    assert writing.isolation_level is None
    assert writing.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writing.execute("PRAGMA synchronous").fetchone() == (FULL,)

    def settings(view: View) -> tuple[object, object]:
        connection = view.connection
        return (
            connection.exec_driver_sql("PRAGMA query_only").scalar(),
            connection.exec_driver_sql("PRAGMA journal_mode").scalar(),
        )

    assert await runner_of(store).read(settings) == (1, "wal")


async def test_two_processes_write_at_once(world: World, backend: SqliteBackend) -> None:
    """Nobody is refused, and the log has every position that either process was given, once."""
    ends = [SPAWN.Pipe(duplex=False) for _ in range(2)]
    processes = [
        SPAWN.Process(target=log_in_and_out, args=(backend, seed, 100, ends[seed][1])) for seed in range(2)
    ]
    for process in processes:
        process.start()
    answered = [receive.recv() for receive, _ in ends]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    positions = sorted(position for positions in answered for position in positions)
    assert positions == list(range(1, 201))
    assert [fact.position for fact in await world.log()] == positions


async def test_killed_writer_loses_nothing_it_acknowledged(backend: SqliteBackend) -> None:
    """After SIGKILL in mid-burst every acknowledged login and logout is there, and the file is sound."""
    receive, send = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=burst, args=(backend, send))
    process.start()
    send.close()
    acknowledged = [receive.recv() for _ in range(200)]
    process.kill()
    try:
        while True:
            acknowledged.append(receive.recv())
    except (EOFError, OSError):  # the pipe ends where the process did, maybe in the middle of a message
        process.join(30)
    store = await SqliteStore.open(backend.path, clock=FakeClock(), entropy=SeededEntropy(2))
    _, facts = await store.read_from(0, limit=100_000)
    known = {fact.target: fact.position for fact in facts}
    for session_id, position in acknowledged:
        assert known[session_id] == position
        session = await store.get_session(session_id)
        assert session is not None
        assert session.ended is not None
    await store.close()
    connection = sqlite3.connect(backend.path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.long
@pytest.mark.skipif(not STRACE, reason="counts system calls with strace")
def test_every_acknowledged_write_was_synced(backend: SqliteBackend, tmp_path: Path) -> None:
    """Fifty logins one after the other are at least fifty fdatasyncs: SIGKILL tests cannot show this."""
    trace = tmp_path / "trace"
    code = "import sys; from tests.storage.processes import write_one_by_one as w; w(sys.argv[1], 50)"
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [
            STRACE,
            "-f",
            "-e",
            "trace=fdatasync,fsync",
            "-o",
            str(trace),
            sys.executable,
            "-c",
            code,
            str(backend.path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("this sandbox allows no ptrace")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"f(?:data)?sync\(\d+\)\s+= 0", trace.read_text())) >= 50
