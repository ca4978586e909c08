"""A gRPC server around a core, over a real socket, and what its clients see of its refusals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from authapi.v1 import (
    auth_service_pb2_grpc,
    key_service_pb2_grpc,
    revocation_service_pb2_grpc,
    session_service_pb2_grpc,
    user_service_pb2_grpc,
    wechat_service_pb2_grpc,
)
from authsvc.domain.errors import CallerUnauthenticated
from authsvc.domain.principals import Principal, Role
from authsvc.rpc import (
    auth_service,
    key_service,
    revocation_service,
    session_service,
    user_service,
    wechat_service,
)
from authsvc.rpc.auth_service import AuthServicer
from authsvc.rpc.convert import Cursors
from authsvc.rpc.key_service import KeyServicer
from authsvc.rpc.principals import ServicerContext
from authsvc.rpc.revocation_service import RevocationServicer
from authsvc.rpc.server import GrpcServer, GrpcSettings
from authsvc.rpc.session_service import SessionServicer
from authsvc.rpc.statuses import DETAILS_KEY
from authsvc.rpc.user_service import UserServicer
from authsvc.rpc.verdicts import VerdictEncoder
from authsvc.rpc.wechat_service import WeChatServicer
from authsvc.rpc.wrapper import Service, Wrapper
from tests.support.core import ISSUER, Core

CALLER = "x-test-caller"
ROLES = "x-test-roles"
# Nothing a passing test waits for comes near it; it turns a hang into a failure.
PATIENCE_S = 20


class MetadataAuthenticator:
    """
    Believes the metadata: `x-test-roles: edge,operator`. Without it every role is held; `nobody` is no principal.

    `audiences` are everybody's; a test may change them.
    """

    def __init__(self, audiences: frozenset[str]) -> None:
        self.audiences = audiences

    def identify(self, context: ServicerContext, metadata: Mapping[str, str]) -> Principal:
        caller = metadata.get(CALLER, "tester")
        if caller == "nobody":
            raise CallerUnauthenticated
        named = metadata.get(ROLES)
        roles = (
            frozenset(Role) if named is None else frozenset(Role(name) for name in named.split(",") if name)
        )
        return Principal(name=caller, roles=roles, audiences=self.audiences)


@dataclass(slots=True)
class Running:
    """A served core with a connected client."""

    core: Core
    server: GrpcServer
    settings: GrpcSettings
    services: dict[str, Service]
    authenticator: MetadataAuthenticator
    cursors: Cursors
    channel: grpc.aio.Channel

    @property
    def auth(self) -> "auth_service_pb2_grpc.AuthServiceAsyncStub":
        return auth_service_pb2_grpc.AuthServiceStub(self.channel)

    @property
    def sessions(self) -> "session_service_pb2_grpc.SessionServiceAsyncStub":
        return session_service_pb2_grpc.SessionServiceStub(self.channel)

    @property
    def keys(self) -> "key_service_pb2_grpc.KeyServiceAsyncStub":
        return key_service_pb2_grpc.KeyServiceStub(self.channel)

    @property
    def revocations(self) -> "revocation_service_pb2_grpc.RevocationServiceAsyncStub":
        return revocation_service_pb2_grpc.RevocationServiceStub(self.channel)

    @property
    def wechat(self) -> "wechat_service_pb2_grpc.WeChatServiceAsyncStub":
        return wechat_service_pb2_grpc.WeChatServiceStub(self.channel)

    @property
    def users(self) -> "user_service_pb2_grpc.UserServiceAsyncStub":
        return user_service_pb2_grpc.UserServiceStub(self.channel)

    async def raw(
        self, path: str, request: bytes = b"", *, metadata: Iterable[tuple[str, str]] = ()
    ) -> bytes:
        """Call a unary method with bytes, whatever they are."""
        channel: Any = self.channel
        answer: bytes = await channel.unary_unary(path)(request, metadata=tuple(metadata), timeout=PATIENCE_S)
        return answer

    async def raw_stream(
        self, path: str, request: bytes = b"", *, metadata: Iterable[tuple[str, str]] = ()
    ) -> list[bytes]:
        """Call a server-streaming method with bytes and read it to its end."""
        channel: Any = self.channel
        call = channel.unary_stream(path)(request, metadata=tuple(metadata), timeout=PATIENCE_S)
        return [message async for message in call]


def services_of(core: Core, cursors: Cursors) -> dict[str, Service]:
    """The contract's services over a core."""
    return {
        auth_service.NAME: AuthServicer(
            logins=core.logins,
            legacy_logins=core.legacy_logins,
            refreshes=core.refreshes,
            verifier=core.verifier,
            revocations=core.revocations,
            verdicts=VerdictEncoder(tail=core.tail, cursors=cursors),
            cursors=cursors,
            clock=core.clock,
            limiter=core.limiter,
        ).methods(),
        session_service.NAME: SessionServicer(
            sessions=core.sessions, cursors=cursors, page_ring=core.rings.cursor, clock=core.clock
        ).methods(),
        key_service.NAME: KeyServicer(
            keys=core.keys,
            view=core.view,
            issuer=ISSUER,
            apps=core.apps,
        ).methods(),
        revocation_service.NAME: RevocationServicer(
            watches=core.watches, cursors=cursors, limiter=core.limiter
        ).methods(),
        wechat_service.NAME: WeChatServicer(
            user_data=core.user_data, phones=core.phones, session_keys=core.session_keys
        ).methods(),
        user_service.NAME: UserServicer(
            people=core.people,
            personal_data=core.personal_data,
            cursors=cursors,
            page_ring=core.rings.cursor,
            clock=core.clock,
        ).methods(),
    }


