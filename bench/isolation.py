"""
`python -m bench.isolation`: what the logins of one app notice while the WeChat of another app hangs.

Rounds have a quiet half, with logins of one app only, and one in which another app's logins come in beside them at a
steady pace; their WeChat takes connections and never answers. Each login is sent at its time, whether or not the ones
before were answered, and its latency counts from then.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Self

import aiohttp

from bench.alone import Effort, run_alone, tell
from bench.load import CallsFailed, Latencies
from bench.report import target
from bench.stage import APP, HANGING_APP, Stage

WITHIN = 1.10
_LOGINS_PER_S = 50
_HANGING_PER_S = 20
# Longer than any deadline of the service: what ends a login that hangs is the service.
_PATIENCE = aiohttp.ClientTimeout(total=60)
_JSON = {"Content-Type": "application/json"}
# Per effort: rounds, seconds of each half.
_SIZES = {Effort.FULL: (7, 5.0), Effort.QUICK: (2, 2.5), Effort.TINY: (1, 0.4)}

Send = Callable[[bytes], Awaitable[None]]


async def section(stage: Stage, effort: Effort) -> list[str]:
    """
    Return the section's lines.

    Raises:
        CallsFailed: a login of the app whose WeChat is well failed.

    """
    rounds, seconds = _SIZES[effort]
    quiet: list[Latencies] = []
    beside: list[Latencies] = []
    ends: Counter[str] = Counter()
    async with _Edge(stage) as edge:
        await _paced(await edge.logins(seconds), edge.log_in, per_s=_LOGINS_PER_S)
        for number in range(rounds):
            tell(f"isolation: round {number + 1} of {rounds}")
            for is_hanging in (False, True) if number % 2 == 0 else (True, False):
                logins = await edge.logins(seconds)
                if is_hanging:
                    async with edge.hanging_logins(ends):
                        beside.append(await _paced(logins, edge.log_in, per_s=_LOGINS_PER_S))
                else:
                    quiet.append(await _paced(logins, edge.log_in, per_s=_LOGINS_PER_S))
    return [
        f"logins of one app at {_LOGINS_PER_S}/s: {_both(quiet)} quiet",
        f"beside {_HANGING_PER_S}/s of an app whose WeChat hangs: {_both(beside)}",
        f"those ended: {', '.join(f'{count} {how}' for how, count in ends.most_common())}",
        target("login p50 while another app hangs, over quiet", _ratio(beside, quiet, 50), WITHIN, "x"),
        target("login p99 while another app hangs, over quiet", _ratio(beside, quiet, 99), WITHIN, "x"),
    ]


def _percentile(latencies: Latencies, percent: int) -> float:
    return quantiles(latencies, n=100, method="inclusive")[percent - 1]


def _both(rounds: list[Latencies]) -> str:
    p50, p99 = (median(_percentile(one, percent) for one in rounds) * 1e3 for percent in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _ratio(beside: list[Latencies], quiet: list[Latencies], percent: int) -> float:
    """Return the median over the rounds: a stall of the machine in one of them is not the service's."""
    pairs = zip(beside, quiet, strict=True)
    return median(_percentile(one, percent) / _percentile(other, percent) for one, other in pairs)


class _Edge:
    """Phones of both apps, at the edge."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._url = f"{stage.edge_url}/api/v1/login"
        self._hung = itertools.count()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_PATIENCE)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def logins(self, seconds: float) -> list[bytes]:
        """Return bodies of as many logins as these seconds take."""
        codes = [json.loads(body)["code"] for body in await self._stage.codes(int(seconds * _LOGINS_PER_S))]
        return [json.dumps({"app_id": APP, "code": code}).encode() for code in codes]

    async def log_in(self, body: bytes) -> None:
        """
        Log in the app whose WeChat is well.

        Raises:
            CallsFailed: it was refused.

        """
        status, answer = await self._post(body)
        if status != 200:
            raise CallsFailed(f"a login beside a hanging app: {status} {_reason(answer)}")

    @asynccontextmanager
    async def hanging_logins(self, ends: Counter[str]) -> AsyncIterator[None]:
        """Send logins of the other app meanwhile, and count how they end; leaving waits for those on their way."""

        async def log_in(body: bytes) -> None:
            began = time.perf_counter()
            status, answer = await self._post(body)
            when = "at once" if time.perf_counter() - began < 1 else "by deadline"
            ends[f"{status} {_reason(answer)} {when}"] += 1

        bodies = (
            json.dumps({"app_id": HANGING_APP, "code": f"hanging-{number}"}).encode() for number in self._hung
        )
        stopped = asyncio.Event()
        sending = asyncio.create_task(
            _paced(_until(stopped, bodies), log_in, per_s=_HANGING_PER_S), name="hanging logins"
        )
        try:
            yield
        finally:
            stopped.set()
            await sending

    async def _post(self, body: bytes) -> tuple[int, object]:
        async with self._session.post(self._url, data=body, headers=_JSON) as answer:
            return answer.status, await answer.json()


def _reason(answer: object) -> str:
    match answer:
        case {"error": {"reason": str(reason)}}:
            return reason
    return ""


def _until(stopped: asyncio.Event, bodies: Iterable[bytes]) -> Iterable[bytes]:
    return itertools.takewhile(lambda _: not stopped.is_set(), bodies)


async def _paced(bodies: Iterable[bytes], send: Send, *, per_s: float) -> Latencies:
    """Send each at its time, and return every latency, in s from that time."""
    latencies: Latencies = []

    async def once(body: bytes, due: float) -> None:
        await send(body)
        latencies.append(time.perf_counter() - due)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, body in enumerate(bodies):
            due = began + number / per_s
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            group.create_task(once(body, due))
    return latencies


if __name__ == "__main__":
    run_alone("isolation", __doc__, section)
