"""The service's calls, each recorded as it was seen from outside, with labels in place of ids and tokens."""

import asyncio
import base64
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import key_service_pb2, types_pb2
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authapi.v1.key_service_pb2_grpc import KeyServiceStub
from tests.e2e.wire import D1
from tests.faults import real
from tests.faults.history import Call, History, Kind, Outcome

_SHIPPED = Path(__file__).parents[2] / "clients" / "service_config.json"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


def service_config() -> str:
    """Return what the clients ship: round robin by health, retries, none for Login."""
    return _SHIPPED.read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Door:
    """
    One way in. `label` is the recorded target; `verifier` names the answering process where only one can be behind.
    """

    label: str
    channel: grpc.aio.Channel
    verifier: str = ""
    # Any: the stubs' types know of the blocking flavour only.
    auth: Any = field(init=False)
    keys: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "auth", AuthServiceStub(self.channel))
        object.__setattr__(self, "keys", KeyServiceStub(self.channel))


def plain_door(label: str, port: int, *, verifier: str = "") -> Door:
    """One connection of its own to one replica; nothing is retried."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[*_OPTIONS, ("grpc.enable_retries", 0)])
    return Door(label, channel, verifier)


def ring_door(ports: list[int], *, retries: bool = True) -> Door:
    """All replicas, as a client with the shipped service config reaches them; its retries can be switched off."""
    where = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    options = [*_OPTIONS, ("grpc.enable_retries", int(retries)), ("grpc.service_config", service_config())]
    return Door("ring", grpc.aio.insecure_channel(where, options=options))


@dataclass(slots=True)
class Grant:
    """What a login or refresh handed out: labels beside the secret texts."""

    user: str
    session: str
    access: str
    refresh: str
    expires_at: float
    session_id: str = field(repr=False)
    user_id: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class Recorder:
    """Makes calls and writes every one into the history, whatever becomes of it."""

    def __init__(self, history: History, *, timeout_s: float = 3.0) -> None:
        self.history = history
        self.timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._labels: dict[str, str] = {}
        self._counts: dict[str, itertools.count[int]] = {}

    def label(self, text: str, prefix: str) -> str:
        """Return the one label of this text: *prefix* with a number that counts up."""
        if text not in self._labels:
            number = next(self._counts.setdefault(prefix, itertools.count()))
            self._labels[text] = f"{prefix}{number}"
        return self._labels[text]

    async def login(self, door: Door, *, user: str, code: str) -> Grant | None:
        request = pb.LoginRequest(app_id=D1, mini_program_code=code)
        facts = {"user": user, "presented": self.label(code, "code")}
        return await self._granting(Kind.LOGIN, door, door.auth.Login, request, facts)

    async def refresh(self, door: Door, grant: Grant, *, lose_after: float | None = None) -> Grant | None:
        """Present the grant's refresh token; with *lose_after* the caller leaves after so many seconds."""
        request = pb.RefreshTokenRequest(refresh_token=grant.refresh_token)
        facts = {"user": grant.user, "session": grant.session, "presented": grant.refresh}
        return await self._granting(
            Kind.REFRESH, door, door.auth.RefreshToken, request, facts, lose_after=lose_after
        )

    async def refresh_forged(self, door: Door, text: str) -> None:
        request = pb.RefreshTokenRequest(refresh_token=text)
        facts = {"presented": self.label(text, "forged-"), "session": "forged"}
        await self._granting(Kind.REFRESH, door, door.auth.RefreshToken, request, facts)

    async def verify(
        self, door: Door, grant: Grant, *, at_least: tuple[types_pb2.Cursor, int] | None = None
    ) -> Call:
        facts = {"user": grant.user, "session": grant.session, "presented": grant.access}
        cursor, position = at_least or (None, None)
        request = pb.VerifyTokenRequest(access_token=grant.access_token, audience=D1, at_least=cursor)
        return await self._verdict(door, request, expires_at=grant.expires_at, position=position, **facts)

    async def verify_forged(self, door: Door, text: str) -> Call:
        request = pb.VerifyTokenRequest(access_token=text, audience=D1)
        return await self._verdict(door, request, presented=self.label(text, "forged-"))

    async def revoke(self, door: Door, grant: Grant, how: str) -> tuple[Call, types_pb2.Cursor] | None:
        """Revoke by *how*: `access_token`, `refresh_token`, `session_id`, or `user` (all sessions)."""
        targets: dict[str, dict[str, Any]] = {
            "access_token": {"access_token": grant.access_token},
            "refresh_token": {"refresh_token": grant.refresh_token},
            "session_id": {"session_id": grant.session_id},
            "user": {"user": pb.UserTarget(user_id=grant.user_id)},
        }
        target = targets[how]
        everything = how == "user"
        facts: dict[str, Any] = {"user": grant.user, "session": "" if everything else grant.session}
        answer: list[pb.RevokeResponse] = []

        def read(response: pb.RevokeResponse) -> dict[str, Any]:
            answer.append(response)
            return {"position": int.from_bytes(response.position, "big")}

        call = await self._call(
            Kind.REVOKE,
            door,
            lambda: door.auth.Revoke(pb.RevokeRequest(**target), timeout=self.timeout_s),
            read,
            {**facts, "everything": everything},
        )
        return (call, answer[0].cursor) if answer else None

    async def jwks(self, door: Door) -> Call:
        def read(response: key_service_pb2.GetJwksResponse) -> dict[str, Any]:
            return {"kids": frozenset(key["kid"] for key in json.loads(response.jwks_json)["keys"])}

        request = key_service_pb2.GetJwksRequest()
        return await self._call(
            Kind.JWKS, door, lambda: door.keys.GetJwks(request, timeout=self.timeout_s), read, {}
        )

    async def _granting(
        self,
        kind: Kind,
        door: Door,
        method: Callable[..., Awaitable[Any]],
        request: Any,
        facts: dict[str, Any],
        *,
        lose_after: float | None = None,
    ) -> Grant | None:
        granted: list[Grant] = []

        def read(response: Any) -> dict[str, Any]:
            grant = self._grant(response, user=facts.get("user", ""))
            granted.append(grant)
            given = {"session": grant.session, "access": grant.access, "refresh": grant.refresh}
            return {**given, "kid": _kid(grant.access_token), "expires_at": grant.expires_at}

        await self._call(
            kind, door, lambda: method(request, timeout=self.timeout_s), read, facts, lose_after=lose_after
        )
        return granted[0] if granted else None

    async def _verdict(self, door: Door, request: pb.VerifyTokenRequest, **facts: Any) -> Call:
        def read(response: pb.VerifyTokenResponse) -> dict[str, Any]:
            age_s = response.age.ToTimedelta().total_seconds()
            if response.HasField("active"):
                return {"active": True, "age_s": age_s}
            name = types_pb2.InactiveReason.Name(response.inactive.reason)
            return {"reason": name.removeprefix("INACTIVE_REASON_"), "age_s": age_s}

        return await self._call(
            Kind.VERIFY, door, lambda: door.auth.VerifyToken(request, timeout=self.timeout_s), read, facts
        )

    async def _call(
        self,
        kind: Kind,
        door: Door,
        send: Callable[[], Awaitable[Any]],
        read: Callable[[Any], dict[str, Any]],
        facts: dict[str, Any],
        *,
        lose_after: float | None = None,
    ) -> Call:
        number, start = next(self._numbers), real.now()
        told: dict[str, Any] = {}
        try:
            async with asyncio.timeout(lose_after):
                response = await send()
            told = {"outcome": Outcome.OK} | read(response)
        except TimeoutError:
            told = {"outcome": Outcome.LOST, "reason": "left"}
        except asyncio.CancelledError:
            told = {"outcome": Outcome.LOST, "reason": "cancelled"}
            self._note(number, kind, door, start, facts | told)
            raise
        except grpc.aio.AioRpcError as error:
            told = judge_error(error)
        return self._note(number, kind, door, start, facts | told)

    def _note(self, number: int, kind: Kind, door: Door, start: float, facts: dict[str, Any]) -> Call:
        call = Call(
            number=number,
            kind=kind,
            target=door.label,
            verifier=door.verifier,
            start=start,
            end=real.now(),
            **facts,
        )
        self.history.calls.append(call)
        return call

    def _grant(self, response: Any, *, user: str) -> Grant:
        session = self.label(response.session_id, "s")
        tokens = response.tokens
        return Grant(
            user=user,
            session=session,
            access=self.label(tokens.access_token, f"{session}/a"),
            refresh=self.label(tokens.refresh_token, f"{session}/r"),
            expires_at=tokens.access_expires_at.seconds - real.wall() + real.now(),
            session_id=response.session_id,
            user_id=response.user_id,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
        )


