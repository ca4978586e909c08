"""The Python verifier: a check in this process against a call of VerifyToken, and a first-seen token against its bare check."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from statistics import median
from typing import TypeVar

from authsvc_client import Active, Verifier
from bench.load import CallsFailed, repeated
from bench.report import target
from bench.signature import signature_checks
from bench.stage import ACTIVE, APP, VERIFY, Stage

TIMES_REMOTE = 100.0
BEYOND_CHECK_US = 15.0
_CALLERS = 16
_LOCAL_PER_REMOTE = 50
_WARM_TOKENS = 64
# Long enough for the processor to have the code of each at hand, as a service that checks nothing but new tokens has.
_TURN = 500

Item = TypeVar("Item")


async def measure(stage: Stage, *, rounds: int, calls: int) -> list[str]:
    """
    Return the lines of both comparisons: medians of *rounds* rounds of *calls* calls and *calls* // 2 new tokens.

    Raises:
        CallsFailed: a good token was not judged so.

    """
    warm = await stage.tokens(_WARM_TOKENS)
    async with Verifier(stage.target, audience=APP) as verifier:
        _must_be_ready(verifier)
        await _local_rate(verifier, warm, 1000)
        remote, local, first_us, bare_us = [], [], [], []
        for number in range(rounds):
            new = await stage.tokens(max(calls // 2, 1))
            one, other = _first_seen(verifier, new, bare_first=number % 2 == 0)
            first_us.append(one)
            bare_us.append(other)
            remote.append(await _remote_rate(stage, calls))
            local.append(await _local_rate(verifier, warm, calls * _LOCAL_PER_REMOTE))
    ratio = median(one / other for one, other in zip(local, remote, strict=True))
    beyond = median(one - other for one, other in zip(first_us, bare_us, strict=True))
    return [
        f"warm local check: {median(local):,.0f}/s; VerifyToken with {_CALLERS} callers: {median(remote):,.0f}/s",
        f"first-seen token: {median(first_us):.1f} µs CPU; bare ES256 check: {median(bare_us):.1f} µs",
        target("local check, warm, over VerifyToken", ratio, TIMES_REMOTE, "x", at_least=True),
        target("first-seen token: CPU beyond the bare check", beyond, BEYOND_CHECK_US, "µs"),
    ]


def _must_be_ready(verifier: Verifier) -> None:
    if not verifier.is_ready:
        raise CallsFailed("the verifier did not get its keys and revocations")


async def _remote_rate(stage: Stage, calls: int) -> float:
    began = time.perf_counter()
    await stage.grpc.run(VERIFY, repeated(stage.request(), calls), callers=_CALLERS, begins=ACTIVE)
    return calls / (time.perf_counter() - began)


async def _local_rate(verifier: Verifier, tokens: Sequence[str], calls: int) -> float:
    began = time.perf_counter()
    for token in islice(cycle(tokens), calls):
        if not isinstance(await verifier.verify(token), Active):
            raise CallsFailed("a good token was not Active")
    spent = time.perf_counter() - began
    # The stream had no turn in the loop above.
    await asyncio.sleep(0)
    return calls / spent


def _first_seen(verifier: Verifier, new: Sequence[str], *, bare_first: bool) -> tuple[float, float]:
    """Return the CPU time per new token and per bare check, in µs, measured in short turns."""
    bare = cycle(signature_checks(signed_bytes=len(new[0].rpartition(".")[0])))
    first_us, bare_us = [], []
    for at in range(0, len(new), _TURN):
        turn = new[at : at + _TURN]
        if bare_first:
            bare_us.append(_each_us(islice(bare, len(turn)), _call))
        first_us.append(_each_us(turn, lambda token: _must_pass(verifier, token)))
        if not bare_first:
            bare_us.append(_each_us(islice(bare, len(turn)), _call))
    return median(first_us), median(bare_us)


def _each_us(items: Iterable[Item], work: Callable[[Item], object]) -> float:
    """Return the CPU time per item of this thread alone: gRPC's threads go on beside it."""
    began, count = time.thread_time(), 0
    for item in items:
        work(item)
        count += 1
    return (time.thread_time() - began) / count * 1e6


def _call(check: Callable[[], None]) -> None:
    check()


def _must_pass(verifier: Verifier, token: str) -> None:
    if not isinstance(verifier.check(token), Active):
        raise CallsFailed("a good token was not Active")
