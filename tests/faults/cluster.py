"""
Replicas, the sandbox and the database as real processes on free ports of 127.0.0.1, and ways to hurt each of them.

Everything ends with `close`, and with the harness however that ends (`guardian`).
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from authsvc.storage import migrate
from tests.e2e.running import IMPATIENT, Running, running
from tests.e2e.serving import Site, prepare
from tests.e2e.wire import D1, http_call
from tests.faults import real
from tests.faults.calls import Door, plain_door, ring_door
from tests.faults.guardian import Guardian, end
from tests.faults.history import History, Interval, Rules
from tests.faults.proxy import Proxy
from tests.support.postgres import OwnServer

_READY_WITHIN_S = 60.0
_DOORS_PER_WORKER = 2
# Below what the kernel hands out by itself, so that a port is still free when its replica comes back.
_PORTS = range(20_000, 32_000)
_PORT_DICE = real.dice(os.getpid())  # several harnesses on one machine must not choose alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to build: how many replicas of how many workers, over which database, by which rules."""

    replicas: int
    workers: int
    postgres: bool = False
    rules: Rules = field(default_factory=lambda: Rules(hard_bound_s=10, grace_s=5, max_sessions=3))


class Replica:
    """One `authsvc serve`, which can be started again on the same port."""

    def __init__(
        self, label: str, site: Site, *, workers: int, words: Sequence[str], guardian: Guardian
    ) -> None:
        self.label = label
        self.port = free_port()
        self.workers = workers
        self._site = site
        self._words = ("serve", "--grpc-port", str(self.port), "--ops-port", "0", *words)
        self._env: dict[str, str] = {}
        self._guardian = guardian
        self._running: Running | None = None
        self.folder = site.folder / label
        self.folder.mkdir()

    def start(self, env: dict[str, str]) -> None:
        """Start it; it is not ready yet."""
        self._env = env
        words = (*self._words, "--workers", str(self.workers))
        self._running = Running(self.folder, words, env={**self._site.env, **IMPATIENT, **env})
        self._guardian.watch(self._running.process.pid)

    def start_again(self) -> None:
        self.start(self._env)

    @property
    def running(self) -> Running:
        assert self._running is not None
        return self._running

    @property
    def is_up(self) -> bool:
        return self._running is not None and self._running.process.poll() is None

    def worker_pids(self) -> list[int]:
        """The processes that serve, as the ready file tells them; none while some worker does not."""
        with contextlib.suppress(OSError, ValueError):
            given = json.loads(self.running.ready_file.read_text("utf-8"))
            return list(given.get("workers", [given["pid"]]))
        return []

    def missing(self) -> str:
        """Return why it is not ready; nothing if everything serves and knows the log."""
        if not self.is_up:
            return f"it ended: {self.running.stderr[-500:]}"
        try:
            given = json.loads(self.running.ready_file.read_text("utf-8"))
        except (OSError, ValueError):
            return "it has no ready file"
        workers = given.get("workers", [given["pid"]])
        if len(workers) != self.workers or not all(map(psutil.pid_exists, workers)):
            return f"of its workers only these run: {workers}"
        try:
            answer = http_call("GET", f"{given['ops']}/readyz")
        except OSError as error:
            return f"no answer from its operations port: {error}"
        return "" if answer.status == 200 else answer.body.decode()

    def kill_worker(self, dice: real.Dice) -> bool:
        """SIGKILL one worker; False if none serves just now."""
        pids = [pid for pid in self.worker_pids() if psutil.pid_exists(pid)]
        if not pids or self.workers == 1:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(dice.choice(pids)).kill()
        return True

    def kill(self) -> bool:
        """SIGKILL all of it; False if it had ended before."""
        if not self.is_up:
            return False
        end([psutil.Process(self.running.process.pid)])
        self.running.process.wait(30)
        return True

    def stop(self) -> int:
        """SIGTERM, and return the exit status once it has drained."""
        return self.running.stop(signal.SIGTERM)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, the supervisor first."""
        first = psutil.Process(self.running.process.pid)
        for process in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


class Cluster:
    """The running whole. `history` takes what is done to it; `doors` lead to every worker, `ring` to all replicas."""

    def __init__(self, plan: Plan, *, wechat: str, history: History, guardian: Guardian) -> None:
        self.plan = plan
        self.guardian = guardian
        self.wechat = wechat
        self.history = history
        self.replicas: list[Replica] = []
        self.proxies: list[Proxy] = []
        self.postgres: OwnServer | None = None
        self.kills = 0

    def doors(self) -> list[Door]:
        """Several connections to each replica; with one worker all lead to the same process."""
        alone = self.plan.workers == 1
        return [
            plain_door(f"{one.label}.{number}", one.port, verifier=one.label if alone else "")
            for one in self.replicas
            for number in range(1 if alone else _DOORS_PER_WORKER * self.plan.workers)
        ]

    def ring(self, *, retries: bool = True) -> Door:
        """All replicas, as clients reach them."""
        return ring_door([one.port for one in self.replicas], retries=retries)

    def guard_postgres(self) -> None:
        """Let the guardian know of the present server process."""
        assert self.postgres is not None
        for process in self.postgres._processes()[:1]:
            self.guardian.watch(process.pid)

    async def until_ready(self) -> None:
        """Return once every replica is ready; one that ended meanwhile is started again, as an init system does."""
        deadline = real.now() + _READY_WITHIN_S
        for one in self.replicas:
            while why := await asyncio.to_thread(one.missing):
                assert real.now() < deadline, f"{one.label} does not become ready: {why}"
                if not one.is_up:
                    # A server that finds no database when it starts says so and ends.
                    one.start_again()
                await real.pause(0.05)

    @asynccontextmanager
    async def disturbed(self, prefix: str = "") -> AsyncIterator[None]:
        """Note that targets of this prefix cannot hear the log from here until all replicas are ready again."""
        start = real.now()
        try:
            yield
            await self.until_ready()
        finally:
            self.history.disturbances.append(Interval(start, real.now(), prefix))

    async def suspend(self, replica: Replica, seconds: float) -> None:
        """SIGSTOP all of a replica, and let it go on after *seconds*."""
        async with self.disturbed(replica.label):
            replica.signal_all(signal.SIGSTOP)
            try:
                await real.pause(seconds)
            finally:
                replica.signal_all(signal.SIGCONT)

    async def partition(self, number: int, seconds: float) -> None:
        """Cut one replica off from its PostgreSQL for *seconds*."""
        async with self.disturbed(self.replicas[number].label):
            self.proxies[number].cut()
            try:
                await real.pause(seconds)
            finally:
                await self.proxies[number].mend()


@asynccontextmanager
async def cluster(folder: Path, plan: Plan, *, history: History) -> AsyncIterator[Cluster]:
    """Build it, ready; leave nothing of it behind."""
    async with AsyncExitStack() as stack:
        guardian = Guardian()
        stack.callback(guardian.close)
        sandbox_folder = folder / "sandbox"
        sandbox_folder.mkdir(parents=True)
        player = stack.enter_context(running(sandbox_folder, "sandbox", "--sandbox-port", "0"))
        guardian.watch(player.process.pid)
        wechat = (await asyncio.to_thread(player.addresses))["sandbox"]
        rules = plan.rules
        policy = {D1: {"grace": rules.grace_s, "max_sessions": rules.max_sessions}}
        site = await asyncio.to_thread(prepare, folder / "site", wechat_url=wechat, policy=policy)
        whole = Cluster(plan, wechat=wechat, history=history, guardian=guardian)
        if plan.postgres:
            whole.postgres = await asyncio.to_thread(_own_postgres)
            stack.callback(whole.postgres.destroy)
            whole.guard_postgres()
        for number in range(plan.replicas):
            words = ("--hard-bound", str(rules.hard_bound_s), "--stop-grace", "3")
            replica = Replica(f"r{number}", site, workers=plan.workers, words=words, guardian=guardian)
            env = {}
            if whole.postgres is not None:
                proxy = await stack.enter_async_context(Proxy(whole.postgres.port))
                whole.proxies.append(proxy)
                url = whole.postgres.url.replace(f":{whole.postgres.port}/", f":{proxy.port}/")
                env["AUTHSVC_DATABASE_URL"] = url
            replica.start(env)
            stack.callback(_end, replica)
            whole.replicas.append(replica)
        await whole.until_ready()
        yield whole


def _own_postgres() -> OwnServer:
    """Durable as in earnest: what it acknowledged is there after a SIGKILL of all its processes."""
    server = OwnServer(settings=("max_connections=100", "shared_buffers=32MB", "timezone=UTC"))
    try:
        server.start()
        migrate(server.url)
    except BaseException:
        server.destroy()
        raise
    return server


def _end(replica: Replica) -> None:
    if replica.is_up:
        with contextlib.suppress(psutil.NoSuchProcess):
            replica.signal_all(signal.SIGCONT)
            replica.kill()


def free_port() -> int:
    """Return a port nobody listens on, which the kernel gives to nobody by itself."""
    while True:
        port = _PORT_DICE.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def left_behind(folder: Path) -> list[str]:
    """Return the command lines of processes that mention *folder*: what a cluster left."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        words = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
            found.append(" ".join(process.info["cmdline"] or ()))
    return found


__all__ = ["Cluster", "Plan", "Replica", "cluster", "free_port", "left_behind"]
