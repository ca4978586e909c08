"""The guard of an ASGI application (Starlette, FastAPI, or none at all); HTTP and WebSocket."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

from authsvc_client.http_refusals import HttpRefusals, Language, Paths
from authsvc_client.requiring import (
    A_GOOD_TOKEN,
    MISSING,
    Refused,
    Require,
    admit,
    demand_more,
    reset_current,
    set_current,
)
from authsvc_client.surface import TokenVerifier
from authsvc_client.verdicts import Active

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY: Final = "authsvc"
_NO_ROUTES: Mapping[str, Require] = MappingProxyType({})
# RFC 6455 section 7.4.1 and the registry of close codes: seen only where the handshake was accepted before.
_CLOSE_CODES = {"TOKEN_INVALID": 3000, "TOKEN_INSUFFICIENT": 3003, "NOT_FRESH": 1013}


class AuthMiddleware:
    """
    Lets a request pass if it carries `Authorization: Bearer <token>` with a good token; all others are answered here.

    ```python
    app = AuthMiddleware(app, verifier=verifier, public=["/healthz"])
    ```

    *require* is asked of every path; *routes* has another Require for some paths and what is below them, *public* paths
    are not looked at; the longest fitting name decides. The application finds what the token says in
    `scope["authsvc"]` and by `authsvc_client.current()`, and can ask for more with `require(scope, …)`.

    Refusals are 401 (TOKEN_INVALID; *invalid_status* replaces the number), 403 (TOKEN_INSUFFICIENT) and 503 with
    Retry-After, in the JSON shape of authsvc's own edge, in the *language* that Accept-Language prefers. A WebSocket is
    refused before its handshake is accepted.
    """

    def __init__(
        self,
        app: App,
        *,
        verifier: TokenVerifier,
        require: Require = A_GOOD_TOKEN,
        routes: Mapping[str, Require] = _NO_ROUTES,
        public: Iterable[str] = (),
        invalid_status: int = 401,
        language: Language = "zh",
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._paths = Paths(require=require, routes=routes, public=public)
        self._refusals = HttpRefusals(invalid_status=invalid_status, language=language)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        sent = ""

        async def tracked(event: MutableMapping[str, Any]) -> None:
            nonlocal sent
            sent = event["type"]
            await send(event)

        before = set_current(None)
        try:
            active = await self._admit(scope)
            set_current(active)
            # Whatever came in with the scope under this name is not from here.
            await self._app({**scope, SCOPE_KEY: active}, receive, tracked)
        except Refused as refused:
            if sent in {"", "websocket.accept", "websocket.send"}:
                await self._refuse(refused, scope, send, is_open=bool(sent))
            else:
                raise
        finally:
            reset_current(before)

    async def _admit(self, scope: Scope) -> Active | None:
        needs = self._paths.needs(_path_of(scope))
        if needs is None:
            return None
        _, active = await admit(self._verifier, _headers(scope, b"authorization"), needs)
        return active

    async def _refuse(self, refused: Refused, scope: Scope, send: Send, *, is_open: bool) -> None:
        status, headers, body = self._refusals.answer(
            refused,
            accept_language=",".join(_headers(scope, b"accept-language")),
            request_id="".join(_headers(scope, b"x-request-id")),
        )
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        kind = "http"
        if scope["type"] == "websocket":
            if is_open or "websocket.http.response" not in scope.get("extensions", ()):
                code = _CLOSE_CODES[refused.refusal.reason]
                await send({"type": "websocket.close", "code": code, "reason": refused.refusal.reason})
                return
            kind = "websocket.http"
        await send({"type": f"{kind}.response.start", "status": status, "headers": encoded})
        await send({"type": f"{kind}.response.body", "body": body})


def require(
    scope: Mapping[str, Any],
    *,
    scopes: Collection[str] = (),
    roles: Collection[str] = (),
    audience: str | None = None,
) -> Active:
    """
    Return what the token of this request says, if it also has all *scopes* and *roles*, and is meant for *audience*.

    To be called while a request is handled, before anything is sent; in FastAPI as `require(request.scope, …)`, in a
    dependency or the route itself. AuthMiddleware answers what is raised here.

    Raises:
        Refused: it has not, or the path is public and no token was judged.
        LookupError: there is no AuthMiddleware around the application.

    """
    active: Active | None = scope[SCOPE_KEY]
    if active is None:
        raise Refused(MISSING)
    return demand_more(active, Require(scopes=scopes, roles=roles, audience=audience))


def _path_of(scope: Scope) -> str:
    """Return the path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
