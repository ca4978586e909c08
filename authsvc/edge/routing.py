"""
What surrounds every handler, in one place: ids first, then the host check, the handler, its failures, the observer.

A handler gets the request and its `Correlation` and returns a reply or raises; nothing it raises reaches the caller
but `Refused`.
"""

import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import PurePath
from types import MappingProxyType

import grpc
from aiohttp import web

from authsvc.edge.connection import EdgeConnection
from authsvc.edge.correlation import Correlation, correlate
from authsvc.edge.failures import Refused, from_call, invalid_field
from authsvc.edge.language import choose_language
from authsvc.edge.origin import Origin
from authsvc.edge.protection import Protection
from authsvc.edge.replies import error_reply, legacy_error_reply
from authsvc.edge.settings import EdgeSettings
from authsvc.ports import CallRecord, Clock, Entropy, Observer
from authsvc.status import BY_REASON, INTERNAL

LEGACY_PATH = "/api/login"

Handler = Callable[[web.Request, Correlation], Awaitable[web.Response]]
AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FromCall = Callable[[grpc.aio.AioRpcError], Refused]


class Routing:
    """Makes aiohttp handlers out of the edge's own, and replies for requests that have no handler."""

    def __init__(self, *, settings: EdgeSettings, observer: Observer, clock: Clock, entropy: Entropy) -> None:
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self._entropy = entropy
        self._origin = Origin(settings.trusted_proxies)
        self._protection = Protection(settings)

    def route(
        self,
        template: str,
        methods: tuple[str, ...],
        handler: Handler,
        *,
        from_call_error: FromCall = from_call,
    ) -> AiohttpHandler:
        """
        Return *handler* with everything around it.

        *template* names it to the observer: the raw path never does, it may hold anything.
        """
        labels = {method: f"HTTP {method} {template}" for method in methods}

        async def surrounded(request: web.Request) -> web.StreamResponse:
            began = self._clock.elapsed()
            connection = request.protocol
            guarded = connection if isinstance(connection, EdgeConnection) else None
            if guarded is not None:
                guarded.request_began()
            correlation = correlate(request, self._entropy, client_ip=self._origin.client_ip(request))
            outcome = _ABANDONED
            try:
                outcome = await self._answer(request, correlation, handler, from_call_error)
                return outcome.response
            finally:
                if guarded is not None:
                    guarded.request_ended()
                self._report(labels.get(request.method, UNMATCHED), outcome, correlation, began)

        return surrounded

    def render(self, request: web.BaseRequest, status: int, headers: Mapping[str, str]) -> web.Response:
        """Return and report the error reply for a request that reached no handler at all."""
        correlation = correlate(request, self._entropy, client_ip=self._origin.client_ip(request))
        refused = refuse_http(status, headers=headers)
        outcome = self._refuse(request, correlation, refused)
        self._report(UNMATCHED, outcome, correlation, self._clock.elapsed())
        self._protection.protect(request, outcome.response)  # it may go out without aiohttp
        return outcome.response

    async def _answer(
        self, request: web.Request, correlation: Correlation, handler: Handler, from_call_error: FromCall
    ) -> "_Outcome":
        try:
            self._check_host(request)
            response = await handler(request, correlation)
        except Refused as refused:
            return self._refuse(request, correlation, refused)
        except grpc.aio.AioRpcError as error:
            return self._refuse(request, correlation, from_call_error(error))
        except web.HTTPException as error:
            return self._refuse(request, correlation, refuse_http(error.status))
        except ConnectionError:
            raise  # the caller left in mid-request; aiohttp knows
        except Exception as error:  # noqa: BLE001 - the last resort: nothing of a surprise reaches the caller
            return self._refuse(request, correlation, Refused(INTERNAL, cause=_where(error)))
        return _Outcome(response)

    def _refuse(self, request: web.BaseRequest, correlation: Correlation, refused: Refused) -> "_Outcome":
        language = choose_language(request.headers.get("Accept-Language"), default=self._settings.language)
        shape = legacy_error_reply if request.rel_url.raw_path == LEGACY_PATH else error_reply
        response = shape(refused, language=language, request_id=correlation.request_id)
        return _Outcome(response, refused.reason, refused.cause)

    def _check_host(self, request: web.Request) -> None:
        allowed = self._settings.allowed_hosts
        if allowed is None:
            return
        hosts = request.headers.getall("Host", ())
        # A page of another site that had its name pointed here (DNS rebinding) still sends that name.
        if len(hosts) != 1 or _host_name(hosts[0]) not in allowed:
            raise invalid_field("Host", "is not a name of this service")

    def _report(self, method: str, outcome: "_Outcome", correlation: Correlation, began: float) -> None:
        response = outcome.response
        self._observer.call(
            CallRecord(
                method=method,
                code=str(response.status),
                reason=outcome.reason,
                duration_s=self._clock.elapsed() - began,
                request_id=correlation.request_id,
                trace_id=correlation.trace_id,
                error=outcome.error,
            )
        )


UNMATCHED = "HTTP unmatched"


def refuse_http(status: int, *, headers: Mapping[str, str] = MappingProxyType({})) -> Refused:
    """Return the refusal for an HTTP status that no domain error stands behind."""
    if status == HTTPStatus.NOT_FOUND:
        return Refused(BY_REASON["NOT_FOUND"], headers=headers)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refused(INTERNAL, headers=headers)
    return Refused(BY_REASON["INVALID_FIELD"], http=status, headers=headers)


class _Outcome:
    """A reply with what the observer is told and the caller is not."""

    __slots__ = ("error", "reason", "response")

    def __init__(self, response: web.Response, reason: str = "", error: str = "") -> None:
        self.response = response
        self.reason = reason
        self.error = error


# Nobody waits any more: the caller left or the edge stops. 499 is what nginx writes for it; it is never sent.
_ABANDONED = _Outcome(web.Response(status=499))


_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port; empty if it is no host and port at all."""
    match = _HOST.fullmatch(host)
    return "" if match is None else (match["v6"] or match["name"]).lower()


def _where(error: Exception) -> str:
    """Name a surprise for the log by its class and place; its text may quote what it must not."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" at {PurePath(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}"
