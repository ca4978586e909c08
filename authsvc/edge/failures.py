"""
How the edge says no: one exception, and the reading of gRPC errors into it.

A status without our `google.rpc.ErrorInfo` was made by a gRPC library or a proxy and is never a verdict (the comment
on `authapi.v1.AuthService`). Texts, statuses and reasons are those of `authsvc.status`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from authapi.v1 import ERROR_DOMAIN
from authsvc.status import BY_REASON, INTERNAL, Code, Row

_OVERLOAD_KEY = "authsvc-overload"  # authsvc.rpc.statuses
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})
_END_REASON = re.compile(r"[A-Z_]{1,40}")
_UNKNOWN_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")

# The contract's field paths in the edge's own JSON names; a path that is not here is the same in both.
_JSON_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "mini_program_code": "code",
        "credential": "code",
        "client.device_id": "device_id",
        "client.device_name": "device_name",
        "required_scopes": "scope",
        "required_roles": "role",
    }
)

# A reason of a newer server is handled by its gRPC code alone (error_reason.proto). WeChat-specific codes have none.
_BY_CODE: Mapping[grpc.StatusCode, Row] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: BY_REASON["INVALID_FIELD"],
        grpc.StatusCode.FAILED_PRECONDITION: BY_REASON["INVALID_FIELD"],
        grpc.StatusCode.ABORTED: BY_REASON["LOGIN_CODE_SPENT"],
        grpc.StatusCode.NOT_FOUND: BY_REASON["NOT_FOUND"],
        grpc.StatusCode.PERMISSION_DENIED: BY_REASON["CALLER_FORBIDDEN"],
        grpc.StatusCode.UNAUTHENTICATED: BY_REASON["TOKEN_INVALID"],
        grpc.StatusCode.RESOURCE_EXHAUSTED: BY_REASON["RATE_LIMITED"],
        grpc.StatusCode.OUT_OF_RANGE: BY_REASON["CURSOR_EXPIRED"],
        grpc.StatusCode.UNAVAILABLE: BY_REASON["STORE_UNAVAILABLE"],
        grpc.StatusCode.DEADLINE_EXCEEDED: BY_REASON["STORE_UNAVAILABLE"],
    }
)

# CONTRACT.md: these come with RetryInfo, so a reply never lacks Retry-After.
_WAIT = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})

# "Could not decide", as libraries say it; a stopping server cancels calls (grpc/grpc#41785).
_NO_ANSWER = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
# Refusals by a proxy or another kind of server: a new login code would not help, an operator must look.
_NOT_OUR_SERVER = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class Refused(Exception):
    """
    The request ends with this error.

    `http`, `code` and `reason` differ from the row's where HTTP has a better word (405, 408, 413) or a newer server
    says something we have no row for. `retry_after` is in whole seconds; rows that ask to wait have at least 1.
    `fields` and `end_reason` go into the body, `headers` onto the reply; `legacy_text` is the text on the legacy
    route where it is not the row's. `cause` is for our log only. `is_forgery`: what was presented is none of ours.
    """

    def __init__(
        self,
        row: Row,
        *,
        http: int = 0,
        code: str = "",
        reason: str = "",
        retry_after: int = 0,
        fields: Mapping[str, str] = _NO_FIELDS,
        end_reason: str = "",
        headers: Mapping[str, str] = _NO_FIELDS,
        close: bool = False,
        legacy_text: str = "",
        cause: str = "",
        is_forgery: bool = False,
    ) -> None:
        super().__init__(row.reason)
        self.row = row
        self.http = http or row.http
        self.code = code or row.code.name
        self.reason = reason or row.reason
        self.retry_after = retry_after or (1 if row.code in _WAIT else 0)
        self.fields = fields
        self.end_reason = end_reason
        self.headers = headers
        self.close = close
        self.legacy_text = legacy_text
        self.cause = cause
        self.is_forgery = is_forgery


def invalid_field(field: str, description: str) -> Refused:
    """Return the refusal of a request whose *field* (a name of the edge's JSON or query) is not acceptable."""
    return Refused(BY_REASON["INVALID_FIELD"], fields={field: description})


def token_invalid(*, presented: bool = True, is_forgery: bool = False) -> Refused:
    """Return the one answer for every kind of bad or missing access token (RFC 6750 section 3)."""
    challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
    return Refused(BY_REASON["TOKEN_INVALID"], headers={"WWW-Authenticate": challenge}, is_forgery=is_forgery)


def token_insufficient() -> Refused:
    """Return the answer for a good token that lacks the audience, a scope or a role."""
    return Refused(
        BY_REASON["TOKEN_INSUFFICIENT"], headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    )


def unavailable(cause: str = "") -> Refused:
    """Return "cannot know right now"; nothing was done."""
    return Refused(BY_REASON["STORE_UNAVAILABLE"], cause=cause)


def from_call(error: grpc.aio.AioRpcError) -> Refused:
    """Return what the edge answers for a failed call of any RPC but Login."""
    refused = _from_error_info(error)
    if refused is not None:
        return refused
    cause = f"grpc {error.code().name} without ErrorInfo"
    if error.code() in _NO_ANSWER:
        return unavailable(cause)
    return Refused(INTERNAL, cause=cause)


def from_verdict_call(error: grpc.aio.AioRpcError) -> Refused:
    """
    Return what the edge answers where 401 and 403 are verdicts about the user's token (/verify, /session, /phone, …).

    There a refusal of the edge itself as a caller must not read as one of the user, so it is INTERNAL.
    """
    refused = from_call(error)
    if refused.row.reason in {"CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"}:
        return Refused(INTERNAL, cause=f"the server refuses the edge: {refused.reason}")
    return refused


def from_login(error: grpc.aio.AioRpcError) -> Refused:
    """
    Return what the edge answers for a failed Login that had been handed to a connected channel.

    Without ErrorInfo nobody knows whether the code reached WeChat, so the client is told to get a new one; for
    RESOURCE_EXHAUSTED "wait, then log in with a new code" says the same and spares an overloaded server.
    """
    refused = _from_error_info(error)
    if refused is not None:
        return refused
    cause = f"grpc {error.code().name} without ErrorInfo"
    if error.code() in _NOT_OUR_SERVER:
        return Refused(INTERNAL, cause=cause)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Refused(BY_REASON["RATE_LIMITED"], cause=cause)
    return Refused(BY_REASON["LOGIN_CODE_SPENT"], cause=cause)


def tells_overload(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the server refused a call, or did not get to it in time, because it has too much to do."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return True
    trailers = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata())
    return any(key == _OVERLOAD_KEY for key, _ in trailers)


def _from_error_info(error: grpc.aio.AioRpcError) -> Refused | None:
    status = _status_of(error)
    if status is None:
        return None
    info, retry_after, fields = ErrorInfo(), 0, dict[str, str]()
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(RetryInfo.DESCRIPTOR):
            retry = RetryInfo()
            detail.Unpack(retry)
            retry_after = max(1, math.ceil(retry.retry_delay.ToTimedelta().total_seconds()))
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest()
            detail.Unpack(bad)
            fields.update({_json_name(v.field): v.description for v in bad.field_violations})
    if info.domain != ERROR_DOMAIN:
        return None
    row = BY_REASON.get(info.reason)
    if row is None:
        row = _BY_CODE.get(error.code(), INTERNAL)
        reason = info.reason if _UNKNOWN_REASON.fullmatch(info.reason) else row.reason
        return Refused(row, code=error.code().name, reason=reason, retry_after=retry_after)
    if row.reason == "TOKEN_INVALID":
        return token_invalid()
    if row.reason == "TOKEN_INSUFFICIENT":
        return token_insufficient()
    end_reason = info.metadata["end_reason"] if row.reason == "SESSION_ENDED" else ""
    return Refused(
        row,
        retry_after=retry_after,
        fields=fields if row.reason == "INVALID_FIELD" else _NO_FIELDS,
        end_reason=end_reason if _END_REASON.fullmatch(end_reason) else "",
    )


def _json_name(path: str) -> str:
    return _JSON_NAMES.get(path, path)


def _status_of(error: grpc.aio.AioRpcError) -> Status | None:
    # Really a grpc.aio.Metadata of pairs; grpc-stubs knows only the synchronous library's shape.
    trailers = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata())
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                return None
    return None
