"""
What comes of a request: the values the world answers with, before they have any shape on the wire.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Session:
    """
    A successful exchange: the answer's three fields.
    """

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A refused call, by WeChat's error number.
    """

    errcode: int


class BadInput(ValueError):
    """
    A user name, code text or other value given to the sandbox cannot be used; the text says why.
    """


def require_text(value: str, *, what: str, limit: int) -> None:
    """
    The value can be stored and sent.

    Raises:
        BadInput: it is empty, longer than ``limit`` characters, or no valid Unicode.
    """
    if not 1 <= len(value) <= limit:
        raise BadInput(f"{what} must have 1 to {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} must be valid Unicode text") from None
