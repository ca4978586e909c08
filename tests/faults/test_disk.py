"""A disk that fails under SQLite, by injected errors of system calls: what was acknowledged is there all the same."""

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from authsvc.domain.sessions import EndReason
from authsvc.storage import SqliteStore, migrate
from tests.fakes import FakeClock, SeededEntropy
from tests.faults import real
from tests.faults.cluster import Plan, cluster
from tests.faults.history import History
from tests.faults.scene import assert_kept, under_load

STRACE = shutil.which("strace") or ""
COUNT = 120
FAULTS = {
    # The so-many-th of these calls, and every few after it, for a while; then the disk is well again.
    "a commit that cannot be synced": "fdatasync:error=EIO:when=8..53+5",
    "a full disk": "pwrite64:error=ENOSPC:when=60..130+7",
    "a write that fails": "pwrite64:error=EIO:when=60..200+17",
}

needs_strace = pytest.mark.skipif(not STRACE, reason="injects errors with strace")


def _skip_where_forbidden(said: str) -> None:
    if "not permitted" in said or "ptrace" in said:
        pytest.skip("this sandbox allows no ptrace")


@needs_strace
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_sick_disk_loses_nothing_acknowledged(tmp_path: Path, fault: str) -> None:
    """
    Writes that meet the error are refused, later ones go on, and every acknowledged one is in the file after a crash.
    """
    path = tmp_path / "record.db"
    migrate(path)
    call = FAULTS[fault].partition(":")[0]
    words = [STRACE, "-f", "-q", "-e", f"trace={call}", "-e", f"inject={FAULTS[fault]}", "-o", "/dev/null"]
    words += [sys.executable, "-m", "tests.faults.disk", str(path), str(COUNT)]
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    _skip_where_forbidden(done.stderr)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[-1] == ["end"]
    logins = {words[1] for words in lines if words[0] == "login"}
    logouts = {words[1]: int(words[2]) for words in lines if words[0] == "logout"}
    assert ["refused"] in lines, "the fault struck nobody"
    assert ["refused"] not in lines[-COUNT // 4 :], "it never recovered"

    store = await SqliteStore.open(path, clock=FakeClock(), entropy=SeededEntropy(2))
    _, facts = await store.read_from(0, limit=10_000)
    known = {fact.target: fact.position for fact in facts}
    for session_id in logins:
        session = await store.get_session(session_id)
        assert session is not None, "an acknowledged login is gone"
        if session_id in logouts:
            assert session.ended is not None
            assert session.ended.reason is EndReason.LOGOUT
            assert known[session_id] == logouts[session_id]
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextlib.contextmanager
def attached(pid: int, fault: str) -> Iterator[None]:
    """Inject the fault into a running process while the block runs."""
    call = fault.partition(":")[0]
    words = [STRACE, "-f", "-q", "-p", str(pid), "-e", f"trace={call}", "-e", f"inject={fault}"]
    strace = subprocess.Popen(  # noqa: S603 - our own words
        [*words, "-o", "/dev/null"], stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        early = strace.poll() is not None
        strace.send_signal(signal.SIGINT)
        _, said = strace.communicate(timeout=30)
        if early:
            _skip_where_forbidden(said)
            raise AssertionError(f"strace did not stay: {said}")


@needs_strace
@pytest.mark.long
@pytest.mark.timeout(200)
async def test_a_server_with_a_sick_disk_keeps_its_promises(tmp_path: Path) -> None:
    """
    Under load every seventh commit cannot be synced for a while, then the server is killed: no violation.
    """
    plan = Plan(replicas=1, workers=1)
    async with cluster(tmp_path, plan, history=History()) as whole:
        async with under_load(whole, seed=4, people=4):
            (replica,) = whole.replicas
            with attached(replica.running.process.pid, "fdatasync:error=EIO:when=3+7"):
                await real.pause(5)
            await asyncio.to_thread(replica.kill)
            replica.start_again()
            whole.kills += 1
        report = assert_kept(whole, least=5)
    refused = [
        call for call in whole.history.calls if call.reason in ("STORE_UNAVAILABLE", "LOGIN_CODE_SPENT")
    ]
    assert refused, f"the fault struck nobody: {report}"
