"""
The way to the server: channels as the contract wants them, and the three calls of a verifier over either kind of channel.

`Calls` is what the rest of the package sees. `AioCalls` speaks over `grpc.aio`; `ThreadedCalls` over a plain channel,
with a thread for what blocks, so that a threaded service needs no second grpc.aio loop in its process.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, Protocol, Self, TypeVar

import grpc
import grpc.aio

from authapi.v1 import (
    AuthServiceStub,
    BatchVerifyTokensRequest,
    BatchVerifyTokensResponse,
    Cursor,
    GetJwksRequest,
    GetJwksResponse,
    KeyServiceStub,
    RevocationServiceStub,
    SessionServiceStub,
    UserServiceStub,
    VerifyTokenRequest,
    WatchRevocationsRequest,
    WatchRevocationsResponse,
    WeChatServiceStub,
)

T = TypeVar("T")
Metadata = Sequence[tuple[str, str | bytes]]
MetadataSource = Metadata | Callable[[], Metadata]
"""Metadata for every call, or what makes it anew for each (a credential that is rotated)."""


class CallFailure(Exception):
    """A call ended with an error, which several callers may have to be told."""

    @property
    def blames_request(self) -> bool:
        """Whether one of several requests may be to blame, so that the others deserve another call."""
        return False

    def again(self) -> Self:
        """Return the same error for another caller: an exception is raised once."""
        raise NotImplementedError


class Unanswered(CallFailure):
    """A call ended with an error status; `code` is its name. What the server or a proxy wrote is not repeated."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the call ended with {code}")
        self.code = code

    @property
    def blames_request(self) -> bool:
        """See CallFailure."""
        return self.code in {"INVALID_ARGUMENT", "PERMISSION_DENIED", "OUT_OF_RANGE"}

    def again(self) -> Self:
        """See CallFailure."""
        return type(self)(self.code)


class Stream(Protocol):
    """An open WatchRevocations."""

    async def read(self) -> WatchRevocationsResponse | None:
        """
        Return the next message, or None after the last.

        Raises:
            Unanswered: the stream ended with an error.

        """
        ...

    def cancel(self) -> None:
        """End it. Idempotent."""
        ...


class Calls(Protocol):
    """The calls of a verifier; each raises Unanswered for an error status."""

    async def get_jwks(self, *, timeout_s: float) -> GetJwksResponse:
        """Call KeyService.GetJwks."""
        ...

    async def verify(
        self, requests: Iterable[VerifyTokenRequest], *, timeout_s: float
    ) -> BatchVerifyTokensResponse:
        """Call AuthService.BatchVerifyTokens."""
        ...

    def watch(self, resume_from: bytes) -> Stream:
        """Open RevocationService.WatchRevocations; empty bytes ask for a snapshot."""
        ...


def service_config() -> str:
    """Return the gRPC service config that every client of the contract should use (`clients/service_config.json`)."""
    return files("authsvc_client").joinpath("service_config.json").read_text("utf-8")


def channel_options() -> list[tuple[str, Any]]:
    """Return the options of a channel: the service config, short reconnects, and pings that find dead connections."""
    return [
        ("grpc.service_config", service_config()),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]


def aio_channel(target: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """Return a channel to *target*; plaintext without *credentials*. To be called where an event loop runs."""
    options = channel_options()
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)


