"""The edge on a real socket: an HTTP client, raw bytes, and the world behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import orjson
from aiohttp import web

from authsvc.edge import EdgeServer, EdgeSettings, create_edge
from tests.edge.peer import Peer
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy

SETTINGS = EdgeSettings(default_app="wx00000000000000d1", keep_alive=timedelta(minutes=10))


@dataclass
class Answer:
    """A reply, read whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


@dataclass
class World:
    """One edge, its scripted server, and what it reported."""

    url: str
    peer: Peer
    server: EdgeServer
    app: web.Application
    clock: FakeClock
    observer: RecordingObserver
    http: aiohttp.ClientSession
    address: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        async with self.http.request(method, self.url + path, allow_redirects=False, **more) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        return await self.ask("POST", path, data=data, headers=headers, **more)

    async def verify(self, query: str = "", **more: Any) -> Answer:
        return await self.get(f"/api/v1/verify{query}", headers={"Authorization": "Bearer a.b.c"}, **more)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, end the sending side, and return everything that comes back until the edge closes."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def until_called(self, count: int) -> None:
        """Return once *count* calls were reported."""
        while len(self.observer.calls) < count:
            await a_moment()

    async def until_closed(self, reader: asyncio.StreamReader, *, step: timedelta) -> tuple[bytes, timedelta]:
        """Advance the clock step by step until the edge closes; return what it sent and how long that took."""
        reading = asyncio.ensure_future(_read_all(reader))
        waited = timedelta(0)
        while not (await asyncio.wait({reading}, timeout=0.02))[0]:
            await self.clock.until_sleeping()
            self.clock.advance(step)
            waited += step
        return reading.result(), waited


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@asynccontextmanager
async def running(
    settings: EdgeSettings = SETTINGS,
    *,
    target: str = "",
    prepare: Callable[[web.Application], None] | None = None,
) -> AsyncIterator[World]:
    """Run an edge in front of a scripted peer, or of *target*; *prepare* may plant a fault before it starts."""
    peer = Peer()
    target = target or await peer.start()
    clock, observer = FakeClock(), RecordingObserver()
    channel = grpc.aio.insecure_channel(target, options=[("grpc.enable_retries", 0)])
    app = create_edge(
        channel=channel, settings=settings, observer=observer, clock=clock, entropy=SeededEntropy()
    )
    if prepare is not None:
        prepare(app)
    server = EdgeServer(app, host="127.0.0.1", port=0, settings=settings)
    url = await server.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            yield World(url, peer, server, app, clock, observer, http)
    finally:
        await server.stop(timedelta(seconds=1))
        await channel.close(None)
        await peer.stop()


async def a_moment() -> None:
    """Let real sockets move; the caller loops until what it waits for is true."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()
