"""
What stands before every handler: which hosts and web pages are answered, how mistakes are told, and the
marker on every answer.

On a loopback binding a foreign Host is refused, so that a web page cannot reach the sandbox by rebinding
a name; a foreign Origin is refused on every binding. Only bytes that are no HTTP request at all are
answered before this, by aiohttp itself.
"""

import asyncio
import ipaddress
import logging
import re
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from authsvc.sandbox.apps import RealLookingCredential, UnknownApp
from authsvc.sandbox.codes import CodeTaken
from authsvc.sandbox.faults import BadFault
from authsvc.sandbox.outcomes import BadInput
from authsvc.sandbox.replies import MARKER_HEADER

_LOG: Final = logging.getLogger(__name__)
_LOCAL_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_STATUS_OF: Final[dict[type[Exception], int]] = {
    BadFault: 400,
    BadInput: 400,
    CodeTaken: 409,
    RealLookingCredential: 400,
    UnknownApp: 404,
}


def guard(*, check_host: bool) -> Middleware:
    """
    A middleware that answers 421 to a Host that is not local, if it checks, and 403 to a web page of
    another origin.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall(hdrs.HOST, [])
        if check_host and not (len(hosts) == 1 and _LOCAL_HOST.fullmatch(hosts[0])):
            return error(421, "this sandbox answers only to local host names")
        origin = request.headers.get(hdrs.ORIGIN)
        own = {f"{request.scheme}://{host.lower()}" for host in hosts}
        if origin is not None and origin.lower() not in own:
            return error(403, "this sandbox serves no other web page")
        return await handler(request)

    return guarded


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """
    Mistakes of the caller are JSON with a 4xx status; anything unforeseen is a bare 500.
    """
    try:
        return await handler(request)
    except (BadFault, BadInput, CodeTaken, RealLookingCredential, UnknownApp) as mistake:
        return error(_STATUS_OF[type(mistake)], str(mistake))
    except web.HTTPException as refusal:
        return error(refusal.status, refusal.reason)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:  # noqa: BLE001 - the last resort: what went wrong is for the log, not the wire
        _LOG.exception("a sandbox handler failed")
        return error(500, "the sandbox failed")


async def mark(_request: web.Request, response: web.StreamResponse) -> None:
    """
    The answer says that it comes from a sandbox.
    """
    response.headers[MARKER_HEADER] = "1"


def error(status: int, text: str) -> web.Response:
    """
    A mistake told in JSON.
    """
    return web.json_response({"error": text}, status=status)


def is_loopback(host: str) -> bool:
    """
    Whether only this machine reaches a server bound to this address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
