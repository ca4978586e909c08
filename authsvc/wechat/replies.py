"""
Reading the body of an answer, and what code2Session says in it (facts page 1.2).

The Content-Type is never looked at (`text/plain` in practice, gateways say anything), and of errmsg only the trace id
is taken, for the log. Nothing raises: what can't be read is a value too, so no parser's exception, which would hold
the body, ever exists outside this module.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeGuard, TypeVar

import orjson

from authsvc.ports import CodeSession

_BOM: Final = b"\xef\xbb\xbf"
_INTEGER: Final = re.compile(r"-?[0-9]{1,10}")
# An id of some 28 characters (facts page 1.1); far beyond that it is none, and would end in tokens and columns.
_LONGEST_ID: Final = 512
# Two shapes, both far from that of a secret, code, openid or session key (32, 32, 28, 24 characters): a hostile or
# helpful errmsg that repeats one of those can't get it into the log by this way.
_RID: Final = re.compile(r"\brid: ?([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})(?![0-9A-Za-z_-])")
_REQ_ID: Final = re.compile(r"\breq_id: ?([0-9A-Za-z]{1,20})(?![0-9A-Za-z_=+/-])")


T = TypeVar("T")
Fields = Mapping[str, object]
"""The members of an answer's JSON object."""


@dataclass(frozen=True, slots=True)
class Granted(Generic[T]):
    """What was asked for."""

    value: T = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A non-zero errcode, with the trace id if one was found ("" otherwise)."""

    errcode: int
    rid: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not an answer of this endpoint; `why` is one of a few fixed words."""

    why: str


def read_reply(body: bytes, read: Callable[[Fields], T | Unreadable]) -> Granted[T] | Refused | Unreadable:
    """
    Return what *body* says, using *read* for the fields of a success.

    A UTF-8 byte order mark is passed over, as RFC 8259 section 8.1 allows.
    """
    body = body.removeprefix(_BOM)
    if not body.strip():
        return Unreadable("empty_body")
    answer = _parse(body)
    if not isinstance(answer, dict):
        return Unreadable("not_a_json_object")
    errcode = read_errcode(answer.get("errcode"))
    if errcode is None:
        return Unreadable("odd_errcode")
    if errcode != 0:
        return Refused(errcode, find_rid(answer.get("errmsg")))
    value = read(answer)
    return value if isinstance(value, Unreadable) else Granted(value)


def read_session(answer: Fields) -> CodeSession | Unreadable:
    """Return what code2Session grants."""
    openid, session_key = answer.get("openid"), answer.get("session_key")
    if not (is_id(openid) and is_id(session_key)):
        return Unreadable("no_session")
    unionid = answer.get("unionid") or None
    if unionid is not None and not is_id(unionid):
        return Unreadable("odd_unionid")
    return CodeSession(openid=openid, session_key=session_key, unionid=unionid)


def find_rid(errmsg: object) -> str:
    """Return the trace id at the end of an errmsg in either of its forms, "" if there is none (facts page 1.2)."""
    if not isinstance(errmsg, str):
        return ""
    found = _RID.search(errmsg) or _REQ_ID.search(errmsg)
    return found[1] if found else ""


def _parse(body: bytes) -> object:
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed


def read_errcode(value: object) -> int | None:
    """Return the number; 0 where there is none, None where it can't be told."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    # It has been seen as a quoted string (facts page 1.2).
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return None


def is_id(value: object) -> TypeGuard[str]:
    """Tell whether it could be an openid, a unionid or a session_key."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID
