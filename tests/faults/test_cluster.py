"""The harness's own parts: nothing it starts outlives it, the proxy cuts, the port it takes is free."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.running import wait_until
from tests.faults.cluster import free_port, left_behind
from tests.faults.guardian import Guardian, end
from tests.faults.history import Interval
from tests.faults.proxy import Proxy
from tests.faults.real import Stalls, now

ROOT = Path(__file__).parents[2]
SLEEPER = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin); input()"
)


@contextmanager
def sleeper(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process with a child, both of which mention *folder* and do nothing."""
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, env={"WHERE": str(folder)}
    ) as process:
        yield process
        process.kill()


def test_the_guardian_ends_a_process_and_its_children(tmp_path: Path) -> None:
    """
    When its input ends (as it does with whoever holds it), all that it was told of has been killed, and all below.
    """
    guardian = Guardian()
    with sleeper(tmp_path) as process:
        guardian.watch(process.pid)
        wait_until(lambda: len(left_behind(tmp_path)) == 2, what="the child")
        guardian.close()
        wait_until(lambda: left_behind(tmp_path) == [], what="their end")
        assert process.wait(10) == -9


def test_a_process_that_is_gone_is_nobody(tmp_path: Path) -> None:
    """
    Ending what has ended already is no error.
    """
    with sleeper(tmp_path) as process:
        handle = psutil.Process(process.pid)
        end([handle])
        process.wait(10)
        end([handle])
        wait_until(lambda: left_behind(tmp_path) == [], what="their end")


@pytest.mark.long
@pytest.mark.timeout(200)
def test_nothing_outlives_a_harness_that_is_killed(tmp_path: Path) -> None:
    """
    SIGKILL to the harness in the midst of it: supervisor, workers, sandbox and database end by themselves.
    """
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-m", "tests.faults.standing", str(tmp_path / "cluster")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as harness:
        assert harness.stdout is not None
        database = Path(harness.stdout.readline().strip())
        try:
            assert len(left_behind(tmp_path)) >= 4
            assert left_behind(database) != []
            harness.kill()
            wait_until(lambda: left_behind(tmp_path) == [], what="the end of the servers")
            wait_until(lambda: left_behind(database) == [], what="the end of the database")
        finally:
            harness.kill()
            shutil.rmtree(database, ignore_errors=True)


async def test_the_proxy_carries_cuts_and_mends() -> None:
    """
    Bytes pass both ways; while cut nothing does, for new connections either; after mending the cut ones are ended
    and new ones work.
    """

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"ONE\n"
        proxy.cut()
        writer.write(b"two\n")
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        late_writer.write(b"three\n")
        silent = [asyncio.ensure_future(one.readline()) for one in (reader, late_reader)]
        # A round trip beside them: whatever was going to pass would have passed.
        direct_reader, direct_writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        direct_writer.write(b"direct\n")
        assert await direct_reader.readline() == b"DIRECT\n"
        assert not any(one.done() for one in silent)
        await proxy.mend()
        ended = await asyncio.gather(*silent, return_exceptions=True)
        assert all(one == b"" or isinstance(one, ConnectionError) for one in ended)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"four\n")
        assert await reader.readline() == b"FOUR\n"
        for one in (writer, late_writer, direct_writer):
            one.close()


def test_free_ports_differ() -> None:
    """
    Two in a row are not the same, so that two replicas never want one.
    """
    assert len({free_port() for _ in range(20)}) > 15


def test_a_standstill_of_ours_is_noticed() -> None:
    """
    A process that does not let others run is a stall; its span covers what was lost.
    """
    intervals: list[Interval] = []
    interval = sys.getswitchinterval()
    with Stalls(intervals):
        wait_until(lambda: True, what="its start")
        sys.setswitchinterval(10)
        try:
            began = now()
            while now() - began < 0.3:
                pass
        finally:
            sys.setswitchinterval(interval)
    assert sum(one.end - one.start for one in intervals) > 0.1
