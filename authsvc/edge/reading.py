"""Reading requests: bodies, JSON fields, Bearer tokens, queries. What is read is judged by the server, not here."""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from authsvc.edge.connection import EdgeConnection
from authsvc.edge.failures import Refused, invalid_field
from authsvc.edge.origin import clean
from authsvc.edge.settings import EdgeSettings
from authsvc.status import BY_REASON

_BOM = b"\xef\xbb\xbf"
_MAX_PARAMETERS = 64
_INVALID = BY_REASON["INVALID_FIELD"]


async def read_object(request: web.Request, settings: EdgeSettings) -> dict[str, Any]:
    """
    Return the JSON object of the body; an empty body is an empty object.

    The Content-Type is not asked for (wx.request lets callers set anything); one byte order mark is forgiven; of a
    repeated name the last counts; unknown names are the caller's business.

    Raises:
        Refused: INVALID_FIELD with 400 (no JSON object in UTF-8), 413 (above `max_body`) or 408 (not sent in time).

    """
    body = await _read_body(request, settings)
    body = body.removeprefix(_BOM)
    if not body:
        return {}
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise invalid_field("body", "must be a JSON object in UTF-8")
    return content


async def _read_body(request: web.Request, settings: EdgeSettings) -> bytes:
    if (request.content_length or 0) > settings.max_body:
        raise _too_large()
    try:
        async with asyncio.timeout(settings.body_deadline.total_seconds()):
            body = await request.read()
    except TimeoutError:
        raise Refused(_INVALID, http=408, fields={"body": "was not sent in time"}, close=True) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except web.RequestPayloadError:
        raise Refused(_INVALID, fields={"body": "is not encoded as its headers say"}, close=True) from None
    protocol = request.protocol
    if isinstance(protocol, EdgeConnection):
        protocol.body_was_read()
    return body


def _too_large() -> Refused:
    return Refused(_INVALID, http=413, fields={"body": "is too large"}, close=True)


def text_field(content: dict[str, Any], name: str, *, longest: int = 0) -> str:
    """
    Return a string field, or an empty string where it is absent or null.

    Raises:
        Refused: INVALID_FIELD, if it is not a string or has more than *longest* characters (0: any number).

    """
    value = content.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid_field(name, "must be a string")
    if longest and len(value) > longest:
        raise invalid_field(name, f"must have at most {longest} characters")
    return value


def required_text(content: dict[str, Any], name: str) -> str:
    """
    Return a string field that must be there.

    Raises:
        Refused: INVALID_FIELD, if it is absent, null, empty or not a string.

    """
    value = text_field(content, name)
    if not value:
        raise invalid_field(name, "is required")
    return value


def flag_field(content: dict[str, Any], name: str) -> bool:
    """
    Return a boolean field, False where it is absent or null.

    Raises:
        Refused: INVALID_FIELD, if it is anything but true or false.

    """
    value = content.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid_field(name, "must be true or false")
    return value


def bearer_token(request: web.BaseRequest) -> str:
    """
    Return the token of `Authorization: Bearer …` (RFC 6750 section 2.1), or an empty string.

    Two Authorization headers are none: who sits in front may have judged the other one.
    """
    headers = request.headers.getall("Authorization", ())
    if len(headers) != 1:
        return ""
    scheme, _, token = headers[0].partition(" ")
    if scheme.lower() != "bearer":
        return ""
    return clean(token.strip())


@dataclass(frozen=True, slots=True)
class Demand:
    """What `/verify` asks of a token."""

    audience: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


ANYTHING = Demand(audience="", scopes=(), roles=())


@lru_cache(maxsize=256)  # a gateway asks the same question for every request it guards
def parse_demand(query: str) -> Demand:
    """
    Return the demand in a raw query string: `audience` once; `scope` and `role` repeated, space separated, or both.

    Other parameters are ignored.

    Raises:
        Refused: INVALID_FIELD, for bytes that are no UTF-8, too many parameters, two audiences, or an empty one: whoever
            names an audience must not be judged against every audience of this edge.

    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        raise invalid_field("query", "cannot be read") from None
    audiences = [value for name, value in pairs if name == "audience"]
    if len(audiences) > 1:
        raise invalid_field("audience", "may be given once")
    if audiences == [""]:
        raise invalid_field("audience", "must not be empty")
    return Demand(
        audience=audiences[0] if audiences else "",
        scopes=_words(pairs, "scope"),
        roles=_words(pairs, "role"),
    )


def _words(pairs: list[tuple[str, str]], name: str) -> tuple[str, ...]:
    return tuple(word for key, value in pairs if key == name for word in value.split(" ") if word)
