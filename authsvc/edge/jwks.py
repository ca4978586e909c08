"""
`/.well-known/jwks.json`: the server's key set, as it is now; while the server is away, the last one that it gave.

The edge asks once a second at most, however many ask it, so that a withdrawn key is gone here within a second. For how
long others may keep the set is the server's `max_age`: no key signs before it has been published for longer than that.
"""

import asyncio
import hashlib
import math
from dataclasses import dataclass

import grpc
from aiohttp import web

from authapi.v1 import GetJwksRequest
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused, from_call
from authsvc.edge.replies import JSON_TYPE, reply
from authsvc.ports import Clock

_PAUSE_S = 1.0  # between two questions to the server, answered or not


@dataclass(frozen=True, slots=True)
class _KeySet:
    body: bytes
    etag: str
    asked_at: float  # Clock.elapsed
    fresh_until: float  # likewise


class Jwks:
    """The handler and its one cached answer."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: _KeySet | None = None
        self._failure: Refused | None = None
        self._next_attempt = -math.inf

    async def serve(self, request: web.Request, correlation: Correlation) -> web.Response:
        """
        `GET /.well-known/jwks.json`, with an ETag; Cache-Control says what is left of the server's `max_age`.

        While the server is away the last known good set is served; in the end to be asked for again in a second.
        """
        kept = await self._current(correlation)
        left = max(1, math.floor(kept.fresh_until - self._clock.elapsed()))
        headers = {"ETag": kept.etag, "Cache-Control": f"public, max-age={left}"}
        if etag_matches(request, kept.etag):
            return reply(request_id=correlation.request_id, status=304, headers=headers)
        return reply(
            request_id=correlation.request_id, body=kept.body, content_type=JSON_TYPE, headers=headers
        )

    async def _current(self, correlation: Correlation) -> _KeySet:
        kept = self._kept
        if kept is not None and self._clock.elapsed() < kept.asked_at + _PAUSE_S:
            return kept
        async with self._lock:  # one asks, the others take its answer
            if self._kept is not kept and self._kept is not None:
                return self._kept
            if self._clock.elapsed() >= self._next_attempt:
                await self._fetch(correlation)
            if self._kept is not None:
                return self._kept
            assert self._failure is not None
            raise self._failure.with_traceback(
                None
            )  # kept between requests, so it must not collect their frames

    async def _fetch(self, correlation: Correlation) -> None:
        asked = self._clock.elapsed()
        try:
            response = await self._backend.keys.GetJwks(
                GetJwksRequest(), metadata=correlation.metadata, timeout=self._backend.timeout
            )
        except grpc.aio.AioRpcError as error:
            self._failure = from_call(error)
            self._next_attempt = self._clock.elapsed() + _PAUSE_S
            return
        body = response.jwks_json.encode()
        self._kept = _KeySet(
            body=body,
            etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            asked_at=asked,
            fresh_until=asked + max(1.0, response.max_age.ToTimedelta().total_seconds()),
        )


def etag_matches(request: web.BaseRequest, etag: str) -> bool:
    """Tell whether If-None-Match names the ETag (weak comparison, RFC 9110 section 13.1.2)."""
    condition = request.headers.get("If-None-Match", "")
    if condition.strip() == "*":
        return True
    return any(candidate.strip().removeprefix("W/") == etag for candidate in condition.split(","))
