"""
How a call of the contract fails.

    CallFailed              a call ended with a gRPC status other than OK
    ├── AuthError           authsvc said so, and why: `reason`
    └── LibraryError        a gRPC library or a proxy said so: nothing is known of the effect, and it is never a verdict

Switch on `AuthError.reason`, the name of an `authapi.v1.ErrorReason` without its prefix; what it means, and whether to
repeat the call, is documented there. A reason that this release does not know (`is_known` False) is to be handled by
its `code`.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Self

import grpc

from authapi.v1 import ERROR_DOMAIN, ErrorReason
from authsvc_client.connection import CallFailure
from authsvc_client.rpc_details import read_details

_WAITING_HELPS = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_NOTHING: Mapping[str, str] = MappingProxyType({})


class CallFailed(CallFailure):
    """
    A call ended with an error.

    `code` is its gRPC status, `retry_after` how long to wait before the next attempt, where the server says so. `text`
    is what was sent along for people. The exception's own text holds code and reason alone.
    """

    def __init__(
        self, code: grpc.StatusCode, *, text: str = "", retry_after: timedelta | None = None, said: str = ""
    ) -> None:
        super().__init__(f"{code.name}{said}")
        self.code = code
        self.text = text
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether waiting helps: UNAVAILABLE and RESOURCE_EXHAUSTED. Login needs more: see its reasons."""
        return self.code in _WAITING_HELPS

    @property
    def blames_request(self) -> bool:
        """See CallFailure."""
        return self.code in _OF_ONE_REQUEST

    def again(self) -> Self:
        """See CallFailure."""
        return type(self)(self.code, text=self.text, retry_after=self.retry_after)


# One bad request fails the whole of a BatchVerifyTokens.
_OF_ONE_REQUEST = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OUT_OF_RANGE}
)


class AuthError(CallFailed):
    """
    Authsvc refused.

    `metadata` is the ErrorInfo's (`end_reason` of SESSION_ENDED, …), `fields` what INVALID_FIELD says of each field.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        *,
        text: str = "",
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] = _NOTHING,
        fields: Mapping[str, str] = _NOTHING,
    ) -> None:
        super().__init__(code, text=text, retry_after=retry_after, said=f": {reason}")
        self.reason = reason
        self.metadata = metadata
        self.fields = fields

    @property
    def is_known(self) -> bool:
        """Whether this release knows the reason."""
        return f"ERROR_REASON_{self.reason}" in ErrorReason.keys()  # noqa: SIM118 - not a mapping

    def again(self) -> Self:
        """See CallFailure."""
        return type(self)(
            self.code,
            self.reason,
            text=self.text,
            retry_after=self.retry_after,
            metadata=self.metadata,
            fields=self.fields,
        )


class LibraryError(CallFailed):
    """A gRPC library or a proxy ended the call: no connection, the deadline, too large, or not authsvc at all."""

    def __init__(self, code: grpc.StatusCode, *, text: str = "") -> None:
        super().__init__(code, text=text)

    def again(self) -> Self:
        """See CallFailure."""
        return type(self)(self.code, text=self.text)


def failure_of(error: Any) -> CallFailed:
    """Return what a grpc.RpcError, of either kind of channel, says."""
    code: grpc.StatusCode = error.code()
    text: str = error.details() or ""
    trailers: Iterable[Any] = error.trailing_metadata() or ()
    details = read_details(trailers)
    if details is None or details.domain != ERROR_DOMAIN or not details.reason:
        return LibraryError(code, text=text)
    return AuthError(
        code,
        details.reason,
        text=text,
        retry_after=details.retry_after,
        metadata=details.metadata,
        fields=details.fields,
    )
