"""Rounds: every row in turn, forwards and backwards, so that a drift of the machine hits all alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median, quantiles

from bench.load import CallsFailed
from bench.rows import Row, signature_check_us
from bench.stage import Stage

_CHECKS_PER_CALL = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one row: CPU time of all its server processes and wall time per call, and latencies."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Results:
    """Samples by row, one per round; `signature_us` likewise."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    signature_us: list[float] = field(default_factory=list)

    def cpu_us(self, name: str) -> float:
        """Return the median CPU time per call."""
        return median(sample.cpu_us for sample in self.samples[name])

    def added_us(self, name: str, *, over: str) -> float:
        """Return the median of the differences within a round."""
        pairs = zip(self.samples[name], self.samples[over], strict=True)
        return median(one.cpu_us - base.cpu_us for one, base in pairs)

    def ratio(self, name: str, *, over: str) -> float:
        """Return how many calls a second of the core serves, as a fraction of the bare row's."""
        pairs = zip(self.samples[name], self.samples[over], strict=True)
        # A tiny run may be shorter than the tick that CPU time is counted in.
        return median(base.cpu_us / one.cpu_us if one.cpu_us else inf for one, base in pairs)

    def bare_check_us(self) -> float:
        """Return the median CPU time of the bare signature check."""
        return median(self.signature_us)


async def measure(
    stage: Stage, rows: Sequence[Row], *, rounds: int, calls: int, tell: Callable[[str], None]
) -> Results:
    """
    Return the samples of *rounds* rounds, each row with its share of *calls*; one shorter round before is dropped.

    Raises:
        CallsFailed: some call was not answered as it should be.

    """
    results = Results({row.name: [] for row in rows})
    for row in rows:
        await _sample(stage, row, max(int(calls * row.share) // 4, 8))
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for row in rows if number % 2 == 0 else reversed(rows):
            results.samples[row.name].append(await _sample(stage, row, max(int(calls * row.share), 8)))
        results.signature_us.append(
            await signature_check_us(stage, checks=max(int(calls * _CHECKS_PER_CALL), 64))
        )
    return results


async def _sample(stage: Stage, row: Row, calls: int) -> Sample:
    send = await row.prepare(calls)
    verified = stage.verify_calls()
    cpu_s, began = _cpu_s(row), time.perf_counter()
    latencies = await send()
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s(row) - cpu_s
    if len(latencies) != calls:
        raise CallsFailed(f"{row.name}: {len(latencies)} of {calls} calls were answered")
    if row.verifies and stage.verify_calls() - verified != calls:
        # h2load takes any gRPC status for a success: the server knows better.
        raise CallsFailed(f"{row.name}: the server counts other than {calls} calls that ended OK")
    cuts = quantiles(latencies, n=100, method="inclusive")
    return Sample(
        cpu_us=cpu_s / calls * 1e6,
        rate=calls / wall_s,
        p50_ms=cuts[49] * 1e3,
        p99_ms=cuts[98] * 1e3,
    )


def _cpu_s(row: Row) -> float:
    return sum(process.cpu_s() for process in row.processes)
