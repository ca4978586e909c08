"""
The one wrapper around every method, its steps in one visible order.

1. observe — outermost, so that every refusal is counted with its status;
2. failures — the only place where an exception becomes a status; nothing of an unexpected one reaches a caller;
3. guard — policy row, caller, role: before the request is parsed, revealing nothing of its validity;
4. admit — unary calls take a place, or are refused for being too many, before anything is spent on them;
5. parse — methods are registered without a deserializer, so bad bytes are ours to call INVALID_ARGUMENT;
6. guard the oneof case, and what of apps and audiences the request names — a role may hold for some of it only;
7. call the servicer's handler, bounded by the row's deadline.
"""

import asyncio
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath
from typing import Any, Generic, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from authsvc.domain.errors import AuthError, CallerForbidden, CallerUnauthenticated, InvalidField, RateLimited
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.principals import Principal, Role
from authsvc.ports import CallRecord, Clock, Entropy, Observer, current_origin
from authsvc.rpc.origins import origin_of
from authsvc.rpc.policy import POLICIES, Policy
from authsvc.rpc.principals import Authenticator, ServicerContext
from authsvc.rpc.reach import guard_reach
from authsvc.rpc.statuses import DETAILS_KEY, OVERLOAD_KEY, encode_status
from authsvc.rpc.urgency import priority_of
from authsvc.service.admission import Admission
from authsvc.status import row_for
from authsvc.telemetry import current_request

RequestT = TypeVar("RequestT", bound=Message)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# Random ids are made so many at a time: alone, between two calls, each costs several µs of cold code.
_IDS_AT_ONCE = 64
UNMATCHED = "gRPC unmatched"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(slots=True)
class Call:
    """
    What a handler may know of its call: who, and the ids under which it is logged.

    `cut`, of streams only, ends the call with a refusal while its handler waits in a `yield` because the client does
    not read.
    """

    principal: Principal
    request_id: str
    trace_id: str
    cut: Callable[[AuthError], None] | None = None


UnaryHandler = Callable[[RequestT, Call], Awaitable[Message | bytes]]
StreamHandler = Callable[[RequestT, Call], AsyncIterator[Message | bytes]]


@dataclass(frozen=True, slots=True)
class Unary(Generic[RequestT]):
    """A unary method: request type and handler. A handler may answer bytes that are already encoded."""

    request: type[RequestT]
    handler: UnaryHandler[RequestT]


@dataclass(frozen=True, slots=True)
class ServerStream(Generic[RequestT]):
    """A server-streaming method."""

    request: type[RequestT]
    handler: StreamHandler[RequestT]


@dataclass(frozen=True, slots=True)
class BidiStream(Generic[RequestT]):
    """A bidirectional stream; used by reflection only."""

    request: type[RequestT]
    handler: Callable[[AsyncIterator[RequestT], Call], AsyncIterator[Message | bytes]]


Method = Unary[Any] | ServerStream[Any] | BidiStream[Any]
Service = Mapping[str, Method]


@dataclass(slots=True, eq=False)
class _Stream:
    """A stream that runs: who began it, how to ask again whether they may, and how to end it."""

    principal: Principal
    authorize: Callable[[], Principal]
    cut: Callable[[AuthError], None]


