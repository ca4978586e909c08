"""
`python -m bench.overload`: what is left of a server's peak when five times as much is asked of it.

Checks come from five times as many callers, who wait for their answers, as services do. Logins come through the edge and
are offered open-loop: each is sent at its time, whether or not the ones before were answered, as phones do. Goodput is
what was answered OK within the deadline. One line per kind of call; nothing is asserted, because figures of a busy
machine say little, and where all servers share one core the edge's refusals cost the server its time.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import uvloop

from bench.load import CallsFailed
from bench.processes import Cores, NotStarted
from bench.stage import APP, VERIFY, Stage

TIMES = 5
_CALLERS = (16, 64, 192)
# A phone waits this long; a service that checks a token has less.
_LOGIN_PATIENCE, _CHECK_PATIENCE_S = aiohttp.ClientTimeout(total=5), 1.0
# Sends one request and says what became of it: OK, or a word for why not.
Send = Callable[[bytes], Awaitable[str]]


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
            await _checks(stage, seconds)
            await _logins(stage, seconds)
        finally:
            await stage.close()


async def _checks(stage: Stage, seconds: float) -> None:
    async with grpc.aio.insecure_channel(stage.target, options=[("grpc.enable_retries", 0)]) as channel:
        call = channel.unary_unary(VERIFY, None, None)

        async def send(request: bytes) -> str:
            try:
                await call(request, timeout=_CHECK_PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return "OK"

        requests = itertools.repeat(stage.request())
        runs = [await _closed(send, requests, callers, seconds / 2) for callers in _CALLERS]
        most = _CALLERS[-1] * TIMES
        _tell(f"VerifyToken, {most} at once", runs, await _closed(send, requests, most, seconds))


async def _logins(stage: Stage, seconds: float) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=_LOGIN_PATIENCE) as session:

        async def send(body: bytes) -> str:
            try:
                async with session.post(f"{stage.edge_url}/api/v1/login", data=body, headers=_JSON) as answer:
                    content = await answer.json()
                    return "OK" if answer.status == 200 else str(content["error"]["reason"])
            except (TimeoutError, aiohttp.ClientError) as error:
                return type(error).__name__

        runs = []
        for callers in _CALLERS:
            requests = await _bodies(stage, int(seconds * 500))
            runs.append(await _closed(send, requests, callers, seconds / 2))
        offered = max(run.good_per_s for run in runs) * TIMES
        requests = await _bodies(stage, int(offered * seconds))
        _tell("Login, open loop", runs, await _open(send, requests, offered, seconds))


_JSON = {"Content-Type": "application/json"}


def _tell(name: str, runs: Iterable[Run], beyond: Run) -> None:
    peak = max(run.good_per_s for run in runs)
    print(
        f"{name}: peak {peak:.0f}/s; at {beyond.offered_per_s:.0f}/s offered {beyond.good_per_s:.0f}/s good,"
        f" {beyond.good_per_s / peak:.0%} of the peak; {dict(beyond.outcomes)}"
    )


async def _bodies(stage: Stage, count: int) -> Iterable[bytes]:
    codes = [json.loads(body)["code"] for body in await stage.codes(count)]
    return iter(
        [
            json.dumps({"app_id": APP, "code": code, "device_id": f"phone-{number}"}).encode()
            for number, code in enumerate(codes)
        ]
    )


async def _closed(send: Send, requests: Iterable[bytes], callers: int, seconds: float) -> Run:
    """Let *callers* call, each its next one when the last is answered."""
    outcomes: Counter[str] = Counter()
    queue, began = iter(requests), time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() < began + seconds and (request := next(queue, None)) is not None:
            outcomes[await send(request)] += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    spent = time.perf_counter() - began
    return Run(sum(outcomes.values()) / spent, outcomes["OK"] / spent, outcomes)


async def _open(send: Send, requests: Iterable[bytes], per_s: float, seconds: float) -> Run:
    """Send each request at its time."""
    outcomes: Counter[str] = Counter()
    tasks: set[asyncio.Task[None]] = set()

    async def once(request: bytes) -> None:
        outcomes[await send(request)] += 1

    began, sent = time.perf_counter(), 0
    for request in requests:
        while sent >= (time.perf_counter() - began) * per_s:  # noqa: ASYNC110 - a time is waited for
            await asyncio.sleep(0.001)
        if time.perf_counter() - began > seconds:
            break
        sent += 1
        task = asyncio.ensure_future(once(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    offering = time.perf_counter() - began
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    return Run(sent / offering, outcomes["OK"] / spent, outcomes)


if __name__ == "__main__":
    main()
