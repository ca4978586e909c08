"""The guard of a threaded gRPC server."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import grpc

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.grpc_statuses import HEALTH, REFLECTION, authorizations, status_of
from authsvc_client.requiring import (
    A_GOOD_TOKEN,
    UNKNOWABLE,
    Refused,
    Require,
    bearer_of,
    judge_again_blocking,
    match_methods,
    set_current,
)
from authsvc_client.surface import SyncTokenVerifier

_NO_REQUIREMENTS: Mapping[str, Require] = MappingProxyType({})
# A server has fewer methods; one that answers to any name must not fill the memory with them.
_MOST_WRAPPED = 10_000


class SyncAuthInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """
    AuthInterceptor for `grpc.server`, with a SyncVerifier; arguments and refusals are the same.

    Tokens are judged on the server's worker threads. With *recheck_streams* a stream is judged again with the first
    message that passes after that time. One on which nothing passes for twice the time is judged too: it can only be
    ended as CANCELLED.
    """

    def __init__(
        self,
        verifier: SyncTokenVerifier,
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
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.ServerInterceptor."""
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        require = self._needs.get(method, self._require)
        if handler is None or require is None:
            return handler
        # This runs on the one thread that takes calls in: it must not wait. So the judgement is in the handler, which
        # is wrapped once.
        original, wrapped = self._wrapped.get(method, (None, None))
        if original is not handler:
            wrapped = self._wrap(handler, require)
            if len(self._wrapped) < _MOST_WRAPPED or method in self._wrapped:
                self._wrapped[method] = (handler, wrapped)
        return wrapped

    def _wrap(self, handler: Any, require: Require) -> Any:
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        every_s = self._recheck_s

        def plain(request: Any, context: Any) -> Any:
            self._admit(context, require)
            return inner(request, context)

        def rechecked(request: Any, context: Any) -> Any:
            token = self._admit(context, require)
            recheck = _Recheck(
                lambda: judge_again_blocking(self._verifier, token, require),
                context=context,
                clock=self._clock,
                every_s=every_s or 0,
            )
            if handler.request_streaming:
                request = recheck.passing(request)
            response = inner(request, context)
            return recheck.passing(response) if handler.response_streaming else response

        streams = handler.request_streaming or handler.response_streaming
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        behavior = rechecked if streams and every_s is not None else plain
        return make(behavior, handler.request_deserializer, handler.response_serializer)

    def _admit(self, context: Any, require: Require) -> str:
        try:
            token = bearer_of(authorizations(context.invocation_metadata()))
            active = judge_again_blocking(self._verifier, token, require)
        except Refused as refused:
            _abort(context, refused)
            raise  # abort has raised
        set_current(active)  # of this call: gRPC gives every call a context of its own
        return token


class _Recheck:
    """Judges the token of a running stream again: where messages pass, and where none do."""

    def __init__(self, judge: Callable[[], object], *, context: Any, clock: Clock, every_s: float) -> None:
        self._judge = judge
        self._context = context
        self._clock = clock
        self._every_s = every_s
        self._judged_at = clock.elapsed_s()
        self._ended = threading.Event()
        threading.Thread(target=self._watch_silence, name="authsvc-recheck", daemon=True).start()
        if not context.add_callback(self._ended.set):
            self._ended.set()

    def passing(self, messages: Iterable[Any]) -> Iterator[Any]:
        """Pass messages on while the token is good, else abort."""
        for message in messages:
            if self._clock.elapsed_s() - self._judged_at >= self._every_s:
                refused = self._refused()
                if refused is not None:
                    _abort(self._context, refused)
            yield message

    def _refused(self) -> Refused | None:
        self._judged_at = self._clock.elapsed_s()
        try:
            self._judge()
        except Refused as refused:
            return None if refused.refusal is UNKNOWABLE else refused
        return None

    def _watch_silence(self) -> None:
        while not self._ended.wait(self._every_s):
            silent_s = self._clock.elapsed_s() - self._judged_at
            if silent_s >= 2 * self._every_s and self._refused() is not None:
                self._context.cancel()
                return


def _abort(context: Any, refused: Refused) -> None:
    code, text, trailers = status_of(refused)
    context.set_trailing_metadata(trailers)
    context.abort(code, text)
