"""What runs `serve --workers N` and `serve --with-edge`: workers on one port, the edge, one operations port for all."""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta

import click

from authsvc.app import World, build_ops
from authsvc.cli.options import Misconfigured, misconfigured
from authsvc.cli.own_callers import new_edge
from authsvc.cli.reloading import Reading, differences, on_hangup
from authsvc.cli.running import ReadyFile, listening, make_world, run
from authsvc.config import Settings
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
        with ExitStack() as held:
            ports = _reserve(settings, held)
            supervisor = Supervisor(
                _stages(
                    ports,
                    workers,
                    worker_words=worker_words,
                    edge_words=edge_words,
                    edge_key=_edge_key(settings, world) if edge_words is not None else None,
                ),
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
                    ours = {name: port.address for name, port in ports.items()}
                    addresses = {**ours, "ops": ops_address, **supervisor.addresses()}
                    ready.announce({**addresses, "workers": pids})
                    tell()

            @functools.cache  # said once, also if the processes behind it are others later
            def tell() -> None:
                click.echo(
                    f"authsvc serves gRPC on {ports['grpc'].address} by {len(workers)}, operations on {ops_address}"
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


def _reserve(settings: Settings, held: ExitStack) -> dict[str, Reservation]:
    ports = {"grpc": held.enter_context(reserve(settings.grpc_host, settings.grpc_port))}
    if settings.grpc_keys_port is not None:
        ports["grpc_keys"] = held.enter_context(reserve(settings.grpc_host, settings.grpc_keys_port))
    return ports


def _edge_key(settings: Settings, world: World) -> tuple[str, str] | None:
    """
    Return the key of an edge that has no other proof, and the word for the workers; None where it needs none.

    Raises:
        Misconfigured: the edge could not call the workers.

    """
    if settings.grpc_certificate and not settings.grpc_ca:
        raise misconfigured(["grpc_ca: is missing; the edge must know who signs the gRPC certificate"])
    if not settings.asks_callers or settings.service_key is not None or settings.grpc_client_certificate:
        return None
    if settings.grpc_client_ca and settings.grpc_keys_port is None:
        raise misconfigured(
            ["grpc_client_certificate: is missing; the edge must show one, or give it a grpc_keys_port"]
        )
    return new_edge(entropy=world.entropy)


def _stages(
    ports: Mapping[str, Reservation],
    workers: Sequence[str],
    *,
    worker_words: Sequence[str],
    edge_words: Sequence[str] | None,
    edge_key: tuple[str, str] | None,
) -> list[list[Child]]:
    grpc_words = ["serve", *worker_words]
    for name, port in ports.items():
        grpc_words += [f"--{name.replace('_', '-')}-port", str(port.port)]
    if edge_key is not None:
        grpc_words.append(f"--edge-key={edge_key[1]}")  # it may begin with a dash
    # With a certificate of its own the edge comes where certificates are asked for.
    target = ports["grpc"] if edge_key is None else ports.get("grpc_keys", ports["grpc"])
    stages = [[Child(name, grpc_words, socket="--ops-socket") for name in workers]]
    if edge_words is not None:
        edge = Child(
            "edge",
            ("edge", *edge_words, "--grpc-target", target.address, "--ops-port", "0"),
            gives={"http": "http", "ops": "edge_ops"},
            ports={"http": "--http-port", "ops": "--ops-port"},
            # Not on its command line, which every user of the machine can read.
            environment={} if edge_key is None else {"AUTHSVC_SERVICE_KEY": edge_key[0]},
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
