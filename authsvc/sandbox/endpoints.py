"""
What every imitated endpoint has in common: a request as it was read, how to serve it, and the family its
answers belong to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from authsvc.sandbox.outcomes import Refusal


@dataclass(frozen=True, slots=True)
class Family:
    """
    How a group of endpoints writes answers: facts/wechat-api.md sections 1.2 and 10.
    """

    content_type: str
    trace_joint: str
    """What stands between an error's text and its rid."""


SNS: Final = Family("text/plain", ", ")
API: Final = Family("application/json", " ")

Answer = Mapping[str, object] | Refusal
"""The fields of a success, or the error in their place."""


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request, read. Secrets stand in it, so it stays out of every ``repr``.
    """

    method: str
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    secure: bool = False
    """Whether it came over TLS."""

    def json(self) -> Mapping[str, object] | None:
        """
        The body's JSON object; None if it is anything else.
        """
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What a request is about, as far as it says: used to choose faults and to count codes.
    """

    app_id: str | None = None
    code: str | None = None


class Endpoint(Protocol):
    """
    One path of WeChat's.
    """

    @property
    def path(self) -> str:
        """
        The path, with its leading slash.
        """
        ...

    @property
    def family(self) -> Family:
        """
        How its answers are written.
        """
        ...

    def subject(self, call: Call) -> Subject:
        """
        The app and the code the call names; it may be broken in any way.
        """
        ...

    def answer(self, call: Call, *, now: datetime) -> Answer:
        """
        What the call comes to, and its effect, at once: never suspended in between.
        """
        ...


def text_of(value: object) -> str | None:
    """
    The value if it is a text.
    """
    return value if isinstance(value, str) else None
