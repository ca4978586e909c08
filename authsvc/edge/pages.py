"""What is there without any session: the OpenAPI document, its page, and health."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files

import orjson
from aiohttp import web

from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import unavailable
from authsvc.edge.jwks import etag_matches
from authsvc.edge.openapi import build_document
from authsvc.edge.replies import JSON_TYPE, json_reply, reply
from authsvc.edge.routing import Handler

# Everything comes from here; no inline script or style, no frame, no form, nothing from other sites.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_KEEP = "public, max-age=300"

_ASSETS: Mapping[str, tuple[str, str]] = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}


def static_pages() -> Mapping[str, Handler]:
    """Return handlers by path for the OpenAPI document and the documentation page; all read once, now."""
    static = files("authsvc.edge") / "static"
    pages = {
        path: _fixed((static / name).read_bytes(), content_type, {"Content-Security-Policy": _PAGE_POLICY})
        for path, (name, content_type) in _ASSETS.items()
    }
    document = orjson.dumps(build_document(), option=orjson.OPT_INDENT_2)
    return {"/openapi.json": _fixed(document, JSON_TYPE, {}), **pages}


def _fixed(body: bytes, content_type: str, headers: Mapping[str, str]) -> Handler:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    every = {"Cache-Control": _KEEP, "ETag": etag, **headers}

    async def serve(request: web.Request, correlation: Correlation) -> web.Response:
        if etag_matches(request, etag):
            return reply(request_id=correlation.request_id, status=304, headers=every)
        return reply(request_id=correlation.request_id, body=body, content_type=content_type, headers=every)

    return serve


class Health:
    """Liveness of this process, and readiness of what is behind it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.leaving = False

    async def alive(self, request: web.Request, correlation: Correlation) -> web.Response:  # noqa: ARG002
        """`GET /healthz`: this process answers; nothing else is asked."""
        return json_reply({"status": "ok"}, request_id=correlation.request_id)

    async def ready(self, request: web.Request, correlation: Correlation) -> web.Response:  # noqa: ARG002
        """`GET /readyz`: the server behind says SERVING, and this edge is not about to stop; else 503."""
        if self.leaving:
            raise unavailable("the edge is about to stop")
        if not await self._backend.is_serving():
            raise unavailable("the server is not serving")
        return json_reply({"status": "ready"}, request_id=correlation.request_id)
