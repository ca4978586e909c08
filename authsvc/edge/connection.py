"""
One HTTP connection of the edge: its deadlines are `authsvc.deadlines`', its refusals the edge's own.

A login for which there is no place is answered here, between two requests, where its bytes are still no request
(`turning_away`). That holds on a connection whose every request so far was plain (`framing`), one after the other:
there alone it is certain where the next one begins.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from authsvc.deadlines import Deadlines, TimedConnection
from authsvc.edge.framing import framed
from authsvc.edge.serializing import serialize
from authsvc.edge.settings import EdgeSettings
from authsvc.edge.turning_away import TurningAway
from authsvc.ports import Clock

Render = Callable[[web.BaseRequest, int, dict[str, str]], web.Response]
"""Make the edge's error reply for a request that never reached a route, from an HTTP status and extra headers."""


class EdgeConnection(TimedConnection):
    """A connection whose refusals are the edge's own."""

    __slots__ = ("_answer", "_between", "_expected", "_plain", "_render", "_rest", "_turning_away")

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settings: EdgeSettings,
        connections: set[TimedConnection],
        render: Render,
        turning_away: TurningAway,
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
        self._turning_away = turning_away
        self._plain = True  # every byte so far belonged to a plain request
        self._between = True  # the last answer is out
        self._rest = 0  # bytes of the present request's body that are still to come
        self._answer = b""  # what to say when they are there, to a request that is turned away
        self._expected = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection, and the login that was to come by it."""
        self._arrived()
        super().connection_lost(exc)

    def request_began(self) -> None:
        """Stop the header's clock; a login takes its place itself from here on."""
        self._arrived()
        super().request_began()

    def data_received(self, data: bytes) -> None:
        """Turn a login away for which there is no place; let aiohttp have all else."""
        if self._plain and self._turns_away(data):
            return
        super().data_received(data)

    def _turns_away(self, data: bytes) -> bool:
        if self._rest > 0:
            self._rest -= len(data)
            if self._answer:
                self._discard(data)
                return True
            self._plain = self._rest >= 0
            return False
        frame = framed(data) if self._between else None
        if frame is None or frame.rest < 0:
            self._plain = False
            return False
        self._rest = frame.rest
        transport = self.transport
        if self._turning_away.is_login(frame) and transport is not None and not transport.is_closing():
            # Who does not read what is written goes the way on which that is waited for.
            if self._stalled_since is None and (answer := self._turning_away.answer(frame)):
                self._header_since = self._now()
                self._answer = answer
                self._discard(b"")
                return True
            self._turning_away.expect()
            self._expected = True
        self._between = False
        return False

    def _discard(self, data: bytes) -> None:
        """Answer, once all of the request is there; what comes behind it is the next one."""
        if self._rest > 0 or self.transport is None:
            return
        self.transport.write(self._answer)
        self._answer, behind, self._rest = b"", data[len(data) + self._rest :], 0
        self._header_since = None
        # aiohttp's own timer closes a connection on which there was no answer for long; there was one.
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if behind:
            self.data_received(behind)

    def _arrived(self) -> None:
        if self._expected:
            self._expected = False
            self._turning_away.arrived()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the reply; one that aiohttp made by itself (417, `OPTIONS *`) is replaced by ours."""
        if isinstance(resp, web.HTTPException):
            resp = self._render(request, resp.status, {})
            resp.force_close()
        response, is_lost = await super().finish_response(request, resp, start_time)
        # Whatever came meanwhile was not seen here to be plain.
        self._between = self._rest == 0 and not self._ahead
        return response, is_lost

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
            self.transport.write(serialize(self._render(request, status, {"Connection": "close"})))
        raise ConnectionError("the connection ends here")

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ARG002 - aiohttp's signature
        """Log that a connection failed and by which kind of error; aiohttp's text and the error's may quote a request."""
        error = kw.get("exc_info")
        self.logger.error("an HTTP connection failed: %s", type(error).__name__)
