"""A flood of tokens that name random keys: how often the keys are read for it, and what good tokens notice."""

import asyncio
import base64
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from math import inf
from statistics import median, quantiles

from authsvc_client import CannotKnow, Hooks, Inactive, InactiveReason, Verifier
from authsvc_client.verdicts import Active
from bench.load import CallsFailed
from bench.report import target
from bench.stage import APP, Stage

READS_IN_10_S = 1.0
TIMES_QUIET = 2.0
_JUNK_PER_S = 10_000
_GOOD_PER_S = 1_000
_GOOD_TOKENS = 64
# Reads are noted when they end: two that began 10 s apart may end closer together.
_WINDOW_S = 9.8


class _Reads(Hooks):
    """Notes when the keys were read."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def keys_read(self, *, ok: bool) -> None:
        """See Hooks."""
        del ok
        self.times.append(time.perf_counter())


def most_in_10_s(times: Sequence[float]) -> int:
    """Return how many of *times* lie in the 10 s that hold most of them."""
    return max((sum(begin <= at < begin + _WINDOW_S for at in times) for begin in times), default=0)


@dataclass(slots=True)
class _Phase:
    """A stretch of quiet or of flood: the good tokens' latencies in s, and how many junk tokens were judged."""

    seconds: float = 0.0
    junk: int = 0
    latencies: list[float] = field(default_factory=list)

    def p99(self) -> float:
        """Return the 99th percentile, in s."""
        return quantiles(self.latencies, n=100, method="inclusive")[98]


async def measure(stage: Stage, *, rounds: int, seconds: float) -> list[str]:
    """
    Return the lines of the comparison: in each round a quiet stretch and *seconds* of flood.

    Tokens arrive one by one, each at its time and in a task of its own, as a service's calls do. A latency counts from
    when a token was due, so that what waits behind the flood is seen to wait.

    Raises:
        CallsFailed: a good token was not judged so, or a junk one was.

    """
    reads, good, junk = _Reads(), cycle(await stage.tokens(_GOOD_TOKENS)), _junk(stage.token)
    quiet: list[_Phase] = []
    flood: list[_Phase] = []
    async with Verifier(stage.target, audience=APP, hooks=reads) as verifier:
        if not verifier.is_ready:
            raise CallsFailed("the verifier did not get its keys and revocations")
        await _phase(verifier, good, junk, seconds=min(seconds, 0.2), flooded=False)
        for number in range(rounds):
            for flooded in (False, True) if number % 2 == 0 else (True, False):
                phase = await _phase(verifier, good, junk, seconds=seconds, flooded=flooded)
                (flood if flooded else quiet).append(phase)
    ratio = median(
        loud.p99() / calm.p99() if calm.p99() else inf for loud, calm in zip(flood, quiet, strict=True)
    )
    judged, lasted = sum(phase.junk for phase in flood), sum(phase.seconds for phase in flood)
    return [
        f"{judged:,} tokens of random keys in {lasted:.1f} s ({judged / lasted:,.0f}/s)",
        f"good tokens, p99: {_p99_us(quiet):.0f} µs quiet, {_p99_us(flood):.0f} µs in the flood",
        target("random keys: reads of the keys in 10 s", most_in_10_s(reads.times), READS_IN_10_S, ""),
        target("random keys: p99 of good tokens over quiet", ratio, TIMES_QUIET, "x"),
    ]


def _p99_us(phases: list[_Phase]) -> float:
    return median(phase.p99() for phase in phases) * 1e6


async def _phase(
    verifier: Verifier, good: Iterator[str], junk: Iterator[str], *, seconds: float, flooded: bool
) -> _Phase:
    phase = _Phase()
    # Made beforehand: making one takes longer than judging it.
    flood = iter([next(junk) for _ in range(int(seconds * _JUNK_PER_S))] if flooded else [])

    async def judge_good(token: str, due: float) -> None:
        verdict = await verifier.verify(token)
        phase.latencies.append(time.perf_counter() - due)
        if not isinstance(verdict, Active):
            raise CallsFailed("a good token was not Active")

    async def judge_junk(token: str) -> None:
        try:
            verdict = await verifier.verify(token)
        except CannotKnow:
            phase.junk += 1
            return
        if not (isinstance(verdict, Inactive) and verdict.reason is InactiveReason.UNKNOWN_KEY):
            raise CallsFailed("a token of a random key was judged otherwise")
        phase.junk += 1

    began = time.perf_counter()
    good_due = (began + number / _GOOD_PER_S for number in count())
    next_good, next_junk = next(good_due), began
    async with asyncio.TaskGroup() as group:
        while (now := time.perf_counter()) < began + seconds:
            if next_junk <= now and (token := next(flood, None)) is not None:
                group.create_task(judge_junk(token))
                next_junk += 1 / _JUNK_PER_S
            if next_good <= now:
                group.create_task(judge_good(next(good), next_good))
                next_good = next(good_due)
            # The loop spins: timers are too coarse for arrivals a tenth of a millisecond apart.
            await asyncio.sleep(0)
    phase.seconds = time.perf_counter() - began
    return phase


def _junk(token: str) -> Iterator[str]:
    """Yield copies of *token*, each with a random key id that looks like ours."""
    _, payload, signature = token.split(".")
    while True:
        kid = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        header = json.dumps({"alg": "ES256", "kid": kid, "typ": "at+jwt"}, separators=(",", ":")).encode()
        yield f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{payload}.{signature}"
