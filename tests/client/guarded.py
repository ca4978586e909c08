"""A small service of every kind of RPC for both kinds of gRPC server, and what callers see of its guard."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio

from authsvc_client import current, current_or_none
from tests.support.server import Refused, read_refusal

SERVICE = "demo.Greeter"
ONE, DOWN, UP, BOTH, FAILS, RAISES, PUBLIC = (
    f"/{SERVICE}/{name}" for name in ("One", "Down", "Up", "Both", "Fails", "Raises", "Public")
)
KINDS = {ONE: "unary_unary", DOWN: "unary_stream", UP: "stream_unary", BOTH: "stream_stream"}


def who() -> bytes:
    """The user of the call, seen from a handler."""
    active = current_or_none()
    return b"nobody" if active is None else active.user_id.encode()


class AioGreeter:
    """Handlers for grpc.aio; `silent` streams wait for `speak` before they say anything more."""

    def __init__(self) -> None:
        self.handled = 0
        self.cleaned = 0
        self.speak = asyncio.Event()

    async def one(self, request: bytes, context: Any) -> bytes:
        self.handled += 1
        return request + b":" + current().user_id.encode()

    async def public(self, request: bytes, context: Any) -> bytes:
        return who()

    async def down(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.handled += 1
        try:
            for n in range(2):
                yield b"%d:" % n + current().user_id.encode()
            if request == b"wait":
                await self.speak.wait()
                yield b"spoke"
        finally:
            self.cleaned += 1

    async def up(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        self.handled += 1
        try:
            return b",".join([one async for one in requests]) + b":" + who()
        finally:
            self.cleaned += 1

    async def both(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Writes its responses itself."""
        self.handled += 1
        try:
            async for one in requests:
                await context.write(one + b":" + who())
        finally:
            self.cleaned += 1

    async def fails(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing", (("x-own", "kept"),))
        raise AssertionError

    async def raises(self, request: bytes, context: Any) -> bytes:
        raise ZeroDivisionError("of the handler")


class SyncGreeter:
    """The same for threads."""

    def __init__(self) -> None:
        self.handled = 0
        self.cleaned = 0
        self.speak = threading.Event()

    def one(self, request: bytes, context: Any) -> bytes:
        self.handled += 1
        return request + b":" + current().user_id.encode()

    def public(self, request: bytes, context: Any) -> bytes:
        return who()

    def down(self, request: bytes, context: Any) -> Iterator[bytes]:
        self.handled += 1
        for n in range(2):
            yield b"%d:" % n + current().user_id.encode()
        if request == b"wait":
            self.speak.wait(30)
            yield b"spoke"

    def up(self, requests: Iterator[bytes], context: Any) -> bytes:
        self.handled += 1
        return b",".join(requests) + b":" + who()

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self.handled += 1
        for one in requests:
            yield one + b":" + who()

    def fails(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-own", "kept"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        raise AssertionError

    def raises(self, request: bytes, context: Any) -> bytes:
        raise ZeroDivisionError("of the handler")


def handlers(greeter: AioGreeter | SyncGreeter) -> Any:
    """The generic handler of a greeter, and of a health service beside it."""
    unary = grpc.unary_unary_rpc_method_handler
    methods = {
        "One": unary(greeter.one),
        "Public": unary(greeter.public),
        "Fails": unary(greeter.fails),
        "Raises": unary(greeter.raises),
        "Down": grpc.unary_stream_rpc_method_handler(greeter.down),
        "Up": grpc.stream_unary_rpc_method_handler(greeter.up),
        "Both": grpc.stream_stream_rpc_method_handler(greeter.both),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def health(greeter: AioGreeter | SyncGreeter) -> Any:
    return grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(greeter.public)}
    )


@asynccontextmanager
async def aio_service(interceptor: Any, greeter: AioGreeter) -> AsyncIterator[str]:
    """The address of a grpc.aio server behind *interceptor*."""
    server = grpc.aio.server(interceptors=[interceptor], options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(greeter), health(greeter)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextmanager
def sync_service(interceptor: Any, greeter: SyncGreeter) -> Iterator[str]:
    """The address of a threaded server behind *interceptor*."""
    server = grpc.server(
        ThreadPoolExecutor(8), interceptors=[interceptor], options=[("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers((handlers(greeter), health(greeter)))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        greeter.speak.set()
        server.stop(None).wait(30)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def invoke(channel: grpc.Channel, method: str, metadata: Any, request: bytes) -> list[bytes]:
    """Call a method of any kind on this thread; return all of its responses."""
    kind = KINDS.get(method, "unary_unary")
    begin: Any = getattr(channel, kind)(method)
    outgoing: Any = iter([request, b"again"]) if kind.startswith("stream") else request
    made = begin(outgoing, metadata=metadata, timeout=30)
    return list(made) if kind.endswith("stream") else [made]


async def call(address: str, method: str, *, metadata: Any = (), request: bytes = b"hi") -> list[bytes]:
    """
    Call a method of any kind over a real connection; return all of its responses.

    With the threaded client: grpc.aio's forgets the status of a call that ends while it still writes.
    """

    def work() -> list[bytes]:
        with grpc.insecure_channel(address) as channel:
            return invoke(channel, method, metadata, request)

    return await asyncio.to_thread(work)


async def failure(address: str, method: str, *, metadata: Any = ()) -> Any:
    """The error of a call that must fail."""
    try:
        answered = await call(address, method, metadata=metadata)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"was answered: {answered}")


async def refusal(address: str, method: str, *, metadata: Any = ()) -> Refused:
    """The refusal of a call that must be refused, with exactly one ErrorInfo of ours."""
    return read_refusal(await failure(address, method, metadata=metadata))
