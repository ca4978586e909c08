"""The edge put together: which path and method has which handler."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from aiohttp import web

from authsvc.edge.backend import Backend
from authsvc.edge.backpressure import Backpressure
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused, from_call, from_verdict_call
from authsvc.edge.judging import Judge, LocalJudge, RemoteJudge
from authsvc.edge.jwks import Jwks
from authsvc.edge.limits import ForgedTokens
from authsvc.edge.origin import Origin
from authsvc.edge.pages import Health, static_pages
from authsvc.edge.protection import Protection
from authsvc.edge.replies import error_reply, legacy_error_reply
from authsvc.edge.routing import LEGACY_PATH, FromCall, Handler, Routing, refuse_http
from authsvc.edge.sessions import Sessions
from authsvc.edge.settings import EdgeSettings
from authsvc.edge.turning_away import TurningAway
from authsvc.edge.users import Users
from authsvc.edge.verify import Verify
from authsvc.ports import Clock, Entropy, Observer
from authsvc.service.throttling import Throttling
from authsvc.status import BY_REASON
from authsvc_client import Verifier

CLOCK: web.AppKey[Clock] = web.AppKey("clock")
HEALTH: web.AppKey[Health] = web.AppKey("health", Health)
ROUTING: web.AppKey[Routing] = web.AppKey("routing", Routing)
TURNING_AWAY: web.AppKey[TurningAway] = web.AppKey("turning_away", TurningAway)
METHODS: web.AppKey[dict[str, tuple[str, ...]]] = web.AppKey("methods")
"""Every path of the edge with its methods, as the OpenAPI document describes them."""

_LOGIN_PATH = "/api/v1/login"
_GET = ("GET", "HEAD")
_POST = ("POST",)


def create_edge(
    *,
    channel: grpc.aio.Channel,
    settings: EdgeSettings,
    observer: Observer,
    clock: Clock,
    entropy: Entropy,
    verifier: Verifier | None = None,
) -> web.Application:
    """
    Return the application; serve it with `EdgeServer`, which adds the deadlines of a connection.

    *channel* leads to the server and stays its maker's: it is not closed here. It must not retry Login (see
    `backend`). With a *verifier*, which its maker starts and stops, tokens are judged here; without one the server is
    asked each time.
    """
    throttling = Throttling(clock=clock, observer=observer)
    backpressure = Backpressure(clock=clock, throttling=throttling)
    backend = Backend(channel, settings, backpressure, clock=clock)
    judge: Judge = RemoteJudge(backend)
    if verifier is not None:
        judge = LocalJudge(verifier, audiences=settings.audiences, remote=RemoteJudge(backend))
    sessions = Sessions(backend, judge, settings)
    verify = Verify(backend, judge)
    users = Users(backend, settings)
    health = Health(backend)
    routing = Routing(settings=settings, observer=observer, clock=clock, entropy=entropy)
    table: dict[str, tuple[tuple[str, ...], Handler, FromCall]] = {
        _LOGIN_PATH: (_POST, sessions.login, from_call),
        "/api/v1/refresh": (_POST, sessions.refresh, from_call),
        "/api/v1/logout": (_POST, sessions.logout, from_call),
        "/api/v1/session": (_GET, verify.session, from_verdict_call),
        "/api/v1/verify": (_GET, verify.verify, from_verdict_call),
        "/api/v1/phone": (_POST, users.phone, from_verdict_call),
        "/api/v1/user-data/decrypt": (_POST, users.decrypt, from_verdict_call),
        "/api/v1/account": (("DELETE",), users.erase, from_call),
        LEGACY_PATH: (_POST, sessions.legacy_login, from_call),
        "/.well-known/jwks.json": (_GET, Jwks(backend, clock).serve, from_call),
        "/healthz": (_GET, health.alive, from_call),
        "/readyz": (_GET, health.ready, from_call),
        **{path: (_GET, page, from_call) for path, page in static_pages().items()},
    }
    if settings.forged_tokens is not None:
        forged = ForgedTokens(
            settings.forged_tokens,
            origin=Origin(settings.trusted_proxies),
            clock=clock,
            throttling=throttling,
        )
        for path in ("/api/v1/session", "/api/v1/verify"):
            methods, handler, from_call_error = table[path]
            table[path] = (methods, forged.around(handler), from_call_error)
    app = web.Application(client_max_size=settings.max_body)
    for path, (methods, handler, from_call_error) in table.items():
        surrounded = routing.route(path, methods, handler, from_call_error=from_call_error)
        for method in methods:
            app.router.add_route(method, path, surrounded, expect_handler=_expect)
    allowed = {path: methods for path, (methods, _, _) in table.items()}
    protection = Protection(settings)
    unmatched = routing.route("", (), _unmatched(allowed, protection))
    app.router.add_route("*", "/{path:.*}", unmatched, expect_handler=_expect)

    app.on_response_prepare.append(_finish_headers(protection))
    app.cleanup_ctx.append(_closing(backend))
    app[CLOCK], app[HEALTH], app[ROUTING], app[METHODS] = clock, health, routing, allowed
    app[TURNING_AWAY] = TurningAway(
        backpressure,
        shapes={_LOGIN_PATH: error_reply, LEGACY_PATH: legacy_error_reply},
        settings=settings,
        clock=clock,
        entropy=entropy,
        observer=observer,
    )
    return app


async def _expect(request: web.Request) -> None:
    """
    Tell a client that waits for it to go on (RFC 9110 section 10.1.1).

    aiohttp's own handler quotes an unknown expectation in a text, which fails where the header is no text.

    Raises:
        web.HTTPExpectationFailed: anything else is expected.

    """
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer itself is out


def _unmatched(allowed: dict[str, tuple[str, ...]], protection: Protection) -> Handler:
    async def unmatched(request: web.Request, correlation: Correlation) -> web.Response:
        methods = allowed.get(request.rel_url.raw_path)  # as routes are matched: an encoded slash is none
        if methods is None:
            raise refuse_http(404)
        granted = protection.preflight(request, correlation, methods)
        if granted is not None:
            return granted
        raise Refused(BY_REASON["INVALID_FIELD"], http=405, headers={"Allow": ", ".join(methods)})

    return unmatched


def _finish_headers(protection: Protection) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.pop("Server", None)
        protection.protect(request, response)

    return finish


def _closing(backend: Backend) -> Callable[[web.Application], AsyncIterator[None]]:
    async def closing(app: web.Application) -> AsyncIterator[None]:  # noqa: ARG001
        yield
        await backend.aclose()

    return closing
