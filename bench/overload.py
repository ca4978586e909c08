"""
`python -m bench.overload`: what is left of a server's peak when five times as much is asked of it.

Checks come from five times as many callers, who wait for their answers, as services do. Logins come through the edge and
are offered open-loop: each is sent at its time, whether or not the ones before were answered, as phones do, over
connections that are kept; who is refused does not try again. Goodput is what was answered OK in time. Peak and overload
take turns, and their medians are told, because a busy machine changes from one second to the next. What was refused
spent no code, so its code is offered again: had it been claimed after all, LOGIN_CODE_USED would stand among the outcomes.
"""

import asyncio
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self, cast

import grpc
import grpc.aio

from bench.alone import Effort, run_alone, tell
from bench.report import target
from bench.stage import APP, VERIFY, Stage

TIMES = 5
KEPT_PERCENT = 80.0
_CALLERS = (16, 64, 192)
_LOGIN_CALLERS = (8, 16, 32)
# Who logs in waits this long; so does a service that checks a token.
_PATIENCE_S = 1.0
# More than a machine like this answers at its peak in a second, to have codes enough.
_LOGINS_PER_S = 600
# Per effort: seconds of overload in a round, of which peaks take half, and rounds.
_SIZES = {Effort.FULL: (10.0, 3), Effort.QUICK: (2.0, 2), Effort.TINY: (0.2, 1)}
# Sends one request and says what became of it: OK, or a word for why not.
Send = Callable[[bytes], Awaitable[str]]


@dataclass(slots=True)
class Run:
    """What became of the calls of one run."""

    offered_per_s: float
    good_per_s: float
    outcomes: Counter[str]


async def section(stage: Stage, effort: Effort) -> list[str]:
    """
    Return the section's lines.

    Raises:
        CallsFailed: codes for the logins could not be had.

    """
    seconds, rounds = _SIZES[effort]
    tell("overload: checks")
    lines = [
        f"{TIMES} times the load of the peak; medians of {rounds} rounds",
        *await _checks(stage, seconds, rounds),
    ]
    tell("overload: logins")
    return [*lines, *await _logins(stage, seconds, rounds)]


async def _checks(stage: Stage, seconds: float, rounds: int) -> list[str]:
    async with grpc.aio.insecure_channel(stage.target, options=[("grpc.enable_retries", 0)]) as channel:
        call = channel.unary_unary(VERIFY, None, None)

        async def send(request: bytes) -> str:
            try:
                await call(request, timeout=_PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return "OK"

        requests = itertools.repeat(stage.request())
        trials = [await _closed(send, requests, callers, seconds / 4) for callers in _CALLERS]
        best = _CALLERS[max(range(len(trials)), key=lambda at: trials[at].good_per_s)]
        most = _CALLERS[-1] * TIMES
        peaks, beyonds = [], []
        for _ in range(rounds):
            peaks.append(await _closed(send, requests, best, seconds / 2))
            beyonds.append(await _closed(send, requests, most, seconds))
        return _lines(f"VerifyToken, {most} at once", peaks, beyonds)


async def _logins(stage: Stage, seconds: float, rounds: int) -> list[str]:
    bodies = deque(await _bodies(stage, _codes_for(_LOGINS_PER_S, seconds * len(_LOGIN_CALLERS) / 4)))
    async with Phones(stage.edge_url) as phones:

        async def send(body: bytes) -> str:
            began = time.perf_counter()
            outcome = await phones.login(body)
            if outcome == "RATE_LIMITED":
                bodies.append(body)
            late = time.perf_counter() - began > _PATIENCE_S
            return "late" if late and outcome == "OK" else outcome

        def fresh() -> Iterator[bytes]:
            while bodies:
                yield bodies.popleft()

        trials = [await _closed(send, fresh(), callers, seconds / 4) for callers in _LOGIN_CALLERS]
        best = _LOGIN_CALLERS[max(range(len(trials)), key=lambda at: trials[at].good_per_s)]
        likely_per_s = max(trial.good_per_s for trial in trials)
        bodies.extend(await _bodies(stage, _codes_for(likely_per_s, rounds * seconds * 1.5)))
        peaks: list[Run] = []
        beyonds: list[Run] = []
        spent_s = dict.fromkeys((stage.server, stage.edge), 0.0)
        for _ in range(rounds):
            peaks.append(await _closed(send, fresh(), best, seconds / 2))
            offered = median(run.good_per_s for run in peaks) * TIMES
            before_s = {process: process.cpu_s() for process in spent_s}
            beyonds.append(await _open(send, fresh(), offered, seconds))
            for process in spent_s:
                spent_s[process] += process.cpu_s() - before_s[process]
    each = ", ".join(f"{process.name} {spent:.1f}" for process, spent in spent_s.items())
    return [
        *_lines("Login through the edge, open loop", peaks, beyonds),
        f"CPU seconds of the logins beyond the peak: {each}",
    ]


def _codes_for(per_s: float, seconds: float) -> int:
    """Return how many codes these seconds take, with some to spare; what is refused gives its code back."""
    return max(int(per_s * seconds * 1.5), 300)


def _lines(name: str, peaks: Sequence[Run], beyonds: Sequence[Run]) -> list[str]:
    peak, good = (median(run.good_per_s for run in runs) for runs in (peaks, beyonds))
    offered = median(run.offered_per_s for run in beyonds)
    outcomes = sum((run.outcomes for run in beyonds), Counter[str]())
    ends = ", ".join(f"{count:,} {how}" for how, count in outcomes.most_common())
    kept = good / peak * 100 if peak else 0.0
    return [
        f"{name}: peak {peak:.0f}/s; at {offered:.0f}/s offered {good:.0f}/s good; {ends}",
        target(f"{name}: kept", kept, KEPT_PERCENT, "%", at_least=True),
    ]


async def _bodies(stage: Stage, count: int) -> list[bytes]:
    codes = [json.loads(body)["code"] for body in await stage.codes(count)]
    return [
        json.dumps({"app_id": APP, "code": code, "device_id": f"phone-{number}"}).encode()
        for number, code in enumerate(codes)
    ]


class Phones:
    """As many kept connections to the edge as are needed at once; lean, to leave the core to what is measured."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._idle: deque[_Phone] = deque()
        self._all: set[_Phone] = set()

    async def __aenter__(self) -> Self:
        """Return itself; connections come with the calls."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        for phone in self._all:
            phone.close()

    async def login(self, body: bytes) -> str:
        """Return OK, the reason of a refusal, or what became of the connection."""
        while self._idle and self._idle[-1].is_closed:
            self._idle.pop()
        try:
            phone = self._idle.pop() if self._idle else await self._open()
            head = f"POST /api/v1/login HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n"
            status, content = await phone.ask(
                head.encode() + b"Content-Type: application/json\r\n\r\n" + body
            )
        except OSError as error:
            return type(error).__name__
        self._idle.append(phone)
        return "OK" if status == 200 else str(json.loads(content)["error"]["reason"])

    async def _open(self) -> "_Phone":
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_connection(_Phone, self._host, self._port)
        self._all.add(phone)
        return phone


class _Phone(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """Return status and body, once they are there."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._received = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed"))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


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
    run_alone("overload", __doc__, section)
