"""The guard of a grpc.aio server."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.grpc_statuses import HEALTH, REFLECTION, authorizations, status_of
from authsvc_client.requiring import (
    A_GOOD_TOKEN,
    UNKNOWABLE,
    Refused,
    Require,
    accepted,
    bearer_of,
    judge_again,
    match_methods,
    refused_for,
    set_current,
)
from authsvc_client.surface import TokenVerifier
from authsvc_client.verdicts import Active, CannotKnow

_END = object()
_NO_REQUIREMENTS: Mapping[str, Require] = MappingProxyType({})


class AuthInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """
    Lets a call pass if its metadata carries `authorization: Bearer <token>` with a good token; all other calls end.

    ```python
    server = grpc.aio.server(interceptors=[AuthInterceptor(verifier)])
    ```

    *require* is asked of every method, unless *requirements* has another Require for its full name
    (`/package.Service/Method`). *public* methods are not looked at, and *always_public* ones neither: gRPC's health and
    reflection unless replaced. In a handler `authsvc_client.current()` is what the token says.

    Refusals are UNAUTHENTICATED (TOKEN_INVALID), PERMISSION_DENIED (TOKEN_INSUFFICIENT) and UNAVAILABLE (NOT_FRESH, with
    RetryInfo), each with an ErrorInfo of domain `authsvc`. The request of a refused call is not read.

    The token of a stream is judged when it begins and, with *recheck_streams*, again as often as that while it runs: the
    stream of a token that is no longer good ends with the same refusals; one that cannot be known goes on, and is judged
    again. Handlers are then to be `async def`.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        require: Require = A_GOOD_TOKEN,
        requirements: Mapping[str, Require] = _NO_REQUIREMENTS,
        public: Iterable[str] = (),
        always_public: Iterable[str] = HEALTH | REFLECTION,
        recheck_streams: timedelta | None = None,
        clock: Clock | None = None,
    ) -> None:
        if recheck_streams is not None and recheck_streams <= timedelta(0):
            raise ValueError("recheck_streams must be positive")
        self._verifier = verifier
        self._require = require
        self._needs = {**match_methods({}, always_public), **match_methods(requirements, public)}
        self._recheck_s = None if recheck_streams is None else recheck_streams.total_seconds()
        self._clock = clock or SystemClock()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        require = self._needs.get(handler_call_details.method, self._require)
        if require is None:
            return await continuation(handler_call_details)
        # Judged here and not in a wrapper of the handler: the handler runs in this task, sees what is set here, and
        # costs nothing more.
        try:
            token = bearer_of(authorizations(handler_call_details.invocation_metadata))
            # What judge_again does, without a coroutine of its own: this is in the way of every call.
            verdict = await self._verifier.verify(
                token, scopes=require.scopes, roles=require.roles, audience=require.audience
            )
            active = verdict if isinstance(verdict, Active) else accepted(verdict)
        except (Refused, CannotKnow) as no:
            handler = await continuation(handler_call_details)
            return None if handler is None else _refusing(handler, refused_for(no))
        set_current(active)
        handler = await continuation(handler_call_details)
        if self._recheck_s is None or handler is None:
            return handler
        if handler.request_streaming or handler.response_streaming:
            return self._rechecking(handler, token, require)
        return handler

    def _rechecking(self, handler: Any, token: str, require: Require) -> Any:
        """Return the handler of a stream with an eye on its token."""
        inner = handler.unary_stream or handler.stream_unary or handler.stream_stream
        if not (inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)):
            raise TypeError("recheck_streams needs handlers that are async def")
        watched = _stream_of if handler.response_streaming else _single_of
        return _handler(handler, watched(inner, lambda: self._until_refused(token, require)))

    async def _until_refused(self, token: str, require: Require) -> Refused:
        while True:
            await self._clock.sleep(self._recheck_s or 0)
            try:
                await judge_again(self._verifier, token, require)
            except Refused as refused:
                if refused.refusal is not UNKNOWABLE:
                    return refused


UntilRefused = Callable[[], Coroutine[Any, Any, Refused]]


def _stream_of(inner: Any, until_refused: UntilRefused) -> Any:
    """Return a handler with a stream of responses that is *inner*, watched."""

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        watch = _Watch(until_refused())
        try:
            responses = inner(request, context)
            if not inspect.isasyncgen(responses):
                await watch.over(responses)  # it writes its responses itself
                return
            while (response := await watch.over(anext(responses, _END))) is not _END:
                yield response
        except Refused as refused:
            await _abort(context, refused)
        finally:
            watch.end()

    return stream


def _single_of(inner: Any, until_refused: UntilRefused) -> Any:
    """Return a handler with one response that is *inner*, watched."""

    async def single(request: Any, context: Any) -> Any:
        watch = _Watch(until_refused())
        try:
            return await watch.over(inner(request, context))
        except Refused as refused:
            return await _abort(context, refused)
        finally:
            watch.end()

    return single


class _Watch:
    """Interrupts what runs `over` it, with Refused, once *until_refused* returns."""

    def __init__(self, until_refused: Any) -> None:
        self._task = asyncio.current_task()
        self._is_inside = False
        self._refused: Refused | None = None
        self._watching = asyncio.ensure_future(until_refused)
        self._watching.add_done_callback(self._interrupt)

    async def over(self, work: Awaitable[Any]) -> Any:
        """
        Return what *work* returns.

        Raises:
            Refused: the token is no longer good; *work* was cancelled.

        """
        if self._refused is not None:
            _close(work)
            raise self._refused
        # Only here may the task be cancelled: elsewhere gRPC would take it for the client's doing.
        self._is_inside = True
        try:
            return await work
        except asyncio.CancelledError:
            if self._refused is None or self._task is None or self._task.uncancel() > 0:
                raise
            raise self._refused from None
        finally:
            self._is_inside = False

    def end(self) -> None:
        """Watch no more."""
        self._watching.cancel()

    def _interrupt(self, watching: "asyncio.Future[Refused]") -> None:
        if watching.cancelled():
            return
        failed = watching.exception()
        self._refused = watching.result() if failed is None else Refused(UNKNOWABLE)
        if self._is_inside and self._task is not None:
            self._task.cancel()


def _close(work: Any) -> None:
    if inspect.iscoroutine(work):
        work.close()


def _handler(like: Any, behavior: Any) -> Any:
    """Return a handler of the same kind."""
    make = {
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(like.request_streaming), bool(like.response_streaming)]
    return make(behavior, like.request_deserializer, like.response_serializer)


def _refusing(like: Any, refused: Refused) -> Any:
    """Return a handler of the same kind that refuses, and reads no request."""

    async def single(request: Any, context: Any) -> None:  # noqa: ARG001 - the signature of a handler
        await _abort(context, refused)

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:  # noqa: ARG001 - as above
        await _abort(context, refused)
        yield b""  # an async generator, as a handler of a stream of responses has to be

    if like.response_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if like.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(stream)
    make_one = (
        grpc.stream_unary_rpc_method_handler
        if like.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make_one(single)


async def _abort(context: Any, refused: Refused) -> None:
    code, text, trailers = status_of(refused)
    await context.abort(code, text, trailers)
