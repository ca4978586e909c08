"""The same small application behind both HTTP guards, on real sockets, and a client that says exactly what was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from authsvc_client import current, current_or_none, require, requires
from authsvc_client.asgi import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]

    def header(self, name: str) -> str | None:
        values = self.headers.get(name, [])
        assert len(values) <= 1, (name, values)
        return values[0] if values else None


Client = Callable[..., Any]


async def http_get(port: int, path: str, headers: list[tuple[str, str]]) -> Answer:
    """Send one GET with exactly these headers, doubled ones too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    raw = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    found: dict[str, list[str]] = {}
    for line in fields:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return Answer(int(status.split(" ")[1]), found, body)


# -- aiohttp ---------------------------------------------------------------------------------------------------------


async def _who(request: web.Request) -> web.Response:
    active = current_or_none()
    assert active is request.get("authsvc")
    return web.Response(text="nobody" if active is None else current().user_id)


@requires(scopes=["write"])
async def _more(request: web.Request) -> web.Response:
    return web.Response(text=f"{request['authsvc'].user_id} {current().user_id}")


async def _fails(request: web.Request) -> web.Response:
    if "boom" in request.query:
        raise ZeroDivisionError
    raise web.HTTPConflict(text="own")


class _View(web.View):
    @requires(roles=["admin"])
    async def get(self) -> web.Response:
        return web.Response(text=self.request["authsvc"].user_id)


@asynccontextmanager
async def aiohttp_service(middleware: Any) -> AsyncIterator[Client]:
    """A client of an aiohttp application behind *middleware*."""
    app = web.Application(middlewares=[middleware])
    for path in ("/", "/admin/users", "/administrator", "/healthz", "/healthz/deep"):
        app.router.add_get(path, _who)
    app.router.add_get("/more", _more)
    app.router.add_get("/healthz/more", _more)
    app.router.add_get("/fails", _fails)
    app.router.add_view("/view", _View)
    app.router.add_get("/{segment}", _who)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield lambda path, *headers: http_get(port, path, list(headers))
    finally:
        await runner.cleanup()


# -- ASGI ------------------------------------------------------------------------------------------------------------


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The same application, as plain ASGI."""
    path, status, text = scope["path"], 200, ""
    active = current_or_none()
    assert active is scope["authsvc"]
    if path in {"/more", "/healthz/more"}:
        text = f"{require(scope, scopes=['write']).user_id} {current().user_id}"
    elif path == "/view":
        text = require(scope, roles=["admin"]).user_id
    elif path == "/fails" and b"boom" in scope["query_string"]:
        raise ZeroDivisionError
    elif path == "/fails":
        status, text = 409, "own"
    else:
        text = "nobody" if active is None else current().user_id
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


@asynccontextmanager
async def asgi_service(app: Any) -> AsyncIterator[Client]:
    """A client of an ASGI application on a socket, served by the least that is an HTTP/1.1 server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        target = head[0].split(b" ")[1].partition(b"?")
        pairs = [line.partition(b":") for line in head[1:]]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": unquote(target[0].decode()),
            "query_string": target[2],
            "headers": [(name.strip().lower(), value.strip()) for name, _, value in pairs],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        started: list[int] = []

        async def send(event: Any) -> None:
            if event["type"] == "http.response.start":
                started.append(event["status"])
                writer.write(b"HTTP/1.1 %d X\r\n" % event["status"])
                writer.writelines(b"%s: %s\r\n" % pair for pair in event["headers"])
                writer.write(b"\r\n")
            else:
                writer.write(event["body"])

        try:
            await app(scope, receive, send)
        except ZeroDivisionError:
            assert not started
            writer.write(b"HTTP/1.1 500 X\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield lambda path, *headers: http_get(port, path, list(headers))
    finally:
        server.close()
        await server.wait_closed()
