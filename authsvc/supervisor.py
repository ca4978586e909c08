"""
Supervised processes on one machine: started stage by stage, restarted with back-off, stopped in reverse.

Children are the same program with another command line; they say where they listen through a ready file, and end
when their standard input does, so that none outlives its supervisor. What they serve is not here.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import weakref
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
# Tells a child to read its list of apps again; SIGHUP tells it to leave, because a successor serves beside it.
RELOAD = signal.SIGUSR1


class ChildFailed(OSError):
    """A process did not become ready; it has said why on standard error."""


@dataclass(frozen=True, slots=True)
class Child:
    """
    One process: its name, its command line after `authsvc`, and how its addresses travel.

    `gives` maps keys of its ready file to names; `needs` maps such names to options that the child is started with;
    `ports` maps keys to the options with which a restarted child binds the port it had. `socket` names the option
    that takes a path for a private socket, another one at every start. `environment` is added to ours.
    """

    name: str
    arguments: Sequence[str]
    gives: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    socket: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


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
        self._renew: Callable[[_Running], Coroutine[Any, Any, None]] | None = None

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
        Replace these children, one at a time: a successor serves beside each before it is told to leave (SIGHUP).

        Raises:
            ChildFailed: a successor did not become ready; it and all after it stay as they are.

        """
        if self._renew is not None:
            for stage in self._stages:
                for process in stage:
                    if process.name in names:
                        await self._renew(process)

    def reload(self, names: Sequence[str]) -> None:
        """Tell these children to read their apps again (`RELOAD`); one that is starting is told as soon as it serves."""
        for stage in self._stages:
            for process in stage:
                if process.name in names:
                    process.reload()

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
        self._renew = lambda process: process.renew(folder, self._addresses, announce)
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
        self._all: set[asyncio.subprocess.Process] = set()
        self._told: weakref.WeakSet[asyncio.subprocess.Process] = weakref.WeakSet()
        self._had: Mapping[str, str] = {}
        self._starts = 0
        self._reloads = 0
        self._starting = asyncio.Lock()

    def given(self) -> dict[str, str]:
        return {ours: self._had[theirs] for theirs, ours in self._child.gives.items()}

    async def start(self, folder: Path, addresses: Mapping[str, str]) -> None:
        child, reloads = self._child, self._reloads
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
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "authsvc",
            *words,
            # Nothing is ever written there: its end tells the child that we are gone.
            stdin=asyncio.subprocess.PIPE,
            # Its own session: a Ctrl-C in the terminal reaches the supervisor only, which stops children in order.
            start_new_session=True,
            env={**os.environ, **child.environment},
        )
        self._all = {one for one in self._all if one.returncode is None} | {process}
        self._had = await self._wait_ready(process, ready)
        self._process = process
        self.serving = Serving(pid=process.pid, addresses=self._had)
        if self._reloads != reloads:  # asked for while it was reading them
            self._send_reload(process)

    async def keep(self, folder: Path, addresses: Mapping[str, str], announce: Callable[[], None]) -> None:
        failures = 0
        while True:
            assert self._process is not None
            process, began = self._process, self._clock.elapsed()
            status = await process.wait()
            if process is not self._process:  # renewed: another one serves already
                continue
            self.serving = None
            failures = 0 if self._clock.elapsed() - began > _STABLE_AFTER_S else failures + 1
            pause = _BACK_OFF[min(failures, len(_BACK_OFF)) - 1] if failures else _BACK_OFF[0]
            self._observer.event(
                Event(
                    "process.exited",
                    level="error",
                    fields={"process": self.name, "status": status, "restart_in_s": pause.total_seconds()},
                )
            )
            await self._clock.sleep(pause)
            async with self._starting:
                if process is self._process:
                    # ChildFailed, or no process to be had: tried again in the next round.
                    with contextlib.suppress(OSError):
                        await self.start(folder, addresses)
                        announce()

    async def renew(self, folder: Path, addresses: Mapping[str, str], announce: Callable[[], None]) -> None:
        async with self._starting:
            process = self._process
            await self.start(folder, addresses)
            announce()
        self._observer.event(Event("process.renewed", fields={"process": self.name}))
        if process is not None:
            # Not SIGTERM: its successor and the others have its port, so its clients are sent to them at once.
            await self._end(process, signal.SIGHUP)

    async def stop(self) -> None:
        await asyncio.gather(*(self._end(process, signal.SIGTERM) for process in self._all))

    async def _end(self, process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        if process.returncode is not None:
            return
        if process not in self._told:  # a second signal would end it at once
            self._told.add(process)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        try:
            async with asyncio.timeout(self._stop_limit.total_seconds()):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def reload(self) -> None:
        self._reloads += 1
        if self.serving is not None and self._process is not None:
            self._send_reload(self._process)

    def _send_reload(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None and process not in self._told:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(RELOAD)

    def kill(self) -> None:
        for process in self._all:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def _wait_ready(self, process: asyncio.subprocess.Process, ready: Path) -> dict[str, str]:
        deadline = self._clock.elapsed() + _START_LIMIT.total_seconds()
        while self._clock.elapsed() < deadline and process.returncode is None:
            if (given := _read(ready)) is not None:
                return given
            await self._clock.sleep(_POLL)
        await self._end(process, signal.SIGTERM)
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
