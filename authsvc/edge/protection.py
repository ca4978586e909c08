"""
What every answer says to browsers: what it may do there, and which other sites may read it.

Closed unless an origin is named (Fetch Standard, section 3.2): exact origins, never a wildcard, never credentials,
for this service has no cookie. A foreign page may still send a request; it has no token to send with it.
"""

from collections.abc import Mapping

from aiohttp import web

from authsvc.edge.correlation import Correlation
from authsvc.edge.replies import reply
from authsvc.edge.settings import EdgeSettings

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_YEAR_S = 365 * 86400
_ALLOWED_HEADERS = "Authorization, Content-Type, X-Request-Id, traceparent"
_READABLE_HEADERS = "X-Request-Id, Retry-After, WWW-Authenticate"
_KEEP_PREFLIGHT_S = 600


class Protection:
    """Adds to answers; answers preflights of origins that are named in the settings."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._origins = settings.origins
        self._always: Mapping[str, str] = {"Content-Security-Policy": _NOTHING}
        if settings.is_https:
            self._always = {**self._always, "Strict-Transport-Security": f"max-age={_YEAR_S}"}

    def protect(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Complete the headers of any answer to *request*; what it says already stands."""
        self._complete(response, self._origin_of(request) if self._origins else "")

    def protect_unasked(self, response: web.StreamResponse) -> None:
        """Do the same for an answer to a request that names no origin."""
        self._complete(response, "")

    def _complete(self, response: web.StreamResponse, origin: str) -> None:
        headers = response.headers
        for name, value in self._always.items():
            headers.setdefault(name, value)
        if not self._origins:
            return
        if "Origin" not in headers.getall("Vary", ()):
            headers.add("Vary", "Origin")
        if origin:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _READABLE_HEADERS

    def preflight(
        self, request: web.Request, correlation: Correlation, methods: tuple[str, ...]
    ) -> web.Response | None:
        """Return the answer to a preflight of a named origin for one of *methods*; None if it is none."""
        asked = request.headers.get("Access-Control-Request-Method", "")
        if request.method != "OPTIONS" or asked not in methods or not self._origin_of(request):
            return None
        headers = {
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_KEEP_PREFLIGHT_S),
            "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        return reply(request_id=correlation.request_id, status=204, headers=headers)

    def _origin_of(self, request: web.BaseRequest) -> str:
        origins = request.headers.getall("Origin", ())
        return origins[0] if len(origins) == 1 and origins[0] in self._origins else ""
