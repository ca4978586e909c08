"""The guard of an aiohttp application. The one module here that needs aiohttp (`authsvc-client[aiohttp]`)."""

import functools
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from aiohttp import web

from authsvc_client.http_refusals import HttpRefusals, Language, Paths
from authsvc_client.requiring import (
    A_GOOD_TOKEN,
    Refused,
    Require,
    admit,
    demand_more,
    reset_current,
    set_current,
)
from authsvc_client.surface import TokenVerifier
from authsvc_client.verdicts import Active

REQUEST_KEY: Final = "authsvc"
_verifier: ContextVar[TokenVerifier] = ContextVar("authsvc_verifier")
_NO_ROUTES: Mapping[str, Require] = MappingProxyType({})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Guarded = TypeVar("Guarded", bound=Callable[..., Awaitable[web.StreamResponse]])


def auth_middleware(
    verifier: TokenVerifier,
    *,
    require: Require = A_GOOD_TOKEN,
    routes: Mapping[str, Require] = _NO_ROUTES,
    public: Iterable[str] = (),
    invalid_status: int = 401,
    language: Language = "zh",
) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """
    Return a middleware that lets a request pass if it carries `Authorization: Bearer <token>` with a good token.

    ```python
    app = web.Application(middlewares=[auth_middleware(verifier, public=["/healthz"])])
    ```

    Arguments and refusals are those of `AuthMiddleware` (ASGI). A handler finds what the token says in
    `request["authsvc"]` and by `authsvc_client.current()`; `@requires(…)` on a handler asks for more.
    """
    paths = Paths(require=require, routes=routes, public=public)
    refusals = HttpRefusals(invalid_status=invalid_status, language=language)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        before, verifier_before = set_current(None), _verifier.set(verifier)
        try:
            needs = paths.needs(_path_of(request))
            if needs is not None:
                await _admit(request, verifier, needs)
            return await handler(request)
        except Refused as refused:
            status, headers, body = refusals.answer(
                refused,
                accept_language=",".join(request.headers.getall("Accept-Language", ())),
                request_id=request.headers.get("X-Request-Id", ""),
            )
            return web.Response(status=status, headers=headers, body=body)
        finally:
            reset_current(before)
            _verifier.reset(verifier_before)

    return guard


def requires(
    *, scopes: Collection[str] = (), roles: Collection[str] = (), audience: str | None = None
) -> Callable[[Guarded], Guarded]:
    """
    Return a decorator of a handler, or of a method of `web.View`, that also needs all *scopes* and *roles*.

    Works on public paths as well: there the token is judged for this handler alone.

    Raises:
        LookupError: in the handler, if the application has no `auth_middleware`.

    """
    needs = Require(scopes=scopes, roles=roles, audience=audience)

    def decorate(handler: Guarded) -> Guarded:
        @functools.wraps(handler)
        async def guarded(first: Any, *rest: Any) -> web.StreamResponse:
            request: web.Request = _request_of(first, rest)
            active: Active | None = request.get(REQUEST_KEY)
            if active is None:
                await _admit(request, _verifier.get(), needs)
            else:
                demand_more(active, needs)
            return await handler(first, *rest)

        return guarded  # type: ignore[return-value]  # the same signature

    return decorate


def _path_of(request: web.Request) -> str:
    """Return the path as aiohttp's router reads it: an encoded slash is part of its segment, and stays encoded."""
    raw = request.rel_url.raw_path
    if "%" not in raw:
        return raw
    return "/".join(unquote(segment).replace("/", "%2F") for segment in raw.split("/"))


async def _admit(request: web.Request, verifier: TokenVerifier, needs: Require) -> Active:
    _, active = await admit(verifier, request.headers.getall("Authorization", ()), needs)
    _put(request, active)
    set_current(active)
    return active


def _put(request: web.Request, active: Active) -> None:
    # aiohttp recommends keys of its own class, once per name; a plain name is what applications can write down.
    if _put_before:
        request[REQUEST_KEY] = active
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        request[REQUEST_KEY] = active
    _put_before.append(True)


_put_before: list[bool] = []


def _request_of(first: Any, rest: tuple[Any, ...]) -> web.Request:
    """The request of a function, of a method of a class with routes, or of a View."""
    for given in (*rest, first):
        if isinstance(given, web.Request):
            return given
    request: web.Request = first.request
    return request
