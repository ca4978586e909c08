"""One HTTP connection of the edge: its deadlines are `authsvc.deadlines`', its refusals the edge's own."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from authsvc.deadlines import Deadlines, TimedConnection
from authsvc.edge.settings import EdgeSettings
from authsvc.ports import Clock

Render = Callable[[web.BaseRequest, int, dict[str, str]], web.Response]
"""Make the edge's error reply for a request that never reached a route, from an HTTP status and extra headers."""


class EdgeConnection(TimedConnection):
    """A connection whose refusals are the edge's own."""

    __slots__ = ("_render",)

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settings: EdgeSettings,
        connections: set[TimedConnection],
        render: Render,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            now=clock.elapsed,
            deadlines=Deadlines(settings.header_deadline, settings.body_deadline, settings.write_deadline),
            connections=connections,
            most=settings.max_connections,
            keepalive_timeout=settings.keep_alive.total_seconds(),
            max_line_size=settings.max_header_line,
            max_field_size=settings.max_header_line,
            max_headers=settings.max_headers,
            auto_decompress=False,  # a compressed body is not JSON; so no bomb can unfold
        )
        self._render = render

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the reply; one that aiohttp made by itself (417, `OPTIONS *`) is replaced by ours."""
        if isinstance(resp, web.HTTPException):
            resp = self._render(request, resp.status, {})
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it quotes the request
    ) -> web.StreamResponse:
        """
        Answer bytes that are no HTTP request, in the edge's shape, and close.

        Neither the parser's message nor the exception goes anywhere: both quote the request, tokens included. The
        reply is written here because aiohttp would add its name and version. A ConnectionError is aiohttp's own way
        to end a connection whose reply is out; it comes back here once and is passed on.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if request.writer.output_size == 0 and self.transport is not None:
            self.transport.write(_serialize(self._render(request, status, {"Connection": "close"})))
        raise ConnectionError("the connection ends here")

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ARG002 - aiohttp's signature
        """Log that a connection failed and by which kind of error; aiohttp's text and the error's may quote a request."""
        error = kw.get("exc_info")
        self.logger.error("an HTTP connection failed: %s", type(error).__name__)


def _serialize(response: web.Response) -> bytes:
    body = response.body
    if not isinstance(body, bytes):
        raise TypeError("an error reply has a body of bytes")
    head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    start = f"HTTP/1.1 {response.status} {response.reason}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return start.encode("ascii") + body
