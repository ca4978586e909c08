"""
Supervised processes on one machine: started in order, restarted with back-off, stopped in reverse.

Children are the same program with another command line; they say where they listen through a ready file. What they
serve is not here.
"""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from authsvc.ports import Clock, Event, Observer

_POLL = timedelta(milliseconds=50)
_START_LIMIT = timedelta(seconds=30)
_STOP_LIMIT = timedelta(seconds=30)
_BACK_OFF = tuple(timedelta(seconds=seconds) for seconds in (0.1, 0.5, 1, 2, 5, 10))
_STABLE_AFTER_S = 60.0


class ChildFailed(OSError):
    """A process did not become ready; it has said why on standard error."""


@dataclass(frozen=True, slots=True)
class Child:
    """
    One process: its name, its command line after `authsvc`, and how its addresses travel.

    `gives` maps keys of its ready file to names; `needs` maps such names to options that the child is started with;
    `ports` maps keys to the options with which a restarted child binds the port it had.
    """

    name: str
    arguments: Sequence[str]
    gives: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)


async def supervise(
    children: Sequence[Child],
    *,
    stopping: asyncio.Event,
    clock: Clock,
    observer: Observer,
    announce: Callable[[Mapping[str, str | int]], None],
) -> None:
    """
    Run the children until *stopping* is set; *announce* is told all addresses once every child is ready.

    A child that exits is started again (on the addresses it had), after a pause that grows while it keeps failing.

    Raises:
        ChildFailed: one of them could not be started the first time; the others have been stopped.

    """
    with tempfile.TemporaryDirectory(prefix="authsvc-") as folder:
        running: list[_Running] = []
        addresses: dict[str, str | int] = {}
        try:
            for child in children:
                process = _Running(child, Path(folder), clock=clock, observer=observer)
                running.append(process)
                addresses.update(await process.start(addresses))
            announce(addresses)
            keepers = [asyncio.ensure_future(process.keep(addresses)) for process in running]
            await stopping.wait()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
        finally:
            for process in reversed(running):
                await process.stop()


class _Running:
    def __init__(self, child: Child, folder: Path, *, clock: Clock, observer: Observer) -> None:
        self._child = child
        self._ready = folder / f"{child.name}.json"
        self._clock = clock
        self._observer = observer
        self._process: asyncio.subprocess.Process | None = None
        self._had: dict[str, str] = {}

    async def start(self, addresses: Mapping[str, str | int]) -> dict[str, str | int]:
        words = [*self._child.arguments, "--ready-file", str(self._ready)]
        for name, option in self._child.needs.items():
            words += [option, str(addresses[name])]
        for key, option in self._child.ports.items():
            if key in self._had:
                words += [option, self._had[key].rpartition(":")[2]]
        self._ready.unlink(missing_ok=True)
        # Its own session: a Ctrl-C in the terminal reaches the supervisor only, which stops children in order.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "authsvc", *words, start_new_session=True
        )
        self._had = await self._wait_ready(self._process)
        return {ours: self._had[theirs] for theirs, ours in self._child.gives.items()}

    async def keep(self, addresses: Mapping[str, str | int]) -> None:
        failures = 0
        while True:
            assert self._process is not None
            began = self._clock.elapsed()
            status = await self._process.wait()
            failures = 0 if self._clock.elapsed() - began > _STABLE_AFTER_S else failures + 1
            pause = _BACK_OFF[min(failures, len(_BACK_OFF)) - 1] if failures else _BACK_OFF[0]
            self._observer.event(
                Event(
                    "process.exited",
                    level="error",
                    fields={
                        "process": self._child.name,
                        "status": status,
                        "restart_in_s": pause.total_seconds(),
                    },
                )
            )
            await self._clock.sleep(pause)
            with contextlib.suppress(ChildFailed):  # it is looked after in the next round
                await self.start(addresses)

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_LIMIT.total_seconds()):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> dict[str, str]:
        deadline = self._clock.elapsed() + _START_LIMIT.total_seconds()
        while self._clock.elapsed() < deadline and process.returncode is None:
            if self._ready.exists():
                given: dict[str, str] = json.loads(self._ready.read_text(encoding="utf-8"))
                return given
            await self._clock.sleep(_POLL)
        await self.stop()
        raise ChildFailed(f"{self._child.name} did not become ready")
