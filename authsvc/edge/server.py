"""The listener: it accepts connections, watches their deadlines, and stops without dropping an answer."""

import asyncio
import ssl
from contextlib import suppress
from datetime import timedelta

from aiohttp import web

from authsvc.deadlines import TimedConnection
from authsvc.edge.app import CLOCK, HEALTH, ROUTING, TURNING_AWAY
from authsvc.edge.connection import EdgeConnection
from authsvc.edge.settings import EdgeSettings

_BACKLOG = 1024
_WATCH_EVERY = timedelta(seconds=1)


class EdgeServer:
    """Serves the application of `create_edge` on one address, with *tls* over TLS."""

    def __init__(
        self,
        app: web.Application,
        *,
        host: str,
        port: int,
        settings: EdgeSettings,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._app = app
        self._tls = tls
        self._host = host
        self._port = port
        self._settings = settings
        self._runner = web.AppRunner(app)
        self._connections: set[TimedConnection] = set()
        self._listener: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """
        Return the URL once connections are accepted; port 0 takes a free one.

        Raises:
            OSError: the address cannot be bound; nothing is left running.

        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        clock, render = self._app[CLOCK], self._app[ROUTING].render
        turning_away = self._app[TURNING_AWAY]

        def connection() -> EdgeConnection:
            return EdgeConnection(
                server,
                loop=loop,
                clock=clock,
                settings=self._settings,
                connections=self._connections,
                render=render,
                turning_away=turning_away,
            )

        try:
            self._listener = await loop.create_server(
                connection,
                self._host,
                self._port,
                backlog=_BACKLOG,
                ssl=self._tls,
                # A peer must do its part of a handshake in the time it has for a request's headers.
                ssl_handshake_timeout=self._settings.header_deadline.total_seconds() if self._tls else None,
                ssl_shutdown_timeout=1.0 if self._tls else None,
            )
        except OSError:
            await self._runner.cleanup()
            raise
        self._watch = asyncio.create_task(self._watch_deadlines())
        port = self._listener.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}"

    def announce_stop(self) -> None:
        """Let `/readyz` answer 503 from now on, so that load balancers go elsewhere before `stop`."""
        self._app[HEALTH].leaving = True

    async def stop(self, grace: timedelta) -> None:
        """
        Stop: no new connection, silent ones closed, requests in flight answered; what takes longer than *grace* is cut.

        Idempotent.
        """
        self.announce_stop()
        if self._listener is None or self._watch is None:
            return
        listener, watch, server = self._listener, self._watch, self._runner.server
        self._listener = self._watch = None
        listener.close()
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(grace.total_seconds())
        await self._runner.cleanup()

    async def _watch_deadlines(self) -> None:
        clock = self._app[CLOCK]
        while True:
            await clock.sleep(_WATCH_EVERY)
            now = clock.elapsed()
            for connection in tuple(self._connections):
                connection.close_if_overdue(now)
