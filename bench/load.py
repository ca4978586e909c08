"""Load generators. Each sends a number of calls and returns every call's latency in seconds."""

import asyncio
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc.aio

Latencies = list[float]
Work = TypeVar("Work")


class CallsFailed(Exception):
    """Not every call did what it should: a measurement of something else."""


async def spread(work: Iterable[Work], *, callers: int, call: Callable[[Work], Awaitable[None]]) -> Latencies:
    """Let *callers* work off the calls, each sending its next one when the last is answered."""
    latencies: Latencies = []
    queue = iter(work)

    async def caller() -> None:
        for request in queue:
            began = time.perf_counter()
            await call(request)
            latencies.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return latencies


class GrpcClient:
    """A real client: grpc.aio in this process, one channel."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[("grpc.enable_retries", 0)])

    async def run(self, method: str, requests: Iterable[bytes], *, callers: int, begins: bytes) -> Latencies:
        """
        Send each request once.

        Raises:
            CallsFailed: an answer was not OK, or did not begin with *begins*.

        """
        send = self._channel.unary_unary(method, None, None)

        async def call(request: bytes) -> None:
            try:
                reply: bytes = await send(request)
            except grpc.aio.AioRpcError as error:
                raise CallsFailed(f"{method}: {error.code().name}: {error.details()}") from None
            if not reply.startswith(begins):
                raise CallsFailed(f"{method}: answered {reply[:16]!r}...")

        return await spread(requests, callers=callers, call=call)

    async def call(self, method: str, request: bytes) -> bytes:
        """Return the answer to one request."""
        reply: bytes = await self._channel.unary_unary(method, None, None)(request)
        return reply

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close(None)


class HttpClient:
    """A lean HTTP/1.1 client over bare streams of this process, keep-alive; written here to leave the core to waiting."""

    def __init__(self, base_url: str) -> None:
        self._host, _, port = base_url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self.bodies: list[bytes] = []

    def request(self, line: str, *, headers: str = "", body: bytes = b"") -> bytes:
        """Return the bytes of one request; *line* is method and path."""
        length = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n" if body else ""
        host = f"Host: {self._host}:{self._port}\r\n"
        return f"{line} HTTP/1.1\r\n{host}{headers}{length}\r\n".encode() + body

    async def run(self, requests: Iterable[bytes], *, callers: int) -> Latencies:
        """
        Send each request once; the bodies of the answers are in `bodies`, in the order they came.

        Raises:
            CallsFailed: an answer was not 200.

        """
        self.bodies.clear()
        while len(self._idle) < callers:
            self._idle.append(await asyncio.open_connection(self._host, self._port))
        return await spread(requests, callers=callers, call=self._call)

    async def _call(self, request: bytes) -> None:
        reader, writer = self._idle.popleft()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _content_length(head)
        self.bodies.append(await reader.readexactly(length) if length else b"")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise CallsFailed(f"{request[:40]!r}...: {head[:40]!r} {self.bodies[-1][:200]!r}")
        self._idle.append((reader, writer))

    async def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise CallsFailed("an answer without Content-Length")


class H2load:
    """
    Debian's h2load as a gRPC client: cheap, but it repeats one request and one header block.

    It counts HTTP 200, not grpc-status, so the caller looks at the server's own counters afterwards.
    """

    def __init__(self, program: str, *, directory: Path) -> None:
        self._program = program
        self._body = directory / "h2load.body"
        self._log = directory / "h2load.log"

    async def run(self, target: str, method: str, request: bytes, *, calls: int, callers: int) -> Latencies:
        """
        Send the same request *calls* times over one connection, *callers* at a time.

        Raises:
            CallsFailed: an answer was not HTTP 200.

        """
        self._body.write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
        self._log.unlink(missing_ok=True)
        command = [
            self._program, "-n", str(calls), "-c", "1", "-m", str(callers), "-d", str(self._body),
            "-H", "content-type: application/grpc", "-H", "te: trailers",
            "--log-file", str(self._log), f"http://{target}{method}",
        ]  # fmt: skip
        done = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if await done.wait():
            raise CallsFailed(f"h2load ended with {done.returncode}")
        lines = [line.split("\t") for line in self._log.read_text(encoding="ascii").splitlines()]
        if len(lines) != calls or any(line[1] != "200" for line in lines):
            raise CallsFailed(f"{method}: h2load did not get {calls} times HTTP 200")
        return [int(line[2]) / 1e6 for line in lines]


def repeated(request: bytes, calls: int) -> Iterator[bytes]:
    """Yield the same request again and again."""
    return (request for _ in range(calls))
