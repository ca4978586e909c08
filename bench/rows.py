"""The rows of the table: what is called, by which generator, and which processes work for it."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.load import CallsFailed, Latencies, repeated
from bench.processes import Process
from bench.stage import ACTIVE, APP, CHECKED_ECHO, ECHO, VERIFY, Stage

CALLERS = 16
_LOGIN_CALLERS = 8
_CLIENT, _H2LOAD, _HTTP = "grpc.aio client", "h2load", "HTTP/1.1 client"

Send = Callable[[], Awaitable[Latencies]]
Prepare = Callable[[int], Awaitable[Send]]


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row. `prepare` does what must not be measured and returns what is; `share` is the row's part of the calls.

    `baseline` is the row that this one is a ratio of, itself for the bare ones; `processes` are all that work for a
    call, the edge's rows have several. `verifies`: the server must count one VerifyToken per call.
    """

    name: str
    generator: str
    baseline: str
    processes: tuple[Process, ...]
    prepare: Prepare
    share: float = 1.0
    verifies: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The rows that the targets speak of, for one generator."""

    echo: str
    cached: str


BY_CLIENT = Names("bare grpc.aio echo", "VerifyToken, cached")
BY_H2LOAD = Names("bare grpc.aio echo (h2load)", "VerifyToken, cached (h2load)")
CHECKED = "bare echo + bare ES256 check"
FIRST_SEEN = "VerifyToken, first seen (ES256)"
BARE_HTTP = "bare aiohttp handler"
EDGE_VERIFY = "edge GET /api/v1/verify"
EDGE_LOGIN = "edge POST /api/v1/login"


def rows(stage: Stage) -> tuple[Row, ...]:
    """Return the table's rows, in its order."""
    return (*_by_h2load(stage), *_by_client(stage), *_over_http(stage))


def _by_h2load(stage: Stage) -> tuple[Row, ...]:
    h2load = stage.h2load
    if h2load is None:
        return ()
    request = stage.request()

    async def echo(calls: int) -> Send:
        return lambda: h2load.run(stage.echo_target, ECHO, request, calls=calls, callers=CALLERS)

    async def cached(calls: int) -> Send:
        await stage.grpc.run(VERIFY, [request], callers=1, begins=ACTIVE)
        return lambda: h2load.run(stage.target, VERIFY, request, calls=calls, callers=CALLERS)

    names = BY_H2LOAD
    return (
        Row(names.echo, _H2LOAD, names.echo, (stage.echo,), echo),
        Row(names.cached, _H2LOAD, names.echo, (stage.server,), cached, verifies=True),
    )


def _by_client(stage: Stage) -> tuple[Row, ...]:
    request = stage.request()

    async def echo(calls: int) -> Send:
        return lambda: stage.echo_grpc.run(
            ECHO, repeated(request, calls), callers=CALLERS, begins=request[:1]
        )

    async def cached(calls: int) -> Send:
        await stage.grpc.run(VERIFY, [request], callers=1, begins=ACTIVE)
        return lambda: stage.grpc.run(VERIFY, repeated(request, calls), callers=CALLERS, begins=ACTIVE)

    async def checked(calls: int) -> Send:
        requests = repeated(request, calls)
        return lambda: stage.echo_grpc.run(CHECKED_ECHO, requests, callers=CALLERS, begins=request[:1])

    async def first_seen(calls: int) -> Send:
        unseen = await stage.unseen(calls)
        return lambda: stage.grpc.run(VERIFY, unseen, callers=CALLERS, begins=ACTIVE)

    names = BY_CLIENT
    return (
        Row(names.echo, _CLIENT, names.echo, (stage.echo,), echo),
        Row(names.cached, _CLIENT, names.echo, (stage.server,), cached, verifies=True),
        Row(CHECKED, _CLIENT, names.echo, (stage.echo,), checked),
        Row(FIRST_SEEN, _CLIENT, names.echo, (stage.server,), first_seen, verifies=True),
    )


def _over_http(stage: Stage) -> tuple[Row, ...]:
    bearer = f"Authorization: Bearer {stage.token}\r\n"
    nothing = stage.bare_http.request("GET /", headers=bearer)
    verify = stage.http.request(f"GET /api/v1/verify?audience={APP}", headers=bearer)

    async def bare(calls: int) -> Send:
        return lambda: stage.bare_http.run(repeated(nothing, calls), callers=CALLERS)

    async def edge_verify(calls: int) -> Send:
        return lambda: stage.http.run(repeated(verify, calls), callers=CALLERS)

    async def edge_login(calls: int) -> Send:
        logins = await stage.logins(calls)
        return lambda: stage.http.run(logins, callers=_LOGIN_CALLERS)

    return (
        Row(BARE_HTTP, _HTTP, BARE_HTTP, (stage.bare,), bare),
        Row(EDGE_VERIFY, _HTTP, BARE_HTTP, (stage.edge,), edge_verify, 0.5),
        Row(EDGE_LOGIN, _HTTP, BARE_HTTP, (stage.edge, stage.server, stage.sandbox), edge_login, 0.1),
    )


async def signature_check_us(stage: Stage, *, checks: int) -> float:
    """Return the CPU time of one bare ES256 check on the servers' core, over as many bytes as our token signs."""
    signed = len(stage.token.rpartition(".")[0])
    command = [sys.executable, "-m", "bench.signature", "--checks", str(checks), "--bytes", str(signed)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    stage.cores.take_servers_core(process.pid)
    told, _ = await process.communicate()
    if process.returncode:
        raise CallsFailed("the bare signature check failed")
    return float(told)
