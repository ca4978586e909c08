"""Where the core reports; measuring and writing are somebody else's business."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something worth telling operators: `name` is `noun.verb`, `fields` are documented in docs/operations.

    Fields hold ids of ours, app ids, counts and reasons; never tokens, codes, openids or keys.
    """

    name: str
    level: str = "info"
    fields: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(slots=True)
class CallRecord:
    """One finished call on any transport, as the observer sees it; `duration_s` in seconds."""

    method: str
    code: str
    reason: str
    duration_s: float
    principal: str = ""
    request_id: str = ""
    trace_id: str = ""
    error: str = ""


class Observer(Protocol):
    """Where the core reports; measuring and writing are the implementation's business. Never raises, never blocks."""

    def event(self, event: Event) -> None:
        """Take note of an event."""
        ...

    def call(self, record: CallRecord) -> None:
        """Take note of a finished call."""
        ...

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Expose a number that is read when somebody looks; a later one of the same name replaces it."""
        ...
