"""Real processes of the service: started like an operator starts them, watched through files, ended for certain."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.wire import Service

PYTHON = sys.executable
FREE_PORTS = ("--grpc-port", "0", "--http-port", "0", "--sandbox-port", "0", "--ops-port", "0")
# How long something real may take before the test gives up; a passing test never uses this up.
PATIENCE_S = 30.0
# A busy machine's disk stalls now and then, which is no outage; tests of outages say otherwise.
# All of a test's users stand on one address, and some log in often.
PATIENT = {"AUTHSVC_DATABASE_ANSWER_WITHIN": "20", "AUTHSVC_LIMITS_WIDE": "true"}
IMPATIENT = {"AUTHSVC_DATABASE_ANSWER_WITHIN": "0.9"}


def bare_environment(**more: str) -> dict[str, str]:
    """Our environment without any setting of the service, and with *more*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    return {**kept, **more}


def wait_until(holds: Callable[[], bool], *, what: str, patience_s: float = PATIENCE_S) -> None:
    """
    Return as soon as *holds*, looked at often: for what only another process can bring about.

    Raises:
        AssertionError: it did not come about in time.

    """
    deadline = time.monotonic() + patience_s  # noqa: TID251 - bounds a wait for a real process
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"  # noqa: TID251 - as above
        time.sleep(0.01)  # noqa: TID251 - as above


def command(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Return `authsvc *words*`, finished."""
    return subprocess.run(  # noqa: S603 - the arguments are our own
        [PYTHON, "-m", "authsvc", *words],
        cwd=cwd,
        env=bare_environment(**(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


class Running:
    """A process that serves until it is told to stop. Its output is in files, so nothing it says can block it."""

    def __init__(self, folder: Path, words: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.stdout_file = folder / "stdout.txt"
        self.stderr_file = folder / "stderr.txt"
        self.ready_file.unlink(missing_ok=True)
        with self.stdout_file.open("ab") as stdout, self.stderr_file.open("ab") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - the arguments are our own
                [PYTHON, "-m", "authsvc", *words, "--ready-file", str(self.ready_file)],
                cwd=folder,
                env=bare_environment(**{**PATIENT, **(env or {})}),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        """What it has said to people so far."""
        return self.stdout_file.read_text("utf-8")

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self.stderr_file.read_text("utf-8")

    def addresses(self) -> dict[str, str]:
        """Return where it listens, once it does."""
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None, what="the ready file")
        assert self.ready_file.exists(), f"ended with {self.process.returncode}: {self.stderr}"
        given = json.loads(self.ready_file.read_text("utf-8"))
        return {name: str(value) for name, value in given.items()}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Leave nothing of it behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A process started with `authsvc *words*`, killed afterwards if it still runs."""
    process = Running(folder, words, env=env)
    try:
        yield process
    finally:
        process.end()


@contextmanager
def dev(folder: Path, *more: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[Running, Service]]:
    """`authsvc dev` on free ports with its data in *folder*, and a client for it."""
    words = ("dev", *FREE_PORTS, "--data-dir", str(folder / "data"), *more)
    with running(folder, *words, env=env) as process, Service(process.addresses()) as service:
        yield process, service
