"""AuthClient's coalesced remote checks, beside one VerifyToken for each."""

import time
from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from statistics import median
from typing import Any

import grpc.aio

from authapi.v1 import AuthServiceStub, VerifyTokenRequest, VerifyTokenResponse
from authsvc_client import AuthClient, channel_options
from bench.load import CallsFailed, spread
from bench.report import target
from bench.stage import APP, Stage

TIMES = {1: 0.95, 32: 10.0, 128: 20.0}
"""By how many callers there are: how many times as many checks a second."""
_TOKENS = 64
# So that plain calls and coalesced ones take about as long.
_COALESCED_PER_PLAIN = {1: 1, 32: 8, 128: 12}
_LONE_SHARE = 0.5
Ask = Callable[[str], Awaitable[VerifyTokenResponse]]


async def measure(stage: Stage, *, rounds: int, calls: int) -> list[str]:
    """
    Return one line per number of callers: medians of *rounds* rounds of *calls* plain calls.

    Raises:
        CallsFailed: a good token was not judged so.

    """
    tokens = await stage.tokens(_TOKENS)
    # Both over channels of their own with the options that the library ships.
    async with (
        grpc.aio.insecure_channel(stage.target, options=[*channel_options(), ("bench", 1)]) as channel,
        AuthClient(stage.target) as client,
    ):
        verify: Any = AuthServiceStub(channel).VerifyToken

        async def plain(token: str) -> VerifyTokenResponse:
            response: VerifyTokenResponse = await verify(
                VerifyTokenRequest(access_token=token, audience=APP), timeout=10
            )
            return response

        async def coalesced(token: str) -> VerifyTokenResponse:
            return await client.verify_token(token, audience=APP)

        lines = []
        for callers, limit in TIMES.items():
            count = max(int(calls * (_LONE_SHARE if callers == 1 else 1)), callers)
            most = count * _COALESCED_PER_PLAIN[callers]
            ways: dict[Ask, tuple[int, list[float]]] = {plain: (count, []), coalesced: (most, [])}
            for number in range(rounds):
                for ask in ways if number % 2 == 0 else reversed(ways):
                    amount, rates = ways[ask]
                    await _rate(ask, tokens, callers=callers, calls=callers)
                    rates.append(await _rate(ask, tokens, callers=callers, calls=amount))
            (_, one), (_, many) = ways.values()
            ratio = median(coalesced_rate / rate for coalesced_rate, rate in zip(many, one, strict=True))
            lines.append(f"{callers} callers: plain {median(one):,.0f}/s, coalesced {median(many):,.0f}/s")
            lines.append(target(f"coalesced checks, {callers} callers", ratio, limit, "x", at_least=True))
    return lines


async def _rate(ask: Ask, tokens: list[str], *, callers: int, calls: int) -> float:
    async def call(token: str) -> None:
        if not (await ask(token)).HasField("active"):
            raise CallsFailed("a good token was not Active")

    began = time.perf_counter()
    await spread(islice(cycle(tokens), calls), callers=callers, call=call)
    return calls / (time.perf_counter() - began)
