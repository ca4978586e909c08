"""
`python -m bench.engines PYTHON [PYTHON ...]`: the bare grpc.aio echo under several versions of grpcio.

Each PYTHON is the interpreter of an environment with one version of grpcio (and uvloop). The load is made by this
environment's client, and by h2load where it is installed, alternately as in the main table.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import uvloop

from authsvc.rpc.server import GrpcSettings
from bench import echo_grpc
from bench.load import GrpcClient, H2load, Latencies, repeated
from bench.processes import Cores, Process
from bench.rows import CALLERS

_REQUEST = bytes(range(256)) * 2
_REPLY_BYTES = 256
_VERSION = "import importlib.metadata as m; print(m.version('grpcio'))"


def main() -> None:
    """Measure and print one line per interpreter and generator."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=4000)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(given.pythons, rounds=given.rounds, calls=given.calls))


async def _run(pythons: list[str], *, rounds: int, calls: int) -> None:
    cores, program = Cores.of_this_machine(), shutil.which("h2load")
    names = [f"{number}: grpcio {_version(python)}" for number, python in enumerate(pythons, 1)]
    generators = ["grpc.aio client", *(["h2load"] if program else [])]
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {(n, g): [] for g in generators for n in names}
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as directory:
        options = ["--options", json.dumps(GrpcSettings().options()), "--reply-bytes", str(_REPLY_BYTES)]
        servers = [
            Process(
                f"echo{number}",
                [python, echo_grpc.__file__, *options],
                cores=cores,
                directory=Path(directory),
            )
            for number, python in enumerate(pythons, 1)
        ]
        try:
            targets = [server.start() for server in servers]
            cores.take_load_core()
            clients = [GrpcClient(target) for target in targets]
            h2load = H2load(program, directory=Path(directory)) if program else None
            for turn in range(rounds + 1):
                order = list(zip(names, servers, clients, targets, strict=True))
                for name, server, client, target in order if turn % 2 else reversed(order):
                    for generator in generators:
                        cpu_s, began = server.cpu_s(), time.perf_counter()
                        done = await _load(generator, client, h2load, target, calls=calls)
                        spent, wall = server.cpu_s() - cpu_s, time.perf_counter() - began
                        if turn:  # the first one warms up
                            seen[name, generator].append((spent / len(done) * 1e6, len(done) / wall))
            for client in clients:
                await client.close()
        finally:
            for server in servers:
                server.stop()
    print(cores.describe())
    for (name, generator), figures in seen.items():
        cpu_us, rate = (median(column) for column in zip(*figures, strict=True))
        ratio = median(
            us / base for (us, _), (base, _) in zip(figures, seen[names[0], generator], strict=True)
        )
        print(f"{name:<24}{generator:<18}{rate:>7.0f} calls/s{cpu_us:>8.1f} µs CPU/call{ratio:>7.2f} x")


async def _load(
    generator: str, client: GrpcClient, h2load: H2load | None, target: str, *, calls: int
) -> Latencies:
    if generator == "h2load" and h2load is not None:
        return await h2load.run(target, echo_grpc.METHOD, _REQUEST, calls=calls, callers=CALLERS)
    requests = repeated(_REQUEST, calls)
    return await client.run(echo_grpc.METHOD, requests, callers=CALLERS, begins=_REQUEST[:1])


def _version(python: str) -> str:
    told = subprocess.run([python, "-c", _VERSION], check=True, capture_output=True, text=True)  # noqa: S603
    return told.stdout.strip()


if __name__ == "__main__":
    main()