@asynccontextmanager
async def running_server(core: Core, *, more: Mapping[str, Service] | None = None) -> AsyncIterator[Running]:
    """
    A server for *core* on a free port with a client; *more* are further services. Stopped afterwards at once.

    Its clock is the core's, so a drain waits until the test moves it.
    """
    cursors = Cursors(core.rings.cursor)
    authenticator = MetadataAuthenticator(core.audiences)
    wrapper = Wrapper(
        authenticator=authenticator,
        admission=core.admission,
        clock=core.clock,
        entropy=core.entropy,
        observer=core.observer,
    )
    settings = GrpcSettings(port=0, stop_grace=timedelta(seconds=PATIENCE_S))
    services = {**services_of(core, cursors), **(more or {})}
    server = GrpcServer(
        services=services,
        wrapper=wrapper,
        settings=settings,
        watches=core.watches,
        unbroken=core.unbroken,
        clock=core.clock,
    )
    channel = grpc.aio.insecure_channel(await server.start())
    try:
        yield Running(core, server, settings, services, authenticator, cursors, channel)
    finally:
        core.store.let_through()
        await channel.close(None)
        await stopped(server, core)


async def read_on(call: Any) -> list[Any]:
    """The messages of a stream, begun with `read`, to its end; its status must be OK."""
    library: Any = grpc.aio
    messages = []
    while (message := await call.read()) is not library.EOF:
        messages.append(message)
    assert await call.code() is grpc.StatusCode.OK
    return messages


async def stopped(server: GrpcServer, core: Core) -> None:
    """Stop a server, moving the clock over its drain wait."""
    stopping = asyncio.create_task(server.stop())
    while not stopping.done():
        core.clock.advance(timedelta(seconds=1))
        await asyncio.wait({stopping}, timeout=0.001)
    await stopping


@dataclass(frozen=True, slots=True)
class Refused:
    """A status as a client reads it; `raw` is all that came with it."""

    code: grpc.StatusCode
    text: str
    reason: str
    metadata: dict[str, str]
    retry: timedelta | None
    fields: tuple[str, ...]
    raw: bytes


async def refused(call: Awaitable[Any]) -> Refused:
    """The refusal of a call that must be refused, with exactly one ErrorInfo of ours."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError(f"was answered: {answer!r}")


def read_refusal(error: grpc.aio.AioRpcError) -> Refused:
    """What is in a status, its parts agreeing with each other."""
    trailing: Any = error.trailing_metadata() or ()
    raw = [value for key, value in trailing if key == DETAILS_KEY]
    assert len(raw) == 1, f"no details: {error.code()} {error.details()}"
    assert isinstance(raw[0], bytes)
    status = status_pb2.Status.FromString(raw[0])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    infos = _unpacked(status, error_details_pb2.ErrorInfo)
    retries = _unpacked(status, error_details_pb2.RetryInfo)
    requests = _unpacked(status, error_details_pb2.BadRequest)
    assert len(infos) == 1
    assert infos[0].domain == "authsvc"
    assert len(retries) <= 1
    assert len(requests) <= 1
    assert len(infos) + len(retries) + len(requests) == len(status.details)
    return Refused(
        code=error.code(),
        text=error.details() or "",
        reason=infos[0].reason,
        metadata=dict(infos[0].metadata),
        retry=retries[0].retry_delay.ToTimedelta() if retries else None,
        fields=tuple(violation.field for one in requests for violation in one.field_violations),
        raw=repr(error.trailing_metadata()).encode() + raw[0] + repr(error).encode(),
    )


def _unpacked(status: Any, kind: Any) -> list[Any]:
    found = []
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            message = kind()
            detail.Unpack(message)
            found.append(message)
    return found
