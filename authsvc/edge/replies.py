"""The replies: JSON bodies, the headers every reply carries, and the one shape of an error."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from authsvc.edge.failures import Refused
from authsvc.status import Row

JSON_TYPE = "application/json; charset=utf-8"

# Nothing here may be cached, sniffed or told to another site, unless a handler says so.
_COMMON: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def reply(
    *,
    request_id: str,
    body: bytes = b"",
    status: int = 200,
    content_type: str = "",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a reply with the common headers; *headers* override them."""
    every = {**_COMMON, "X-Request-Id": request_id}
    if content_type:
        every["Content-Type"] = content_type
    if headers:
        every.update(headers)
    return web.Response(status=status, body=body, headers=every)


def json_reply(content: Mapping[str, Any], *, request_id: str) -> web.Response:
    """Return 200 with a JSON object."""
    return reply(request_id=request_id, body=orjson.dumps(content), content_type=JSON_TYPE)


def error_body(refused: Refused, *, language: str, request_id: str) -> bytes:
    """Return `{"error": {"code", "reason", "message", "request_id"}}` with the fields some reasons add."""
    error: dict[str, Any] = {
        "code": refused.code,
        "reason": refused.reason,
        "message": refused.row.text(language),
        "request_id": request_id,
    }
    if refused.end_reason:
        error["end_reason"] = refused.end_reason
    if refused.fields:
        error["fields"] = dict(refused.fields)
    return orjson.dumps({"error": error})


def error_reply(refused: Refused, *, language: str, request_id: str) -> web.Response:
    """Return the reply for a refusal."""
    body = error_body(refused, language=language, request_id=request_id)
    return _error(refused, status=refused.http, body=body, request_id=request_id)


def legacy_error_reply(refused: Refused, *, language: str, request_id: str) -> web.Response:
    """
    Return the error shape of `POST /api/login`: `{"error": "text"}` with 400 or 500.

    400 is for what the caller or WeChat says about the caller; a lost answer, our own state and our own configuration
    are 500. HTTP's own refusals (405) keep their status.
    """
    row = refused.row
    ours = 500 if _is_our_side(row) else 400
    status = refused.http if refused.http == HTTPStatus.METHOD_NOT_ALLOWED else ours
    text = refused.legacy_text or row.text(language)
    return _error(refused, status=status, body=orjson.dumps({"error": text}), request_id=request_id)


_OUR_SIDE = frozenset(
    {"LOGIN_CODE_SPENT", "UNKNOWN_APP", "APP_DISABLED", "CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"}
)


def _is_our_side(row: Row) -> bool:
    return row.http >= 500 or row.reason in _OUR_SIDE


def _error(refused: Refused, *, status: int, body: bytes, request_id: str) -> web.Response:
    headers = dict(refused.headers)
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")  # RFC 9110 section 15.5.2 wants one on every 401
    if refused.retry_after:
        headers["Retry-After"] = str(refused.retry_after)
    response = reply(request_id=request_id, body=body, status=status, content_type=JSON_TYPE, headers=headers)
    if refused.close:
        response.force_close()
    return response