def judge_error(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """
    Return outcome, reason and delay of a failed call.

    What carries no ErrorInfo was made by a library: nobody knows what became of the call, unless it tells of an
    exception that escaped from the server. gRPC's own word for a connection that died under a call is "Stream
    removed", at times with UNKNOWN instead of UNAVAILABLE; it gets a reason of its own, as UNKNOWN is a finding.
    """
    metadata: Any = error.trailing_metadata() or ()  # pairs, whatever its stubs say
    raw = next((value for key, value in metadata if key == "grpc-status-details-bin"), b"")
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    delay = None
    for detail in status_pb2.Status.FromString(raw if isinstance(raw, bytes) else b"").details:
        detail.Unpack(info)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    if not info.reason:
        escaped = error.code() is grpc.StatusCode.UNKNOWN and (error.details() or "").startswith("Unexpected")
        if escaped:
            return {"outcome": Outcome.REFUSED, "reason": "UNKNOWN"}
        cut = error.code() is grpc.StatusCode.UNKNOWN and (error.details() or "").startswith("Stream removed")
        if cut:
            return {"outcome": Outcome.LOST, "reason": "STREAM_REMOVED"}
        told = f": {error.details()}" if error.code() is grpc.StatusCode.UNKNOWN else ""
        return {"outcome": Outcome.LOST, "reason": error.code().name + told}
    reason = ":".join(filter(None, (info.reason, info.metadata.get("end_reason", ""))))
    unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
    outcome = Outcome.UNAVAILABLE if unavailable else Outcome.REFUSED
    return {"outcome": outcome, "reason": reason, "retry_s": delay}


def _kid(access_token: str) -> str:
    header = access_token.partition(".")[0]
    fields = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    return str(fields["kid"])
