"""Listeners beside the edge: whoever is slow there is closed, whoever is not is served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from authsvc.deadlines import Deadlines
from authsvc.ops import OpsServer
from authsvc.sandbox.server import SandboxServer
from authsvc.sandbox.world import World
from tests.fakes import FakeClock, SeededEntropy

SOON = timedelta(milliseconds=200)
SHORT = Deadlines(header=SOON, body=SOON, write=SOON)
ALIVE = {"operations": b"/healthz", "sandbox": b"/sandbox/v1/health"}
Address = tuple[str, int]
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _exposition() -> tuple[bytes, str]:
    return b"m 1\n" * 8_000_000, "text/plain"  # more than a kernel buffers


def _operations() -> OpsServer:
    return OpsServer(
        host="127.0.0.1", port=0, exposition=_exposition, probes={}, check_host=True, deadlines=SHORT
    )


def _sandbox() -> SandboxServer:
    entropy = SeededEntropy()
    return SandboxServer(world=World(entropy=entropy), clock=FakeClock(), entropy=entropy, deadlines=SHORT)


@pytest.fixture(params=["operations", "sandbox"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def _listening(kind: str) -> AsyncIterator[Address]:
    server = _operations() if kind == "operations" else _sandbox()
    url = await server.start()
    if isinstance(server, SandboxServer):
        url = server.base_url
    assert url
    try:
        yield "127.0.0.1", int(url.rpartition(":")[2])
    finally:
        await server.stop()


@pytest.fixture
async def address(kind: str) -> AsyncIterator[Address]:
    async with _listening(kind) as it:
        yield it


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection closes, however it does; the test's own time limit is the bound."""
    parts = []
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("beginning", [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
async def test_half_sent_headers_are_closed(address: Address, beginning: bytes) -> None:
    """Silence from the first moment, and headers without an end, end the connection without an answer."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(beginning)
    assert await _rest(reader) == b""
    writer.close()


async def test_a_half_sent_body_is_closed(address: Address) -> None:
    """A body that does not come is answered or not, and the connection ends."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"POST /cgi-bin/stable_token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
    answer = await _rest(reader)
    writer.close()
    assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))


async def test_a_request_in_time_is_served_many_times(kind: str, address: Address) -> None:
    """The deadline is each request's own: a connection that is used outlives it, beside a hundred that are not."""
    idle = [await asyncio.open_connection(*address) for _ in range(100)]
    reader, writer = await asyncio.open_connection(*address)
    closed = [asyncio.ensure_future(_rest(reader)) for reader, _ in idle]
    while not all(each.done() for each in closed):
        writer.write(b"GET " + ALIVE[kind] + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.wait(closed, timeout=0.02)
    for _, each in [*idle, (reader, writer)]:
        each.close()


async def test_a_reader_that_does_not_read_is_closed() -> None:
    """A large answer that nobody takes is given up: the connection breaks before the answer's end."""
    async with _listening("operations") as address:
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        probe, other = await asyncio.open_connection(*address)
        assert await _rest(probe) == b""  # as long as that takes, and more than one look of the listener
        other.close()
        transport.resume_reading()
        got = await _rest(reader)
        writer.close()
        assert len(got) < 32_000_000
