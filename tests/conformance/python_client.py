"""
Runs vectors against the Python client: a verifier over scripted calls instead of a channel, on a virtual clock.

Everything but the socket is the client's own: reading keys, following the stream, back-off, policy, cache.
"""

import asyncio
import base64
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self, get_args

from authapi.v1 import (
    Active as ActiveMessage,
)
from authapi.v1 import (
    BatchVerifyTokensResponse,
    GetJwksResponse,
    InactiveReason,
    SessionEndReason,
    VerifyTokenRequest,
    VerifyTokenResponse,
    WatchRevocationsResponse,
)
from authapi.v1 import (
    Inactive as InactiveMessage,
)
from authsvc_client import Active, CannotKnow, Hooks, Settings, Verdict, WhenStale
from authsvc_client.connection import Stream, Unanswered
from authsvc_client.engine import Engine
from tests.conformance.virtual_clock import VirtualClock

Json = dict[str, Any]
_STATUS = {"cut": "UNAVAILABLE", "out_of_range": "OUT_OF_RANGE", "too_slow": "RESOURCE_EXHAUSTED"}
_WHEN_OPEN_MS = 8000


class _ScriptedStream:
    """Implements Stream over a queue."""

    def __init__(self, resume_from: bytes) -> None:
        self.resume_from = resume_from
        self.is_open = True
        self.said: asyncio.Queue[WatchRevocationsResponse | str | None] = asyncio.Queue()

    async def read(self) -> WatchRevocationsResponse | None:
        message = await self.said.get()
        if isinstance(message, str):
            raise Unanswered(message)
        return message

    def cancel(self) -> None:
        self.is_open = False


class ScriptedCalls:
    """Implements Calls: what the server says is set from outside."""

    def __init__(self) -> None:
        self.keys: GetJwksResponse | None = None
        self.key_reads = 0
        self.remote: Any = "unavailable"
        self.asked = 0
        self.streams: list[_ScriptedStream] = []

    async def get_jwks(self, *, timeout_s: float) -> GetJwksResponse:
        self.key_reads += 1
        if self.keys is None:
            raise Unanswered("UNAVAILABLE")
        return self.keys

    async def verify(
        self, requests: Iterable[VerifyTokenRequest], *, timeout_s: float
    ) -> BatchVerifyTokensResponse:
        self.asked += 1
        if self.remote == "unavailable":
            raise Unanswered("UNAVAILABLE")
        response = response_of(self.remote)
        return BatchVerifyTokensResponse(responses=[response for _ in requests])

    def watch(self, resume_from: bytes) -> Stream:
        stream = _ScriptedStream(resume_from)
        self.streams.append(stream)
        return stream

    @property
    def open_stream(self) -> _ScriptedStream | None:
        """The newest stream, if it is open."""
        return self.streams[-1] if self.streams and self.streams[-1].is_open else None


class Subject:
    """A running verifier of the Python client, with its world."""

    def __init__(self, case: Json, *, key_sets: Json, audience: str, wall_ms: int) -> None:
        if case["when_stale"] not in get_args(WhenStale):
            raise AssertionError(f"unknown option {case['when_stale']}")
        self._key_sets = key_sets
        self.clock = VirtualClock(wall_ms)
        self.calls = ScriptedCalls()
        self.set_keys(case["keys"])
        self.engine = Engine(
            calls=self.calls,
            audience=audience,
            settings=Settings(
                hard_bound=timedelta(milliseconds=case["hard_bound_ms"]), when_stale=case["when_stale"]
            ),
            hooks=Hooks(),
            clock=self.clock,
        )

    async def __aenter__(self) -> Self:
        self.engine.start()
        await self.clock.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop()

    def set_keys(self, name: str) -> None:
        """Say what key reads answer."""
        self.calls.keys = (
            None
            if name == "fails"
            else GetJwksResponse.FromString(base64.b64decode(self._key_sets[name]["base64"]))
        )

    def put(self, message: Json) -> None:
        """Put a message into the newest stream's socket."""
        stream = self.calls.streams[-1]
        stream.said.put_nowait(WatchRevocationsResponse.FromString(base64.b64decode(message["base64"])))

    async def send(self, message: Json) -> None:
        """Deliver a message on the newest stream."""
        self.put(message)
        await self.clock.settle()

    async def end(self, how: str) -> None:
        """End the newest stream."""
        self.calls.streams[-1].said.put_nowait(None if how == "ok" else _STATUS[how])
        await self.clock.settle()

    async def until_open(self) -> None:
        """Move on until a stream is open."""
        limit = self.clock.elapsed_ms + _WHEN_OPEN_MS
        while self.calls.open_stream is None:
            assert self.clock.elapsed_ms < limit, "no stream was opened"
            await self.clock.hop_to(self.clock.elapsed_ms + 50)

    async def verify(self, token: str, require: Json) -> Json:
        """Return the verdict in the vectors' form."""
        demand = self.engine.demand(require["audience"], require["scopes"], require["roles"])
        judging = asyncio.ensure_future(self.engine.verify(token, demand))
        await self.clock.settle()
        assert judging.done(), "a verdict waits for time to pass"
        try:
            return in_json(judging.result())
        except CannotKnow as unknown:
            return {"unavailable": unknown.cause.value}


def in_json(verdict: Verdict) -> Json:
    """A verdict of the client in the vectors' form."""
    if not isinstance(verdict, Active):
        refusal = {"inactive": verdict.reason.name}
        if verdict.session_end_reason:
            refusal["session_end_reason"] = verdict.session_end_reason.name
        return refusal
    active: Json = {
        "user_id": verdict.user_id,
        "session_id": verdict.session_id,
        "app_id": verdict.app_id,
        "audiences": list(verdict.audiences),
        "scopes": list(verdict.scopes),
        "roles": list(verdict.roles),
        "token_id": verdict.token_id,
        "issued_at": int(verdict.issued_at.timestamp()),
        "expires_at": int(verdict.expires_at.timestamp()),
        "previous_user_ids": list(verdict.previous_user_ids),
    }
    optional = {"openid": verdict.openid, "external_id": verdict.external_id}
    return {"active": active | {name: value for name, value in optional.items() if value is not None}}


def without_position(verdict: Json) -> Json:
    """An expected verdict without what this client does not show."""
    if "active" not in verdict:
        return verdict
    return {"active": {name: value for name, value in verdict["active"].items() if name != "position"}}


def response_of(remote: Json) -> VerifyTokenResponse:
    """What the server's VerifyToken says."""
    response = VerifyTokenResponse()
    response.age.FromMilliseconds(remote["age_ms"])
    verdict = remote["verdict"]
    if "active" in verdict:
        response.active.CopyFrom(ActiveMessage(user_id=verdict["active"]["user_id"]))
        return response
    end = verdict.get("session_end_reason", "UNSPECIFIED")
    response.inactive.CopyFrom(
        InactiveMessage(
            reason=InactiveReason.Value(f"INACTIVE_REASON_{verdict['inactive']}"),
            session_end_reason=SessionEndReason.Value(f"SESSION_END_REASON_{end}"),
        )
    )
    return response