class Wrapper:
    """Makes gRPC handlers out of methods; holds what the steps need."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        admission: Admission,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self._authenticator = authenticator
        self._admission = admission
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._request_ids: list[str] = []
        self._streams: set[_Stream] = set()

    def reconsider(self) -> None:
        """End every running stream whose caller is no longer who they were, or may no longer call it."""
        for stream in list(self._streams):
            try:
                if stream.authorize().name != stream.principal.name:
                    raise CallerUnauthenticated("somebody else now")
            except AuthError as error:
                self._streams.discard(stream)
                stream.cut(error)

    def service(self, name: str, methods: Service) -> "grpc.GenericRpcHandler[Any, Any]":
        """Return the handler of a whole service, each method wrapped."""
        handlers = {method: self._handler(f"/{name}/{method}", what) for method, what in methods.items()}
        return grpc.method_handlers_generic_handler(name, handlers)

    def unmatched(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """Return the handler of every path that no service has: counted like others, by one name, and refused."""
        return _Unmatched(grpc.stream_stream_rpc_method_handler(self._refuse_unmatched))

    async def _refuse_unmatched(
        self, raws: AsyncIterator[bytes], context: ServicerContext
    ) -> AsyncIterator[bytes]:
        del raws
        # Never the path itself: it may hold anything.
        record, started, metadata = (
            CallRecord(UNMATCHED, "OK", "", 0.0),
            self._clock.elapsed(),
            _metadata(context),
        )
        record.request_id, record.trace_id = self._request_id(metadata), _trace_id(metadata)
        self._observe(record, started, code="UNIMPLEMENTED")
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        yield b""  # never comes: it makes this a stream

    def _handler(self, path: str, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
        policy = POLICIES.get(path)
        match method:
            case Unary():
                return grpc.unary_unary_rpc_method_handler(self._unary(path, policy, method))
            case ServerStream():
                return grpc.unary_stream_rpc_method_handler(self._server_stream(path, policy, method))
            case BidiStream():
                return grpc.stream_stream_rpc_method_handler(self._bidi_stream(path, policy, method))

    def _unary(self, path: str, policy: Policy | None, method: Unary[Any]) -> Callable[..., Awaitable[bytes]]:
        kind, handler = method.request, method.handler
        priority = priority_of(path)

        async def invoke(raw: bytes, context: ServicerContext) -> bytes:
            record, started = CallRecord(path, "OK", "", 0.0), self._clock.elapsed()
            try:
                call, row = self._guard(policy, context, record)
                self._admission.enter(priority, call.principal.name, now=started)
                try:
                    request = _parse(kind, raw)
                    _guard_request(row, request, call)
                    work = handler(request, call)
                    answer = await (work if row.deadline is None else _bounded(work, row, row.deadline))
                    reply = answer if isinstance(answer, bytes) else answer.SerializeToString()
                finally:
                    self._admission.leave()
            except asyncio.CancelledError:
                self._observe(record, started, code="CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - the last resort is a security control
                failure = error
            else:
                self._observe(record, started)
                return reply
            return await self._refuse(context, failure, record, started)

        return invoke

    def _server_stream(
        self, path: str, policy: Policy | None, method: ServerStream[Any]
    ) -> Callable[..., AsyncIterator[bytes]]:
        def messages(raw: bytes, call: Call, row: Policy) -> AsyncIterator[Message | bytes]:
            request = _parse(method.request, raw)
            _guard_request(row, request, call)
            return method.handler(request, call)

        return self._stream(path, policy, messages)

    def _bidi_stream(
        self, path: str, policy: Policy | None, method: BidiStream[Any]
    ) -> Callable[..., AsyncIterator[bytes]]:
        def messages(raws: AsyncIterator[bytes], call: Call, row: Policy) -> AsyncIterator[Message | bytes]:
            del row
            return method.handler(_parse_all(method.request, raws), call)

        return self._stream(path, policy, messages)

    def _stream(
        self,
        path: str,
        policy: Policy | None,
        messages: Callable[[Any, Call, Policy], AsyncIterator[Message | bytes]],
    ) -> Callable[..., AsyncIterator[bytes]]:
        # Must itself be an `async def` with `yield`: anything else makes every stream fail with UNKNOWN (pitfalls).
        async def invoke(raw: Any, context: ServicerContext) -> AsyncIterator[bytes]:
            record, started = CallRecord(path, "OK", "", 0.0), self._clock.elapsed()
            serving = asyncio.current_task()
            cutting: list[asyncio.Task[None]] = []

            def cut(error: AuthError) -> None:
                if not cutting:
                    cutting.append(asyncio.ensure_future(self._cut(context, error, record, started, serving)))

            try:
                call, row = self._guard(policy, context, record)
                call.cut = cut
                with self._reconsidered(row, context, call.principal, cut):
                    async for reply in messages(raw, call, row):
                        yield reply if isinstance(reply, bytes) else reply.SerializeToString()
            except (asyncio.CancelledError, GeneratorExit):
                if not cutting:
                    self._observe(record, started, code="CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - the last resort is a security control
                failure = error
            else:
                self._observe(record, started)
                return
            await self._refuse(context, failure, record, started)

        return invoke

    @contextmanager
    def _reconsidered(
        self, policy: Policy, context: ServicerContext, principal: Principal, cut: Callable[[AuthError], None]
    ) -> Iterator[None]:
        """Have a stream end from outside, while the block runs, as soon as its caller may no longer call it."""
        if policy.roles is None:
            yield
            return
        stream = _Stream(principal, lambda: self._authorize(policy, context), cut)
        self._streams.add(stream)
        try:
            yield
        finally:
            self._streams.discard(stream)

    def _observe(self, record: CallRecord, started: float, *, code: str = "OK") -> None:
        record.code = code
        record.duration_s = self._clock.elapsed() - started
        self._observer.call(record)

    async def _refuse(
        self, context: ServicerContext, failure: Exception, record: CallRecord, started: float
    ) -> NoReturn:
        """Called outside every `except` block, so that no exception hangs on the one gRPC raises to unwind."""
        code, text, details = encode_status(failure)
        record.reason = row_for(failure).reason
        record.error = _describe(failure)
        self._observe(record, started, code=code.name)
        trailing: tuple[tuple[str, str | bytes], ...] = ((DETAILS_KEY, details),)
        if isinstance(failure, RateLimited) and failure.is_overload:
            trailing = (*trailing, (OVERLOAD_KEY, "1"))
        await context.abort(code, text, trailing_metadata=trailing)
        raise AssertionError("abort always raises")

    async def _cut(
        self,
        context: ServicerContext,
        error: AuthError,
        record: CallRecord,
        started: float,
        serving: "asyncio.Task[Any] | None",
    ) -> None:
        """
        End a stream from outside: its reader does not read, or its caller may no longer call it.

        Its status may stand behind what was sent before, so nobody waits for it to arrive: the handler's task ends now.
        To cancel that task alone would leave the client without any status, for ever (grpcio 1.78).
        """
        code, text, details = encode_status(error)
        record.reason = row_for(error).reason
        record.error = _describe(error)
        self._observe(record, started, code=code.name)
        aborting = asyncio.ensure_future(
            context.abort(code, text, trailing_metadata=((DETAILS_KEY, details),))
        )
        await self._clock.sleep(timedelta(0))  # its first step hands the status to the library
        aborting.cancel()
        if serving is not None:
            serving.cancel()
        await asyncio.gather(aborting, return_exceptions=True)

    def _guard(
        self, policy: Policy | None, context: ServicerContext, record: CallRecord
    ) -> tuple[Call, Policy]:
        metadata = _metadata(context)
        record.request_id = self._request_id(metadata)
        record.trace_id = _trace_id(metadata)
        # From here on every event of this call carries its ids.
        current_request.set((record.request_id, record.trace_id))
        principal = _ANYBODY
        try:
            if policy is None:
                raise CallerForbidden("no policy row")
            if policy.roles is not None:
                principal = self._authenticator.identify(context, metadata)
                record.principal = principal.name
                _require_role(policy.roles, principal)
        finally:
            # Also of a refused call: that it was refused is told with it.
            current_origin.set(origin_of(context, metadata, principal, record=record))
        return Call(principal, record.request_id, record.trace_id), policy

    def _authorize(self, policy: Policy, context: ServicerContext) -> Principal:
        principal = self._authenticator.identify(context, _metadata(context))
        _require_role(policy.roles or frozenset(), principal)
        return principal

    def _request_id(self, metadata: Mapping[str, str]) -> str:
        given = metadata.get("x-request-id")
        if given and _REQUEST_ID.fullmatch(given):
            return given
        if not self._request_ids:
            raw = self._entropy.token_bytes(ID_BYTES * _IDS_AT_ONCE)
            self._request_ids = [encode_id(raw[at : at + ID_BYTES]) for at in range(0, len(raw), ID_BYTES)]
        return self._request_ids.pop()


class _Unmatched(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Takes whatever the services before it have not."""

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """See grpc.GenericRpcHandler.service."""
        del handler_call_details
        return self._handler


