"""
`python -m bench.overload`: what is left of a server's peak when five times as much is asked of it.

Checks come from five times as many callers, who wait for their answers, as services do. Logins are offered open-loop: each
is sent at its time, whether or not the ones before were answered, as phones do. Goodput is what was answered OK within
the deadline. One line per kind of call; nothing is asserted, because figures of a busy machine say little.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from bench.load import CallsFailed
from bench.processes import Cores, NotStarted
from bench.stage import APP, VERIFY, Stage

LOGIN = "/authapi.v1.AuthService/Login"
TIMES = 5
_CALLERS = (16, 64, 192)
# A phone waits this long; a service that checks a token has less.
_PATIENCE_S = {LOGIN: 5.0, VERIFY: 1.0}


@dataclass(slots=True)
class Run:
    """What became of the calls of one run."""

    offered_per_s: float
    good_per_s: float
    outcomes: Counter[str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="length of each run (default 10)")
    given = parser.parse_args()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(given.seconds))
    except* (CallsFailed, NotStarted) as failures:
        sys.exit("\n".join(str(failure) for failure in failures.exceptions))


async def _measure(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="authsvc-overload-") as name:
        stage = Stage(Path(name), cores=Cores.of_this_machine(), h2load=None)
        try:
            stage.start()
            await stage.open()
            checks = itertools.repeat(stage.request())
            peak = Run(0, 0, Counter())
            for callers in _CALLERS:
                run = await _closed(stage.target, VERIFY, checks, callers, seconds / 2)
                peak = max(peak, run, key=lambda one: one.good_per_s)
            most = _CALLERS[-1] * TIMES
            beyond = await _closed(stage.target, VERIFY, checks, most, seconds)
            _tell(f"VerifyToken, {most} at once", peak, beyond)
            peak = Run(0, 0, Counter())
            for callers in _CALLERS:
                codes = await _requests(stage, int(seconds * 500))
                run = await _closed(stage.target, LOGIN, codes, callers, seconds / 2)
                peak = max(peak, run, key=lambda one: one.good_per_s)
            offered = peak.good_per_s * TIMES
            codes = await _requests(stage, int(offered * seconds))
            _tell("Login, open loop", peak, await _open(stage.target, LOGIN, codes, offered, seconds))
        finally:
            await stage.close()


def _tell(name: str, peak: Run, beyond: Run) -> None:
    print(
        f"{name}: peak {peak.good_per_s:.0f}/s; at {beyond.offered_per_s:.0f}/s offered {beyond.good_per_s:.0f}/s good,"
        f" {beyond.good_per_s / peak.good_per_s:.0%} of the peak; {dict(beyond.outcomes)}"
    )


async def _requests(stage: Stage, count: int) -> Iterable[bytes]:
    bodies = [json.loads(body) for body in await stage.codes(count)]
    return iter(
        [
            pb.LoginRequest(
                app_id=APP,
                mini_program_code=body["code"],
                client=types_pb2.ClientInfo(ip="203.0.113.7", device_id=f"phone-{number}"),
            ).SerializeToString()
            for number, body in enumerate(bodies)
        ]
    )


async def _closed(target: str, method: str, requests: Iterable[bytes], callers: int, seconds: float) -> Run:
    """Let *callers* call, each its next one when the last is answered."""
    outcomes: Counter[str] = Counter()
    queue, began = iter(requests), time.perf_counter()
    ends = began + seconds
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_retries", 0)]) as channel:
        send = channel.unary_unary(method, None, None)

        async def caller() -> None:
            while time.perf_counter() < ends and (request := next(queue, None)) is not None:
                await _once(send, request, method, outcomes)

        await asyncio.gather(*(caller() for _ in range(callers)))
    spent = time.perf_counter() - began
    return Run(sum(outcomes.values()) / spent, outcomes["OK"] / spent, outcomes)


async def _open(target: str, method: str, requests: Iterable[bytes], per_s: float, seconds: float) -> Run:
    """Send each request at its time, over several connections as several edges would."""
    outcomes: Counter[str] = Counter()
    channels = [
        grpc.aio.insecure_channel(target, options=[("grpc.enable_retries", 0), ("bench.number", number)])
        for number in range(4)
    ]
    sends = itertools.cycle([channel.unary_unary(method, None, None) for channel in channels])
    began, sent, tasks = time.perf_counter(), 0, set[asyncio.Task[None]]()
    for request in requests:
        while sent >= (time.perf_counter() - began) * per_s:  # noqa: ASYNC110 - a time is waited for
            await asyncio.sleep(0.001)
        if time.perf_counter() - began > seconds:
            break
        sent += 1
        task = asyncio.ensure_future(_once(next(sends), request, method, outcomes))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    offering = time.perf_counter() - began
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    for channel in channels:
        await channel.close(None)
    return Run(sent / offering, outcomes["OK"] / spent, outcomes)


async def _once(send: object, request: bytes, method: str, outcomes: Counter[str]) -> None:
    try:
        await send(request, timeout=_PATIENCE_S[method])  # type: ignore[operator]
    except grpc.aio.AioRpcError as error:
        outcomes[error.code().name] += 1
    else:
        outcomes["OK"] += 1


if __name__ == "__main__":
    main()
