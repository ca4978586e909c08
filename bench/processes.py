"""Server processes: started on one core, asked for their CPU time and memory, and stopped."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 15.0
_POLL_S = 0.005


class NotStarted(Exception):
    """A server process ended or did not get ready in time; the text ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the servers, another for the load; the same one where the machine has no second."""

    servers: int | None
    load: int | None

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Return the first and the last core that we may use; None where processes cannot be pinned."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])

    def take_load_core(self) -> None:
        """Pin this process, which makes the load."""
        if self.load is not None:
            os.sched_setaffinity(0, {self.load})

    def take_servers_core(self, pid: int) -> None:
        """Pin another process, which serves, before it makes threads."""
        if self.servers is not None:
            os.sched_setaffinity(pid, {self.servers})

    def describe(self) -> str:
        """Say in words what runs where."""
        if self.servers is None:
            return "processes not pinned: this system cannot"
        if self.servers == self.load:
            return "servers and load share the only core: rates and latencies say little"
        return f"servers on core {self.servers}, load on core {self.load}"


class Process:
    """A server process on the servers' core. `ready_s`: how long it took until its ready file was there."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        cores: Cores,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.ready_s = 0.0
        self._command = command
        self._cores = cores
        self._environment = environment
        self._ready = directory / f"{name}.ready"
        self._output = directory / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *, within_s: float = _START_LIMIT_S) -> str:
        """
        Run *command* with `--ready-file PATH` and return that file's text once it is there.

        Raises:
            NotStarted: it did not get ready.

        """
        self._ready.unlink(missing_ok=True)
        began = time.monotonic()
        with self._output.open("ab") as output:
            self._child = subprocess.Popen(  # noqa: S603 - our own command line
                [*self._command, "--ready-file", str(self._ready)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(self._environment or {})},
            )
        self._cores.take_servers_core(self._child.pid)
        while not (self._ready.exists() and (text := self._ready.read_text(encoding="utf-8"))):
            if self._child.poll() is not None or time.monotonic() - began > within_s:
                self.stop()
                tail = self._output.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise NotStarted(f"{self.name} did not start:\n{tail}")
            time.sleep(_POLL_S)
        self.ready_s = time.monotonic() - began
        return text

    def stop(self) -> None:
        """End the process, by force if it takes too long. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used so far, user and system, all its threads."""
        assert self._child is not None
        if sys.platform == "linux":
            # clock_getcpuclockid(3) of a process: as /proc/PID/stat, in nanoseconds instead of ticks of 10 ms.
            return time.clock_gettime(~self._child.pid << 3 | 2)
        hours, minutes, seconds = ("0:0:" + self._told("cputime")).split(":")[-3:]
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    def rss_mib(self) -> float:
        """Return the resident memory now, in MiB."""
        assert self._child is not None
        if sys.platform == "linux":
            lines = Path(f"/proc/{self._child.pid}/status").read_text(encoding="ascii").splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
        return int(self._told("rss")) / 1024

    def _told(self, column: str) -> str:
        assert self._child is not None
        command = ["ps", "-o", f"{column}=", "-p", str(self._child.pid)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
