"""
A peer on a real socket that misbehaves as told, and a client set up to meet it.

aiohttp's own test server hides resends, so the peers are plain asyncio servers that count what arrives.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

from authsvc.wechat import WeChatApp, WeChatClient, WeChatSettings
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy

APP_ID = "wx00000000000000e1"
SECRET = "canarysecretcanarysecretcanary00"
CODE = "canarycodecanarycodecanarycode00"
OPENID = "canaryopenidcanaryopenid0000"
SESSION_KEY = "Y2FuYXJ5a2V5Y2FuYXJ5a2V5"
GOOD_BODY = json.dumps({"openid": OPENID, "session_key": SESSION_KEY}).encode()
CANARIES = (SECRET, CODE, OPENID, SESSION_KEY)
# Sockets can only be waited on in real time. Nothing asserts how long anything took: patience that a passing test
# uses up is tiny, patience that it must not use up is far longer than any stall of a busy machine.
SOON = timedelta(milliseconds=100)  # where nothing else can happen, however the machine stalls
LATER = timedelta(milliseconds=400)  # where a request has to get through first
NEVER = timedelta(seconds=60)


@dataclass(slots=True)
class Visit:
    """One request that arrived, and the connection to answer it on."""

    request: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: int
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path of the request target."""
        return urlsplit(self.target).path

    @property
    def target(self) -> str:
        """The request target, as written on the wire."""
        return self.request.split(b" ", 2)[1].decode("ascii")

    @property
    def query(self) -> dict[str, str]:
        """The decoded query parameters."""
        return dict(parse_qsl(urlsplit(self.target).query, strict_parsing=True))

    async def answer(
        self,
        body: bytes = GOOD_BODY,
        *,
        status: str = "200 OK",
        content_type: str = "text/plain",
        headers: str = "",
    ) -> None:
        """Answer in full; the connection stays as it is."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.write(head.encode() + body)

    async def write(self, data: bytes) -> None:
        """Put bytes on the wire; a client that has gone away is its own business."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def drop(self) -> None:
        """Close in an orderly way (FIN) without another byte."""
        self.writer.close()

    def reset(self) -> None:
        """Close with a reset (RST)."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()


Behaviour = Callable[[Visit], Awaitable[None]]


@dataclass(slots=True)
class Peer:
    """A running server; `visits` are all the requests that ever arrived on it."""

    port: int
    scheme: str = "http"
    visits: list[Visit] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """A peer that reads whole requests and then does what *behave* says, on as many connections as come."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        peer.connections += 1
        connection = peer.connections
        try:
            while not writer.is_closing():
                request = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_content_length(request))
                visit = Visit(request, reader, writer, connection, body)
                peer.visits.append(visit)
                peer.arrived.set()
                await behave(visit)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            handlers.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    peer = Peer(port, "https" if tls else "http")
    try:
        yield peer
    finally:
        server.close()
        await server.wait_closed()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def _content_length(request: bytes) -> int:
    for line in request.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def be_good(visit: Visit) -> None:
    await visit.answer()


async def drop(visit: Visit) -> None:
    visit.drop()


async def hang(_visit: Visit) -> None:
    await asyncio.Event().wait()


def refused_url() -> str:
    """An origin on which connections are refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def app_at(url: str, *backups: str) -> WeChatApp:
    """An app whose patience is never used up, except where a test makes it small."""
    return WeChatApp(
        app_id=APP_ID,
        secret=SECRET,
        base_url=url,
        backup_urls=backups,
        deadline=NEVER,
        connect_timeout=NEVER,
        slot_wait=NEVER,
    )


@dataclass(slots=True)
class Rig:
    """A started client with everything a test looks at."""

    client: WeChatClient
    clock: FakeClock
    observer: RecordingObserver

    @property
    def last_call(self) -> dict[str, str | int | float | bool]:
        """The fields of the latest `wechat.call`."""
        return dict(self.observer.named("wechat.call")[-1].fields)


@contextlib.asynccontextmanager
async def started(*apps: WeChatApp, settings: WeChatSettings | None = None) -> AsyncIterator[Rig]:
    """A client for *apps* that is closed afterwards."""
    clock, observer = FakeClock(), RecordingObserver()
    client = WeChatClient(
        apps={app.app_id: app for app in apps},
        clock=clock,
        entropy=SeededEntropy(),
        observer=observer,
        settings=settings or WeChatSettings(),
    )
    async with client:
        yield Rig(client, clock, observer)


def impatient(app: WeChatApp) -> WeChatApp:
    """The same app with a deadline that a test can afford to wait for."""
    return replace(app, deadline=LATER)


async def exchange(rig: Rig, code: str = CODE) -> None:
    """Exchange a code of the usual app."""
    await rig.client.code_to_session(app_id=APP_ID, code=code)
