"""`/metrics`, `/healthz` (the process lives), `/readyz` (every part says yes), on a listener of its own."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

from aiohttp import web

from authsvc.deadlines import DEADLINES, Connections, Deadlines, on_the_clock

# A part's own word on whether it is ready: an empty text is yes, anything else says what is missing.
Probe = Callable[[], Awaitable[str]]
# Metrics and their media type.
Exposition = Callable[[], Awaitable[tuple[bytes, str]]]
# An orchestrator gives a probe about this long itself; a part that says nothing is not ready.
_PROBE_LIMIT_S = 1.0
_KEEP_ALIVE = timedelta(seconds=30)
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


class OpsServer:
    """
    Serves operators' questions. What *notices* say is told by `/readyz` and takes nobody out of service.

    With *check_host* only requests that name this machine are answered, so that a web page a developer visits cannot
    read them (DNS rebinding). Given a *socket*, it listens on that path in place of host and port.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        exposition: Exposition,
        probes: Mapping[str, Probe],
        check_host: bool,
        socket: str = "",
        notices: Mapping[str, Probe] = MappingProxyType({}),
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        self._socket = socket
        self._host = host
        self._port = port
        self._exposition = exposition
        self._probes = probes
        self._notices = notices
        self._check_host = check_host
        self._deadlines = deadlines
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> str:
        """
        Serve, and return the base URL (port 0 takes a free one), or `unix:` and the path.

        Raises:
            OSError: the address cannot be bound.

        """
        app = web.Application(client_max_size=1024, middlewares=[on_the_clock, self._guard])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        connections = Connections(runner.server, deadlines=self._deadlines, keep_alive=_KEEP_ALIVE)
        loop = asyncio.get_running_loop()
        try:
            if self._socket:
                listener = await loop.create_unix_server(connections, self._socket)
            else:
                listener = await loop.create_server(connections, self._host, self._port)
        except OSError:
            connections.stop_looking()
            await runner.cleanup()
            raise
        self._runner, self._connections, self._listener = runner, connections, listener
        if self._socket:
            return f"unix:{self._socket}"
        port = listener.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the listener. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None and self._listener is not None and self._connections is not None:
            self._listener.close()
            self._connections.stop_looking()
            await runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._check_host and not _is_local(request.host):
            response: web.StreamResponse = web.json_response({"error": "this listener is local"}, status=421)
        else:
            response = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        body, content_type = await self._exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _alive(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "alive"})

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        missing, degraded = await asyncio.gather(_ask_all(self._probes), _ask_all(self._notices))
        told = {"degraded": degraded} if degraded else {}
        if missing:
            return web.json_response({"status": "not ready", "missing": missing, **told}, status=503)
        return web.json_response({"status": "ready", **told})


async def _ask_all(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Return what they say, without those who say nothing."""
    answers = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
    return {name: said for name, said in zip(probes, answers, strict=True) if said}


async def _ask(probe: Probe) -> str:
    try:
        async with asyncio.timeout(_PROBE_LIMIT_S):
            return await probe()
    except TimeoutError:
        return "no answer in time"
    except Exception as error:  # noqa: BLE001 - a part that cannot even be asked is not ready; its text stays inside
        return f"cannot be asked: {type(error).__name__}"


def _is_local(host: str) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and (match["v6"] or match["name"]).lower() in _LOCAL_NAMES
