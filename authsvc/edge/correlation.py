"""The ids that tie a request's log lines and spans together, at the edge and at the server."""

import re
from dataclasses import dataclass

from aiohttp import web

from authsvc.ports import Entropy

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# W3C Trace Context section 3.2: version 00 only; all-zero ids are invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Correlation:
    """A request's id and trace context, and the gRPC metadata that carries both, and where the request came from."""

    request_id: str
    traceparent: str
    metadata: tuple[tuple[str, str], ...]

    @property
    def trace_id(self) -> str:
        """The 32 hex digits that name the trace."""
        return self.traceparent[3:35]


def correlate(request: web.BaseRequest, entropy: Entropy, *, client_ip: str) -> Correlation:
    """
    Return the caller's own ids where they are safe to repeat, fresh ones otherwise.

    The client's address goes along for the server's audit trail: not every request message has a place for it.

    A fresh trace context says "not sampled": sampling is decided by whoever traces, before a span exists.
    """
    headers = request.headers
    request_id = headers.get("X-Request-Id", "")
    traceparent = headers.get("traceparent", "")
    own_id = _REQUEST_ID.fullmatch(request_id) is not None
    own_trace = _TRACEPARENT.fullmatch(traceparent) is not None
    if not (own_id and own_trace):
        digits = entropy.token_bytes(40).hex()
        if not own_id:
            request_id = digits[:32]
        if not own_trace:
            traceparent = f"00-{digits[32:64]}-{digits[64:]}-00"
    metadata = (
        ("x-request-id", request_id),
        ("traceparent", traceparent),
        ("x-client-ip", client_ip),
    )
    return Correlation(request_id, traceparent, metadata)
