"""
Supervised processes on one machine: started stage by stage, restarted with back-off, stopped in reverse.

Children are the same program with another command line; they say where they listen through a ready file, and end
when their standard input does, so that none outlives its supervisor. What they serve is not here.
"""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from authsvc.ports import Clock, Event, Observer

_POLL = timedelta(milliseconds=50)
_START_LIMIT = timedelta(seconds=30)
_STOP_MARGIN = timedelta(seconds=10)
_BACK_OFF = tuple(timedelta(seconds=seconds) for seconds in (0.1, 0.5, 1, 2, 5, 10))
_STABLE_AFTER_S = 60.0


class ChildFailed(OSError):
    """A process did not become ready; it has said why on standard error."""


@dataclass(frozen=True, slots=True)
class Child:
    """
    One process: its name, its command line after `authsvc`, and how its addresses travel.

    `gives` maps keys of its ready file to names; `needs` maps such names to options that the child is started with;
    `ports` maps keys to the options with which a restarted child binds the port it had. `socket` names the option
    that takes a path for a private socket, another one at every start.
    """

    name: str
    arguments: Sequence[str]
    gives: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """A child that serves: its process id, and its ready file."""

    pid: int
    addresses: Mapping[str, str]


class Supervisor:
    """
    Runs *stages* of children; those of a stage start together, and stop together.

    A child that exits is started again (on the addresses it had), after a pause that grows while it keeps failing.
    *stop_limit* is what a child needs at most to stop in good order; it is killed some time after that.
    """

    def __init__(
        self, stages: Sequence[Sequence[Child]], *, clock: Clock, observer: Observer, stop_limit: timedelta
    ) -> None:
        self._stages = [
            [_Running(child, clock=clock, observer=observer, stop_limit=stop_limit) for child in stage]
            for stage in stages
        ]
        self._addresses: dict[str, str] = {}

    def serving(self) -> dict[str, Serving | None]:
        """Return every child by name, None while it does not serve."""
        return {process.name: process.serving for stage in self._stages for process in stage}

    def addresses(self) -> dict[str, str]:
        """Return the addresses that children gave, by the names of `gives`."""
        return dict(self._addresses)

    async def run(self, *, stopping: asyncio.Event, announce: Callable[[], None]) -> None:
        """
        Keep the children running until *stopping* is set; return when all have ended.

        *announce* is called once every child serves, and again whenever one has been started again.

        Raises:
            ChildFailed: one of them could not be started the first time; the others have been stopped.

        """
        with tempfile.TemporaryDirectory(prefix="authsvc-") as folder:  # 0700
            running = asyncio.ensure_future(self._run(Path(folder), announce))
            halt = asyncio.ensure_future(stopping.wait())
            try:
                await asyncio.wait({running, halt}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
            finally:
                await _cancelled(running, halt)
                for stage in reversed(self._stages):
                    await asyncio.gather(*(process.stop() for process in stage))

    async def renew(self, names: Sequence[str]) -> None:
        """
        Stop and start these children in good order, one at a time, each serving again before the next one stops.

        One that cannot be started again is retried like a crashed one, and the rest stay as they are until it serves.
        """
        for stage in self._stages:
            for process in stage:
                if process.name in names:
                    await process.renew()

    def kill(self) -> None:
        """End every child at once, also one that is frozen and would not see that we are gone."""
        for stage in self._stages:
            for process in stage:
                process.kill()

    async def _run(self, folder: Path, announce: Callable[[], None]) -> None:
        for stage in self._stages:
            await _all(process.start(folder, self._addresses) for process in stage)
            for process in stage:
                self._addresses.update(process.given())
        announce()
        await _all(
            process.keep(folder, self._addresses, announce) for stage in self._stages for process in stage
        )


class _Running:
    def __init__(self, child: Child, *, clock: Clock, observer: Observer, stop_limit: timedelta) -> None:
        self.name = child.name
        self.serving: Serving | None = None
        self._child = child
        self._clock = clock
        self._observer = observer
        self._stop_limit = stop_limit + _STOP_MARGIN
        self._process: asyncio.subprocess.Process | None = None
        self._had: Mapping[str, str] = {}
        self._starts = 0
        self._renewing: asyncio.Event | None = None

    def given(self) -> dict[str, str]:
        return {ours: self._had[theirs] for theirs, ours in self._child.gives.items()}

    async def start(self, folder: Path, addresses: Mapping[str, str]) -> None:
        child = self._child
        self._starts += 1
        own = folder / f"{child.name}-{self._starts}"
        ready = own.with_suffix(".json")
        words = [*child.arguments, "--tied", "--ready-file", str(ready)]
        if child.socket:
            words += [child.socket, str(own.with_suffix(".sock"))]
        for name, option in child.needs.items():
            words += [option, addresses[name]]
        for key, option in child.ports.items():
            if key in self._had:
                words += [option, self._had[key].rpartition(":")[2]]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "authsvc",
            *words,
            # Nothing is ever written there: its end tells the child that we are gone.
            stdin=asyncio.subprocess.PIPE,
            # Its own session: a Ctrl-C in the terminal reaches the supervisor only, which stops children in order.
            start_new_session=True,
        )
        self._had = await self._wait_ready(self._process, ready)
        self.serving = Serving(pid=self._process.pid, addresses=self._had)

    async def keep(self, folder: Path, addresses: Mapping[str, str], announce: Callable[[], None]) -> None:
        failures = 0
        was_up = True
        while True:
            assert self._process is not None
            began = self._clock.elapsed()
            status = await self._process.wait()
            self.serving = None
            if self._renewing is None or not was_up:
                failures = 0 if self._clock.elapsed() - began > _STABLE_AFTER_S else failures + 1
                pause = _BACK_OFF[min(failures, len(_BACK_OFF)) - 1] if failures else _BACK_OFF[0]
                self._observer.event(
                    Event(
                        "process.exited",
                        level="error",
                        fields={
                            "process": self.name,
                            "status": status,
                            "restart_in_s": pause.total_seconds(),
                        },
                    )
                )
                await self._clock.sleep(pause)
            try:
                await self.start(folder, addresses)
            except OSError:  # ChildFailed, or no process to be had: tried again in the next round
                was_up = False
                continue
            was_up = True
            announce()
            if self._renewing is not None:
                self._renewing.set()

    async def renew(self) -> None:
        self._renewing = asyncio.Event()
        self._observer.event(Event("process.renewed", fields={"process": self.name}))
        try:
            self.serving = None
            await self.stop()
            await self._renewing.wait()
        finally:
            self._renewing = None

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_limit.total_seconds()):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _wait_ready(self, process: asyncio.subprocess.Process, ready: Path) -> dict[str, str]:
        deadline = self._clock.elapsed() + _START_LIMIT.total_seconds()
        while self._clock.elapsed() < deadline and process.returncode is None:
            if (given := _read(ready)) is not None:
                return given
            await self._clock.sleep(_POLL)
        await self.stop()
        raise ChildFailed(f"{self.name} did not become ready")


def _read(ready: Path) -> dict[str, str] | None:
    try:
        given: dict[str, str] = json.loads(ready.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return given


async def _all(parts: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all together; the first failure is raised, after the others have been cancelled."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _cancelled(*tasks)


async def _cancelled(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
