"""Who calls us: a service with a name, the roles it holds, and the audiences it may ask for by default."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may be allowed to do (DESIGN section 9)."""

    EDGE = "edge"
    VERIFIER = "verifier"
    REVOKER = "revoker"
    USERDATA = "userdata"
    USERS = "users"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """An identified caller. A request without an audience is judged against `audiences`."""

    name: str
    roles: frozenset[Role]
    audiences: frozenset[str]
