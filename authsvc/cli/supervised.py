"""What runs `serve --workers N` and `serve --with-edge`: workers on one port, the edge, one operations port for all."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from datetime import timedelta

import click

from authsvc.app import build_ops
from authsvc.cli.options import Misconfigured
from authsvc.cli.reloading import Reading, differences, on_hangup
from authsvc.cli.running import ReadyFile, listening, make_world, run
from authsvc.ops import Workers
from authsvc.ports import Event, Observer
from authsvc.rpc.reservation import Reservation, reserve
from authsvc.supervisor import Child, Supervisor


def run_supervised(
    started_with: Reading,
    *,
    worker_words: Sequence[str],
    edge_words: Sequence[str] | None,
    read: Callable[[], Reading],
) -> None:
    """
    Run the workers, and the edge if it has *edge_words*, until a signal.

    The words are the options that were given to us; the environment is inherited. *read* returns what a worker would
    be configured with if it were started now, and raises Misconfigured if it could not be.

    Raises:
        click.ClickException: a port is taken, or a process does not start (it has said why).

    """
    settings, _ = started_with
    world = make_world(settings, service="supervisor")
    ready = ReadyFile(settings.ready_file)
    workers = [f"worker-{number}" for number in range(settings.workers)]

    started: list[Supervisor] = []

    async def main(stopping: asyncio.Event) -> None:
        # Before anything starts: port 0 becomes a number once, and a taken port is told once, by us.
        with reserve(settings.grpc_host, settings.grpc_port) as port:
            supervisor = Supervisor(
                _stages(port, workers, worker_words=worker_words, edge_words=edge_words),
                clock=world.clock,
                observer=world.telemetry,
                stop_limit=timedelta(seconds=settings.drain_wait + settings.stop_grace),
            )
            started.append(supervisor)
            members = Workers(
                lambda: {
                    name: one.addresses["ops"] if one else None for name, one in supervisor.serving().items()
                },
                metered=workers,
                own=own,
            )
            world.telemetry.gauge(
                "workers_serving",
                lambda: float(sum(supervisor.serving()[name] is not None for name in workers)),
            )
            ops = build_ops(
                settings,
                world=world,
                probes=members.probes(),
                exposition=members.exposition,
                notices=members.notices(),
            )
            with listening("the operations listener", host=settings.ops_host, port=settings.ops_port):
                ops_address = await ops.start()

            def announce() -> None:
                serving = supervisor.serving()
                pids = [one.pid for name in workers if (one := serving[name])]
                if len(pids) == len(workers) and not stopping.is_set():
                    addresses = {"grpc": port.address, "ops": ops_address, **supervisor.addresses()}
                    ready.announce({**addresses, "workers": pids})
                    tell()

            @functools.cache  # said once, also if the processes behind it are others later
            def tell() -> None:
                click.echo(
                    f"authsvc serves gRPC on {port.address} by {len(workers)}, operations on {ops_address}"
                )

            async def withdraw() -> None:
                await stopping.wait()
                ready.withdraw()

            withdrawing = asyncio.ensure_future(withdraw())
            renewal = _Renewal(supervisor, workers, started_with=started_with, observer=world.telemetry)
            on_hangup(renewal.asked.set, stop=stopping.set)
            renewing = asyncio.ensure_future(renewal.run(read))
            try:
                await supervisor.run(stopping=stopping, announce=announce)
            finally:
                renewing.cancel()
                withdrawing.cancel()
                await asyncio.gather(renewing, withdrawing, return_exceptions=True)
                ready.withdraw()
                await ops.stop()

    async def own() -> tuple[bytes, str]:
        return world.telemetry.exposition(), world.telemetry.content_type

    def kill() -> None:
        for supervisor in started:
            supervisor.kill()

    run(main, at_once=kill)


def _stages(
    port: Reservation,
    workers: Sequence[str],
    *,
    worker_words: Sequence[str],
    edge_words: Sequence[str] | None,
) -> list[list[Child]]:
    grpc_words = ("serve", *worker_words, "--grpc-port", str(port.port))
    stages = [[Child(name, grpc_words, socket="--ops-socket") for name in workers]]
    if edge_words is not None:
        edge = Child(
            "edge",
            ("edge", *edge_words, "--grpc-target", port.address, "--ops-port", "0"),
            gives={"http": "http", "ops": "edge_ops"},
            ports={"http": "--http-port", "ops": "--ops-port"},
        )
        stages.append([edge])
    return stages


class _Renewal:
    """What SIGHUP leads to: other apps are taken by the workers as they are; anything else needs new ones."""

    def __init__(
        self,
        supervisor: Supervisor,
        workers: Sequence[str],
        *,
        started_with: Reading,
        observer: Observer,
    ) -> None:
        self._supervisor = supervisor
        self._workers = workers
        self._current = started_with
        self._observer = observer
        self.asked = asyncio.Event()

    async def run(self, read: Callable[[], Reading]) -> None:
        while True:
            await self.asked.wait()
            self.asked.clear()
            try:
                # Before anything is told to anybody: a mistake must not cost a worker, nor any of its apps.
                reading = await asyncio.to_thread(read)
                if differences(self._current, reading):
                    await self._supervisor.renew(self._workers)
                    self._current = reading
                else:
                    self._supervisor.reload(self._workers)
            except Misconfigured as problem:
                self._refuse("; ".join(problem.complaints))
            except OSError as problem:
                self._refuse(str(problem))

    def _refuse(self, error: str) -> None:
        self._observer.event(Event("workers.not_renewed", level="error", fields={"error": error}))