_ANYBODY = Principal(name="", roles=frozenset(), audiences=frozenset())


def _metadata(context: ServicerContext) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _require_role(roles: frozenset[Role], principal: Principal) -> None:
    if roles.isdisjoint(principal.roles):
        raise CallerForbidden("none of the roles")


def _trace_id(metadata: Mapping[str, str]) -> str:
    given = metadata.get("traceparent")
    match = _TRACEPARENT.fullmatch(given) if given else None
    return match.group(1) if match else ""


def _parse(kind: type[RequestT], raw: bytes) -> RequestT:
    try:
        return kind.FromString(raw)
    except DecodeError:
        pass
    raise InvalidField("request", "is not a valid message")


async def _parse_all(kind: type[RequestT], raws: AsyncIterator[bytes]) -> AsyncIterator[RequestT]:
    async for raw in raws:
        yield _parse(kind, raw)


def _guard_request(policy: Policy, request: Message, call: Call) -> None:
    reach, principal = policy.reach, call.principal
    if policy.oneof:
        case = request.WhichOneof(policy.oneof)
        if case is None:
            raise InvalidField(policy.oneof, "one of its cases is required")
        roles: frozenset[Role] | None = policy.cases.get(case)
        if roles is None or roles.isdisjoint(principal.roles):
            raise CallerForbidden("not for this case")
        reach = policy.reaches.get(case, reach)
    if principal.is_restricted:
        guard_reach(principal, request, reach=reach, audiences=policy.audiences)


async def _bounded(work: Awaitable[Message | bytes], policy: Policy, deadline: timedelta) -> Message | bytes:
    try:
        async with asyncio.timeout(deadline.total_seconds()) as cap:
            return await work
    except TimeoutError:
        if not cap.expired():  # the handler's own, which nobody expected
            raise
    raise policy.cut_off("deadline cap")


def _describe(failure: Exception) -> str:
    """Say what happened for our own log: domain texts are safe by rule, of others only type and place are told."""
    if isinstance(failure, AuthError):
        return str(failure) or type(failure).__name__
    frames = traceback.extract_tb(failure.__traceback__)[-3:]
    places = " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(failure).__name__} at {places}"
