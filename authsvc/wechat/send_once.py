"""
One request, one send: the guard against aiohttp's own repetition, and the knowledge whether bytes may have left.

aiohttp repeats a GET by itself when the peer drops the connection (facts page 1.7): for a login code that turns a
lost answer into a certain "code been used". Both hooks used here are public API. See docs/decisions/0004.
"""

from types import SimpleNamespace

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientHandlerType,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    TraceConfig,
    TraceRequestHeadersSentParams,
)


class SecondSendRefused(Exception):
    """aiohttp wanted to send a request again."""


class SendOnce:
    """
    The guard of one request: pass it as its only middleware and as its `trace_request_ctx`.

    `may_be_written` is False while provably no byte of the request has left (name look-up, connecting, TLS); it
    becomes True just before the first write, on a session that has `written_trace()`. `fault` names what ended the
    one send, as one of a few fixed words; "" while nothing did.
    """

    __slots__ = ("_begun", "fault", "may_be_written")

    def __init__(self) -> None:
        self._begun = False
        self.may_be_written = False
        self.fault = ""

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Pass the request on the first time, refuse it for ever after."""
        if self._begun:
            raise SecondSendRefused
        self._begun = True
        try:
            return await handler(request)
        except Exception as error:
            self.fault = name_fault(error)
            raise


def written_trace() -> TraceConfig:
    """Return the trace that tells each request's guard, right before the first byte, that bytes may leave."""
    trace = TraceConfig()
    trace.on_request_headers_sent.append(_about_to_write)
    return trace


async def _about_to_write(
    _session: ClientSession, context: SimpleNamespace, _params: TraceRequestHeadersSentParams
) -> None:
    guard = context.trace_request_ctx
    assert isinstance(guard, SendOnce), "every request on this session has a guard"
    guard.may_be_written = True


_UNEXPECTED = "unexpected_"
# First match wins; subclasses stand before their bases.
_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (ClientConnectorDNSError, "dns"),
    (ClientConnectorCertificateError, "certificate"),
    (ClientSSLError, "tls"),
    (ClientConnectorError, "connect"),
    (ConnectionTimeoutError, "connect_timeout"),
    (ServerDisconnectedError, "disconnected"),
    (ClientPayloadError, "body_cut"),
    (ClientResponseError, "not_http"),
    (TimeoutError, "timeout"),
    (OSError, "reset"),
)


def name_fault(error: Exception) -> str:
    """Return a fixed word for a transport failure: its text may hold the URL, which holds the secret."""
    for kind, name in _FAULTS:
        if isinstance(error, kind):
            return name
    return f"{_UNEXPECTED}{type(error).__name__}"


def fault_level(fault: str) -> str:
    """Return the level of an event that reports *fault*: a failure we never thought of may be a defect of ours."""
    return "error" if fault.startswith(_UNEXPECTED) else "warning"
