"""A grpc.aio echo with the client library's interceptor in front of it, beside the same echo without any auth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from math import inf
from statistics import median

import grpc
import grpc.aio

from bench.load import CallsFailed, spread
from bench.processes import Process
from bench.report import target
from bench.stage import ECHO, Stage

KEPT = 0.93
_CALLERS = 16
_TOKENS = 200
Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Row:
    name: str
    process: Process
    target: str
    metadata: Sequence[Metadata]
    cpu_us: list[float] = field(default_factory=list)


async def measure(stage: Stage, *, rounds: int, calls: int) -> list[str]:
    """
    Return the lines of the comparison, by the CPU time of the echo's process: medians of *rounds* rounds of *calls*.

    The tokens are good, some hundred, in turn. The echo is called with the same metadata, and also with none: a header
    costs the engine something whether or not anybody looks at it.

    Raises:
        CallsFailed: a call was refused.
        NotStarted: the guarded echo did not get ready.

    """
    bearing = [(("authorization", f"Bearer {token}"),) for token in await stage.tokens(_TOKENS)]
    guarded = stage.guarded_echo()
    address = guarded.start()
    try:
        bare = _Row("echo, calls without a token", stage.echo, stage.echo_target, [()])
        same = _Row("echo, calls with a token", stage.echo, stage.echo_target, bearing)
        ours = _Row("echo behind AuthInterceptor", guarded, address, bearing)
        rows = (bare, same, ours)
        for row in rows:
            await _sample(row, stage.request(), max(calls // 4, _TOKENS))
        for number in range(rounds):
            for row in rows if number % 2 == 0 else reversed(rows):
                row.cpu_us.append(await _sample(row, stage.request(), calls))
    finally:
        guarded.stop()
    return [
        "; ".join(f"{row.name}: {median(row.cpu_us):.1f} µs CPU" for row in rows),
        target("interceptor: throughput kept, same calls", _kept(ours, same), KEPT, "", at_least=True),
        target("interceptor: kept, of calls without a token", _kept(ours, bare), KEPT, "", at_least=True),
    ]


def _kept(row: _Row, base: _Row) -> float:
    pairs = zip(row.cpu_us, base.cpu_us, strict=True)
    return median(without / guarded if guarded else inf for guarded, without in pairs)


async def _sample(row: _Row, request: bytes, calls: int) -> float:
    async with grpc.aio.insecure_channel(row.target, options=[("grpc.enable_retries", 0)]) as channel:
        send = channel.unary_unary(ECHO, None, None)
        headers: Iterable[Metadata] = cycle(row.metadata)

        async def call(metadata: Metadata) -> None:
            try:
                await send(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                raise CallsFailed(f"{row.name}: {error.code().name}: {error.details()}") from None

        await spread(islice(headers, _CALLERS), callers=_CALLERS, call=call)
        before = row.process.cpu_s()
        await spread(islice(headers, calls), callers=_CALLERS, call=call)
        return (row.process.cpu_s() - before) / calls * 1e6
