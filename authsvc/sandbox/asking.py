"""
Reading what the control API is asked: JSON objects with known fields of known types, or a clear complaint.
"""

import json
from collections.abc import Mapping

from aiohttp import web

from authsvc.sandbox.faults import Fault, parse_fault
from authsvc.sandbox.outcomes import BadInput

Fields = Mapping[str, object]


async def fields(request: web.Request, *names: str, required: bool = True) -> Fields:
    """
    The body's JSON object; an empty one where there is no body and none is ``required``.

    Raises:
        BadInput: it is no JSON object, or has a field that is not one of the names.
    """
    raw = await request.read()
    if not raw and not required:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadInput("the body must be a JSON object")
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise BadInput(f"unknown fields {unknown}; known are {sorted(names)}")
    return body


def text(body: Fields, name: str) -> str:
    """
    A text that is there and not empty.

    Raises:
        BadInput: it is not.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name} must be a non-empty string")
    return value


def optional_text(body: Fields, name: str) -> str | None:
    """
    The same, None where it is absent or null.

    Raises:
        BadInput: it is neither, nor a text.
    """
    return text(body, name) if body.get(name) is not None else None


def flag(body: Fields, name: str) -> bool:
    """
    True or false.

    Raises:
        BadInput: it is neither.
    """
    value = body.get(name)
    if not isinstance(value, bool):
        raise BadInput(f"{name} must be true or false")
    return value


def whole(body: Fields, name: str) -> int:
    """
    A whole number.

    Raises:
        BadInput: it is none.
    """
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(f"{name} must be a whole number")
    return value


def seconds(body: Fields, name: str, *, most: float) -> float:
    """
    A number above 0 and up to ``most``.

    Raises:
        BadInput: it is none.
    """
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{name} must be a number")
    if not 0 < value <= most:
        raise BadInput(f"{name} must lie between 0 and {most:g}")
    return value


def times(body: Fields, name: str, *, default: int | None) -> int | None:
    """
    How often something happens; None is always.

    Raises:
        BadInput: it is below 1 or no whole number.
    """
    value = body.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{name} must be a whole number from 1, or null for always")
    return value


def fault(body: Fields) -> Fault:
    """
    The field ``fault``.

    Raises:
        BadInput, BadFault: it is missing or names none.
    """
    return parse_fault(text(body, "fault"))
