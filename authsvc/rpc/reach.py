"""
Which apps and audiences a request touches, for callers that are limited to some (domain.principals.Principal).

A row of the policy table says it; where only the handler can find out (a token's app, a session's), it is the use
case that asks `require_app`. A row that says nothing reaches everywhere, and is refused to who is limited.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from authsvc.domain.errors import CallerForbidden
from authsvc.domain.principals import Principal, require_app


class Extent(Enum):
    """What of the apps a request touches that names none of them."""

    NOTHING = "nothing of any app"
    HELD = "what the handler finds behind a token or a session, which it judges itself"
    EVERYTHING = "persons as a whole, or all apps"


@dataclass(frozen=True, slots=True)
class Named:
    """The app ids at this place of the request; dots lead into messages, repeated ones are all looked at."""

    place: str

    def of(self, request: Message) -> Iterable[str]:
        """Return them; at least one, empty where the request has none."""
        found: list[Any] = [request]
        for part in self.place.split("."):
            values = [getattr(one, part) for one in found]
            found = [
                item for value in values for item in ([value] if isinstance(value, str | Message) else value)
            ]
        return found


Reach = Extent | Named
Audiences = Callable[[Any], Iterable[str]]


def guard_reach(principal: Principal, request: Message, *, reach: Reach, audiences: Audiences | None) -> None:
    """
    Return if a caller may touch what the request names. Nothing is looked up, so nothing is told of what exists.

    Raises:
        CallerForbidden: the request is about an app or an audience that is not the caller's.

    """
    if principal.apps is not None:
        if isinstance(reach, Named):
            for app_id in reach.of(request):
                require_app(principal.apps, app_id)
        elif reach is Extent.EVERYTHING:
            raise CallerForbidden("reaches beyond its apps")
    if audiences is not None:
        for audience in audiences(request):
            if audience:
                principal.require_audience(audience)
