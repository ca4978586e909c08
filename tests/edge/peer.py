# ruff: noqa: N802 - RPC names are the contract's
"""A gRPC server over a real socket that answers what a test tells it to; it judges nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from authapi.v1 import (
    ERROR_DOMAIN,
    Active,
    AuthServiceServicer,
    BatchVerifyTokensResponse,
    CheckSessionKeyResponse,
    CheckUserDataSignatureResponse,
    ClientInfo,
    Cursor,
    DecryptUserDataResponse,
    EraseUserRequest,
    EraseUserResponse,
    GetJwksResponse,
    GetPhoneNumberResponse,
    GetSessionResponse,
    KeyServiceServicer,
    ListSessionsResponse,
    LoginResponse,
    RefreshTokenResponse,
    ResetSessionKeyResponse,
    RevokeResponse,
    Session,
    SessionServiceServicer,
    TokenPair,
    VerifyTokenResponse,
    WeChatServiceServicer,
    add_AuthServiceServicer_to_server,
    add_KeyServiceServicer_to_server,
    add_SessionServiceServicer_to_server,
    add_WeChatServiceServicer_to_server,
)
from authsvc.status import BY_REASON

NOW = 1_767_225_600
USER, SESSION, APP = "AAAAAAAAAAAAAAAAAAAAAQ", "BBBBBBBBBBBBBBBBBBBBBQ", "wx00000000000000d1"


def at(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=NOW + seconds, nanos=nanos)


def tokens() -> TokenPair:
    return TokenPair(
        access_token="access.token.text",
        access_expires_at=at(7200),
        refresh_token="wxr1.refresh",
        refresh_expires_at=at(604800),
        server_time=at(0, 500_000_000),
    )


def active(**more: Any) -> VerifyTokenResponse:
    return VerifyTokenResponse(
        active=Active(
            user_id=USER,
            session_id=SESSION,
            app_id=APP,
            openid="openid-1",
            scopes=["orders", "profile"],
            roles=["buyer"],
            audiences=[APP],
            token_id="CCCCCCCCCCCCCCCCCCCCCQ",
            issued_at=at(0),
            expires_at=at(7200),
            **more,
        )
    )


@dataclass(frozen=True)
class Fault:
    """An error to answer with; without *details* it looks made by a library."""

    code: grpc.StatusCode
    details: bytes = b""


def refusal(
    reason: str,
    *,
    metadata: dict[str, str] | None = None,
    retry_after: timedelta | None = None,
    fields: dict[str, str] | None = None,
    code: grpc.StatusCode | None = None,
    domain: str = ERROR_DOMAIN,
) -> Fault:
    """Return the error of a reason as the contract says the server sends it."""
    known = code or grpc.StatusCode[BY_REASON[reason].code.name]
    messages: list[Message] = [ErrorInfo(reason=reason, domain=domain, metadata=metadata or {})]
    if retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(retry_after)
        messages.append(RetryInfo(retry_delay=delay))
    if fields:
        violations = [BadRequest.FieldViolation(field=f, description=d) for f, d in fields.items()]
        messages.append(BadRequest(field_violations=violations))
    packed = []
    for message in messages:
        box = AnyMessage()
        box.Pack(message)
        packed.append(box)
    status = Status(code=known.value[0], message="internal text that must not leave", details=packed)
    return Fault(known, status.SerializeToString())


Script = Message | Fault | Callable[[Any], Message | Fault | asyncio.Future[None]]


@dataclass
class Peer(AuthServiceServicer, SessionServiceServicer, KeyServiceServicer, WeChatServiceServicer):
    """`answers` maps an RPC's name to what it answers; `seen` and `metadata` hold what arrived."""

    answers: dict[str, Script] = field(default_factory=dict)
    seen: list[tuple[str, Any]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    health: Any = None
    target: str = ""
    _server: Any = None

    async def start(self) -> str:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_AuthServiceServicer_to_server(self, self._server)
        # Of UserService the edge calls one method; the others need no answer here.
        erase = grpc.unary_unary_rpc_method_handler(
            self.EraseUser,
            request_deserializer=EraseUserRequest.FromString,
            response_serializer=EraseUserResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler("authapi.v1.UserService", {"EraseUser": erase})
        self._server.add_generic_rpc_handlers((handler,))
        add_SessionServiceServicer_to_server(self, self._server)
        add_KeyServiceServicer_to_server(self, self._server)
        add_WeChatServiceServicer_to_server(self, self._server)
        self.health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        add_HealthServicer_to_server(self.health, self._server)
        port = self._server.add_insecure_port(self.target or "127.0.0.1:0")
        await self._server.start()
        self.target = f"127.0.0.1:{port}"
        return self.target

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def serving(self, yes: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self.health.set("", status.SERVING if yes else status.NOT_SERVING)

    def requests(self, rpc: str) -> list[Any]:
        return [request for name, request in self.seen if name == rpc]

    async def _answer(self, rpc: str, request: Any, context: Any, usual: Message) -> Any:
        self.seen.append((rpc, request))
        self.metadata.append(
            {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        )
        script: Any = self.answers.get(rpc, usual)
        answer = script(request) if callable(script) else script
        if isinstance(answer, asyncio.Future):
            answer = await answer
        if isinstance(answer, Fault):
            trailers = (("grpc-status-details-bin", answer.details),) if answer.details else ()
            await context.abort(answer.code, "internal text that must not leave", trailers)
        return answer

    async def Login(self, request: Any, context: Any) -> Any:
        usual = LoginResponse(
            user_id=USER, session_id=SESSION, openid="openid-1", tokens=tokens(), is_new_user=True
        )
        return await self._answer("Login", request, context, usual)

    async def RefreshToken(self, request: Any, context: Any) -> Any:
        usual = RefreshTokenResponse(user_id=USER, session_id=SESSION, tokens=tokens())
        return await self._answer("RefreshToken", request, context, usual)

    async def VerifyToken(self, request: Any, context: Any) -> Any:
        return await self._answer("VerifyToken", request, context, active())

    async def BatchVerifyTokens(self, request: Any, context: Any) -> Any:
        return await self._answer("BatchVerifyTokens", request, context, BatchVerifyTokensResponse())

    async def Revoke(self, request: Any, context: Any) -> Any:
        usual = RevokeResponse(cursor=Cursor(value=b"c"), ended_sessions=1)
        return await self._answer("Revoke", request, context, usual)

    async def GetSession(self, request: Any, context: Any) -> Any:
        session = Session(
            session_id=SESSION,
            user_id=USER,
            app_id=APP,
            created_at=at(0),
            last_refreshed_at=at(60),
            expires_at=at(604800),
            client=ClientInfo(ip="203.0.113.7", device_name="phone"),
            live=True,
        )
        return await self._answer("GetSession", request, context, GetSessionResponse(session=session))

    async def ListSessions(self, request: Any, context: Any) -> Any:
        return await self._answer("ListSessions", request, context, ListSessionsResponse())

    async def GetPhoneNumber(self, request: Any, context: Any) -> Any:
        usual = GetPhoneNumberResponse(
            phone_number="+4915112345678", pure_phone_number="15112345678", country_code="49", bound=True
        )
        return await self._answer("GetPhoneNumber", request, context, usual)

    async def DecryptUserData(self, request: Any, context: Any) -> Any:
        usual = DecryptUserDataResponse(user_data_json='{"steps": 10000000000000000001}', encrypted_at=at(0))
        return await self._answer("DecryptUserData", request, context, usual)

    async def CheckUserDataSignature(self, request: Any, context: Any) -> Any:
        return await self._answer(
            "CheckUserDataSignature", request, context, CheckUserDataSignatureResponse()
        )

    async def CheckSessionKey(self, request: Any, context: Any) -> Any:
        return await self._answer("CheckSessionKey", request, context, CheckSessionKeyResponse())

    async def ResetSessionKey(self, request: Any, context: Any) -> Any:
        return await self._answer("ResetSessionKey", request, context, ResetSessionKeyResponse())

    async def EraseUser(self, request: Any, context: Any) -> Any:
        return await self._answer("EraseUser", request, context, EraseUserResponse(ended_sessions=2))

    async def GetJwks(self, request: Any, context: Any) -> Any:
        usual = GetJwksResponse(jwks_json='{"keys":[]}', max_age=Duration(seconds=300))
        return await self._answer("GetJwks", request, context, usual)
