"""
HTTP connections with the deadlines aiohttp lacks (facts/pitfalls.md: a bare server is open to slowloris).

The deadlines are not timers: a connection remembers since when it waits, and its listener asks all connections once a
second, so that a request pays two attribute writes for them. Knows aiohttp and nothing of authsvc.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_LOOK_EVERY_S = 1.0
_MOST_CONNECTIONS = 8192


@dataclass(frozen=True, slots=True)
class Deadlines:
    """
    How long a peer may take: `header` from a connection's or request's first moment to the end of its headers, `body`
    from there to the end of its body, `write` while it does not read. With a second for noticing and one for closing,
    the first two bound a half-sent request.
    """

    header: timedelta = timedelta(seconds=4)
    body: timedelta = timedelta(seconds=8)
    write: timedelta = timedelta(seconds=10)


DEADLINES = Deadlines()


class TimedConnection(web.RequestHandler):
    """
    A connection that can be overdue.

    *now* is a clock in seconds that never goes back, *connections* those of the same listener, of which there are
    *most*; further ones are closed at once.

    Known limit: bytes of a next request that arrive in the same segment as the end of the one before count as
    keep-alive time, not against the header deadline; such a connection is no dearer than an idle one.
    """

    __slots__ = (
        "_ahead",
        "_connections",
        "_deadlines",
        "_header_since",
        "_most",
        "_now",
        "_stalled_since",
        "_working",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        now: Callable[[], float],
        deadlines: Deadlines,
        connections: "set[TimedConnection]",
        most: int,
        **options: Any,
    ) -> None:
        super().__init__(
            manager,
            access_log=None,  # type: ignore[arg-type]  # documented: None switches it off
            lingering_time=1.0,  # a refused body is not worth more
            **options,
        )
        self._now = now
        self._deadlines = deadlines
        self._connections = connections
        self._most = most
        self._header_since: float | None = None
        self._stalled_since: float | None = None
        self._working = False
        self._ahead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or close it at once if there are too many; it should say something soon."""
        super().connection_made(transport)
        self._header_since = self._now()
        self._connections.add(self)
        if len(self._connections) > self._most and self.transport is not None:
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
            self._header_since = self._now()
        super().data_received(data)

    def pause_writing(self) -> None:
        """Note since when the peer does not read."""
        self._stalled_since = self._now()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the peer reads again."""
        self._stalled_since = None
        super().resume_writing()

    def request_began(self) -> None:
        """Stop the header's clock: the headers are complete and a handler has the request."""
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
            self._header_since = self._now()

    def close_if_overdue(self, now: float) -> None:
        """Abort if the peer has been sending headers, or not reading, for too long at *now*."""
        header, stalled = self._header_since, self._stalled_since
        if (header is not None and now - header >= self._deadlines.header.total_seconds()) or (
            stalled is not None and now - stalled >= self._deadlines.write.total_seconds()
        ):
            transport = self.transport
            if transport is not None:
                transport.abort()


class Connections:
    """
    The connections of one listener: a factory for `loop.create_server` that looks for overdue ones by the loop's timer.

    The application needs the middlewares `on_the_clock` (outermost) and, if it reads bodies, `body_in_time`.
    """

    def __init__(
        self,
        server: web.Server,
        *,
        deadlines: Deadlines,
        keep_alive: timedelta,
        most: int = _MOST_CONNECTIONS,
    ) -> None:
        self._server = server
        self._deadlines = deadlines
        self._keep_alive = keep_alive
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._open: set[TimedConnection] = set()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def __call__(self) -> TimedConnection:
        """Return the protocol of a new connection."""
        return TimedConnection(
            self._server,
            loop=self._loop,
            now=self._loop.time,
            deadlines=self._deadlines,
            connections=self._open,
            most=self._most,
            keepalive_timeout=self._keep_alive.total_seconds(),
        )

    def stop_looking(self) -> None:
        """Close none any more. Idempotent."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        for connection in tuple(self._open):
            connection.close_if_overdue(now)
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)


@web.middleware
async def on_the_clock(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when a request's headers are complete and when its answer is."""
    connection = request.protocol
    if not isinstance(connection, TimedConnection):
        return await handler(request)
    connection.request_began()
    try:
        return await handler(request)
    finally:
        connection.request_ended()


def body_in_time(deadlines: Deadlines) -> Middleware:
    """Return a middleware that reads the body before the handler: 408 if it does not come in time, 400 if it is broken."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(deadlines.body.total_seconds()):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(headers={"Connection": "close"}) from None
        except web.RequestPayloadError:
            raise web.HTTPBadRequest(headers={"Connection": "close"}) from None
        connection = request.protocol
        if isinstance(connection, TimedConnection):
            connection.body_was_read()
        return await handler(request)

    return read