def blocking_channel(target: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """Return a channel to *target* for threads; plaintext without *credentials*."""
    options = channel_options()
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def metadata_of(source: MetadataSource) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata of one call."""
    return tuple(source() if callable(source) else source)


class Stubs:
    """The contract's stubs over a channel of either kind; their calls are awaited or not, as the channel's are."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        either: Any = channel
        self.auth: Any = AuthServiceStub(either)
        self.sessions: Any = SessionServiceStub(either)
        self.keys: Any = KeyServiceStub(either)
        self.wechat: Any = WeChatServiceStub(either)
        self.users: Any = UserServiceStub(either)


class AioCalls:
    """Implements Calls over a grpc.aio channel."""

    def __init__(self, channel: grpc.aio.Channel, metadata: MetadataSource = ()) -> None:
        self._auth: Any = AuthServiceStub(channel)
        self._keys: Any = KeyServiceStub(channel)
        self._revocations: Any = RevocationServiceStub(channel)
        self._metadata = metadata

    async def get_jwks(self, *, timeout_s: float) -> GetJwksResponse:
        """See Calls."""
        call: Awaitable[GetJwksResponse] = self._keys.GetJwks(
            GetJwksRequest(), timeout=timeout_s, wait_for_ready=True, metadata=metadata_of(self._metadata)
        )
        return await _answer(call)

    async def verify(
        self, requests: Iterable[VerifyTokenRequest], *, timeout_s: float
    ) -> BatchVerifyTokensResponse:
        """See Calls."""
        call: Awaitable[BatchVerifyTokensResponse] = self._auth.BatchVerifyTokens(
            BatchVerifyTokensRequest(requests=requests),
            timeout=timeout_s,
            metadata=metadata_of(self._metadata),
        )
        return await _answer(call)

    def watch(self, resume_from: bytes) -> Stream:
        """See Calls."""
        request = WatchRevocationsRequest(resume_from=Cursor(value=resume_from))
        return _AioStream(
            self._revocations.WatchRevocations(
                request, wait_for_ready=True, metadata=metadata_of(self._metadata)
            )
        )


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.RpcError as error:
        raise _unanswered(error) from None


def _unanswered(error: Any) -> Unanswered:
    return Unanswered(error.code().name)


class _AioStream:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> WatchRevocationsResponse | None:
        end: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in grpc-stubs
        message: Any = await _answer(self._call.read())
        return None if message is end else message

    def cancel(self) -> None:
        self._call.cancel()


class ThreadedCalls:
    """Implements Calls over a plain channel: what blocks runs in threads of its own. Close it after the channel."""

    def __init__(self, channel: grpc.Channel, metadata: MetadataSource = ()) -> None:
        self._auth: Any = AuthServiceStub(channel)
        self._keys: Any = KeyServiceStub(channel)
        self._revocations: Any = RevocationServiceStub(channel)
        self._metadata = metadata
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="authsvc-calls")

    async def get_jwks(self, *, timeout_s: float) -> GetJwksResponse:
        """See Calls."""
        call: Callable[[], GetJwksResponse] = functools.partial(
            self._keys.GetJwks,
            GetJwksRequest(),
            timeout=timeout_s,
            wait_for_ready=True,
            metadata=metadata_of(self._metadata),
        )
        return await _answer(self._in_thread(call))

    async def verify(
        self, requests: Iterable[VerifyTokenRequest], *, timeout_s: float
    ) -> BatchVerifyTokensResponse:
        """See Calls."""
        call: Callable[[], BatchVerifyTokensResponse] = functools.partial(
            self._auth.BatchVerifyTokens,
            BatchVerifyTokensRequest(requests=requests),
            timeout=timeout_s,
            metadata=metadata_of(self._metadata),
        )
        return await _answer(self._in_thread(call))

    def watch(self, resume_from: bytes) -> Stream:
        """See Calls."""
        request = WatchRevocationsRequest(resume_from=Cursor(value=resume_from))
        call = self._revocations.WatchRevocations(
            request, wait_for_ready=True, metadata=metadata_of(self._metadata)
        )
        return _ThreadedStream(call, self._in_thread)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _in_thread(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


class _ThreadedStream:
    def __init__(self, call: Any, in_thread: Callable[[Callable[[], Any]], "asyncio.Future[Any]"]) -> None:
        self._call = call
        self._next = functools.partial(next, call, None)
        self._in_thread = in_thread

    async def read(self) -> WatchRevocationsResponse | None:
        message: WatchRevocationsResponse | None = await _answer(self._in_thread(self._next))
        return message

    def cancel(self) -> None:
        self._call.cancel()
