"""
`python -m tests.faults.guardian`: ends every process it was told of once its standard input does.

So nothing outlives the harness, not even one that was killed. Each line is a process id; its descendants are ended
with it. A process that took over a number meanwhile is left alone.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterable

import psutil


class Guardian:
    """The harness's side: one guardian process, told of each child."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """End this process and its descendants when we end, however we end."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % pid)
        self._process.stdin.flush()

    def close(self) -> None:
        """End all that was watched and still runs; return when that is done. Idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def end(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL these and all below them, and return when they are gone or somebody else's to wait for."""
    found: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process, *process.children(recursive=True)]
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()  # looks at the start time too, so never at a later process of the same number


def _main() -> None:
    # Whoever interrupts the harness at a terminal interrupts us with it; we are needed just then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched: list[psutil.Process] = []
    for line in sys.stdin:
        with contextlib.suppress(psutil.NoSuchProcess):
            watched.append(psutil.Process(int(line)))
    end(watched)


if __name__ == "__main__":
    _main()
