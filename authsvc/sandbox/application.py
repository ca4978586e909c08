"""
What the sandbox serves: the imitated endpoints, the control API and the page, behind the gate.
"""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from authsvc.deadlines import Deadlines, body_in_time, on_the_clock
from authsvc.sandbox import gate
from authsvc.sandbox.cgi_bin import StableToken, Token
from authsvc.sandbox.console import Console
from authsvc.sandbox.control import Control, Switchboard
from authsvc.sandbox.device import Device
from authsvc.sandbox.endpoints import Endpoint
from authsvc.sandbox.needs import Entropy
from authsvc.sandbox.page import Page
from authsvc.sandbox.parts import Parts
from authsvc.sandbox.pipeline import Pipeline, record
from authsvc.sandbox.sns import CodeToSession
from authsvc.sandbox.wxa import ENDPOINTS

_MAX_BODY: Final = 64 * 1024


class Busy:
    """
    The connections that have a request in progress.
    """

    def __init__(self) -> None:
        self.transports: set[asyncio.BaseTransport] = set()

    @web.middleware
    async def track(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """
        The request's connection is among them until it is served.
        """
        transport = request.transport
        if transport is None:
            return await handler(request)
        self.transports.add(transport)
        try:
            return await handler(request)
        finally:
            self.transports.discard(transport)


def application(
    parts: Parts,
    *,
    entropy: Entropy,
    check_host: bool,
    busy: Busy,
    switchboard: Switchboard,
    deadlines: Deadlines,
) -> web.Application:
    """
    An application to be run once.
    """
    app = web.Application(
        middlewares=[
            on_the_clock,
            busy.track,
            gate.guard(check_host=check_host),
            gate.explain,
            body_in_time(deadlines),
        ],
        client_max_size=_MAX_BODY,
    )
    app.on_response_prepare.append(gate.mark)
    pipeline = Pipeline(parts, entropy=entropy)
    endpoints = _endpoints(parts)
    for endpoint in endpoints:
        app.router.add_route("*", endpoint.path, pipeline.handler(endpoint))
    paths = tuple(endpoint.path for endpoint in endpoints)
    app.router.add_routes(Control(parts, paths=paths, switchboard=switchboard).routes())
    app.router.add_routes(Console(parts).routes())
    app.router.add_routes(Device(parts).routes())
    app.router.add_routes(Page().routes())

    async def unknown(request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/sandbox"):
            record(request, arrivals=parts.arrivals, clock=parts.clock).outcome = "http 404"
        return gate.error(404, "the sandbox has no such path")

    app.router.add_route("*", "/{rest:.*}", unknown)
    return app


def _endpoints(parts: Parts) -> list[Endpoint]:
    with_token = [
        endpoint(world=parts.world, people=parts.people, cloud=parts.cloud) for endpoint in ENDPOINTS
    ]
    return [CodeToSession(parts.world), Token(parts.world), StableToken(parts.world), *with_token]
