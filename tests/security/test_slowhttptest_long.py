"""slowhttptest (Debian) against a spawned edge: a thousand slow connections, and everybody else is served."""

import http.client
import re
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.running import dev, wait_until

PROGRAM = shutil.which("slowhttptest")
CONNECTIONS = 1000
DURATION_S = 40
# Three modes: headers that never end, bodies that never come, answers that are not taken.
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
MODES = {
    "slow headers": ["-H", "-i", "2"],
    "slow body": ["-B", "-i", "2", "-s", "8192"],
    "slow read": ["-X", "-k", "5", "-w", "16", "-y", "32", "-n", "5", "-z", "1"],
}
TARGETS = {"slow headers": "/healthz", "slow body": "/api/v1/login", "slow read": "/openapi.json"}


class _Asking(threading.Thread):
    """Asks for `/healthz` and a refusal of `/api/v1/verify` on new connections, until told to stop."""

    def __init__(self, netloc: str) -> None:
        super().__init__()
        self._netloc = netloc
        self._ended = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._ended.is_set():
            for path, expected in (("/healthz", 200), ("/api/v1/verify", 401)):
                connection = http.client.HTTPConnection(self._netloc, timeout=10)
                try:
                    connection.request("GET", path)
                    status = connection.getresponse().status
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                else:
                    self.answered += status == expected
                    if status != expected:
                        self.failures.append(f"{path}: {status}")
                finally:
                    connection.close()
            self._ended.wait(0.1)

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def _asking(netloc: str) -> Iterator[_Asking]:
    asking = _Asking(netloc)
    asking.start()
    try:
        yield asking
    finally:
        asking.end()


def _open_sockets(pid: int) -> int:
    """Count the sockets of a process."""
    links = (link for link in Path(f"/proc/{pid}/fd").iterdir())
    return sum(_is_socket(link) for link in links)


def _is_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_a_thousand_slow_connections_keep_nobody_waiting(mode: str, tmp_path: Path) -> None:
    """
    The program itself says that the service stayed available; requests beside it are all answered; when it is over the
    service holds no connection of it.
    """
    if PROGRAM is None:
        pytest.skip("NOT TESTED: slowhttptest is not installed (apt-get install slowhttptest)")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4 * CONNECTIONS:
        pytest.skip(f"NOT TESTED: needs {4 * CONNECTIONS} file descriptors (ulimit -n)")
    with dev(tmp_path) as (process, service):
        url = service.http
        before = _open_sockets(process.process.pid)
        with _asking(urlsplit(url).netloc) as asking:
            attack = subprocess.run(  # noqa: S603 - the arguments are our own
                [
                    PROGRAM, "-c", str(CONNECTIONS), *MODES[mode], "-r", "200", "-l", str(DURATION_S), "-p", "10",
                    "-t", "POST" if mode == "slow body" else "GET", "-u", url + TARGETS[mode],
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                timeout=DURATION_S * 4,
            )  # fmt: skip
        said = COLOUR.sub("", attack.stdout + attack.stderr)
        assert asking.failures == []
        assert attack.returncode == 0, said
        lines = [line for line in said.splitlines() if "service available" in line]
        assert lines, said
        assert all(line.rstrip().endswith("YES") for line in lines), said
        assert asking.answered > 0
        wait_until(
            lambda: _open_sockets(process.process.pid) <= before + 20, what="the slow connections are gone"
        )
        assert service.login()["access_token"]
