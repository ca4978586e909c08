"""
One HTTP connection with the deadlines aiohttp lacks (facts/pitfalls.md: a bare server is open to slowloris).

The deadlines are not timers: the connection remembers since when it waits, and the server asks all connections once a
second, so that a request pays two attribute writes for them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from authsvc.edge.settings import EdgeSettings
from authsvc.ports import Clock

Render = Callable[[web.BaseRequest, int, dict[str, str]], web.Response]
"""Make the edge's error reply for a request that never reached a route, from an HTTP status and extra headers."""


class EdgeConnection(web.RequestHandler):
    """
    A connection that can be overdue, and whose refusals are the edge's own.

    Known limit: bytes of a next request that arrive in the same segment as the end of the one before count as
    keep-alive time, not against the header deadline; such a connection is no dearer than an idle one.
    """

    __slots__ = (
        "_ahead",
        "_clock",
        "_connections",
        "_header_since",
        "_render",
        "_settings",
        "_stalled_since",
        "_working",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settings: EdgeSettings,
        connections: "set[EdgeConnection]",
        render: Render,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=settings.keep_alive.total_seconds(),
            access_log=None,  # type: ignore[arg-type]  # documented: None switches it off
            max_line_size=settings.max_header_line,
            max_field_size=settings.max_header_line,
            max_headers=settings.max_headers,
            lingering_time=1.0,  # a refused body is not worth more
            auto_decompress=False,  # a compressed body is not JSON; so no bomb can unfold
        )
        self._clock = clock
        self._settings = settings
        self._connections = connections
        self._render = render
        self._header_since: float | None = None
        self._stalled_since: float | None = None
        self._working = False
        self._ahead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or close it at once if there are too many."""
        super().connection_made(transport)
        self._connections.add(self)
        if len(self._connections) > self._settings.max_connections and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the header's clock at a request's first byte."""
        if self._working:
            self._ahead = True
        elif self._header_since is None:
            self._header_since = self._clock.elapsed()
        super().data_received(data)

    def pause_writing(self) -> None:
        """Note since when the peer does not read."""
        self._stalled_since = self._clock.elapsed()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the peer reads again."""
        self._stalled_since = None
        super().resume_writing()

    def request_began(self) -> None:
        """Stop the header's clock: the headers are complete and a route has the request."""
        self._working = True
        self._header_since = None

    def body_was_read(self) -> None:
        """Take what arrived so far as this request's body, not the next one's beginning."""
        self._ahead = False

    def request_ended(self) -> None:
        """Go back to waiting; what arrived meanwhile is the beginning of the next request."""
        self._working = False
        if self._ahead:
            self._ahead = False
            self._header_since = self._clock.elapsed()

    def close_if_overdue(self, now: float) -> None:
        """Abort if the peer has been sending headers, or not reading, for too long at *now* (Clock.elapsed)."""
        header, stalled = self._header_since, self._stalled_since
        if (header is not None and now - header >= self._settings.header_deadline.total_seconds()) or (
            stalled is not None and now - stalled >= self._settings.write_deadline.total_seconds()
        ):
            transport = self.transport
            if transport is not None:
                transport.abort()

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
