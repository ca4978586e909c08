"""
What a verification can say: `Active`, `Inactive`, or, as an exception, that it cannot be known.

A refusal is a value. `CannotKnow` is no verdict about the token: answer it with gRPC UNAVAILABLE or HTTP 503 and
`Retry-After`, never with 401 and never with a yes.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import ClassVar, Literal


class InactiveReason(IntEnum):
    """Why a token is not accepted; the numbers are the contract's `authapi.v1.InactiveReason`."""

    UNSPECIFIED = 0
    MALFORMED = 1
    UNKNOWN_KEY = 2
    BAD_SIGNATURE = 3
    WRONG_TYPE = 4
    WRONG_ISSUER = 5
    WRONG_AUDIENCE = 6
    MISSING_SCOPE = 7
    EXPIRED = 8
    NOT_YET_VALID = 9
    SESSION_REVOKED = 10
    USER_REVOKED = 11
    APP_REVOKED = 12
    KEY_WITHDRAWN = 13
    MISSING_ROLE = 14
    LIFETIME_TOO_LONG = 15

    @classmethod
    def _missing_(cls, value: object) -> "InactiveReason":
        """A number of a newer contract is a refusal all the same."""
        del value
        return cls.UNSPECIFIED


class SessionEndReason(IntEnum):
    """How a session ended; the numbers are the contract's `authapi.v1.SessionEndReason`."""

    UNSPECIFIED = 0
    LOGOUT = 1
    SUPERSEDED = 2
    REPLACED = 3
    ADMIN = 4
    BLOCKED = 5
    REFRESH_REUSE = 6
    REFRESH_STALE = 7
    EXPIRED = 8
    MERGED = 9
    STORE_RESTORED = 10

    @classmethod
    def _missing_(cls, value: object) -> "SessionEndReason":
        """A number of a newer contract is an end all the same."""
        del value
        return cls.UNSPECIFIED


_INSUFFICIENT = frozenset(
    {InactiveReason.WRONG_AUDIENCE, InactiveReason.MISSING_SCOPE, InactiveReason.MISSING_ROLE}
)


@dataclass(frozen=True, slots=True)
class Active:
    """The token is good for what was asked; this is what it says."""

    is_active: ClassVar[Literal[True]] = True

    user_id: str
    session_id: str
    app_id: str
    openid: str | None = field(repr=False)
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    audiences: tuple[str, ...]
    token_id: str
    issued_at: datetime
    expires_at: datetime
    previous_user_ids: tuple[str, ...] = ()
    external_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Inactive:
    """
    The token is not good for what was asked.

    `reason` is for logs and metrics of your own service; end users get one answer for all of them.
    `session_end_reason` is set where the session, user or app was revoked and it is known how.
    """

    is_active: ClassVar[Literal[False]] = False

    reason: InactiveReason
    session_end_reason: SessionEndReason = SessionEndReason.UNSPECIFIED

    @property
    def is_insufficient(self) -> bool:
        """
        Whether the token itself is good and only does not allow what was asked.

        True is PERMISSION_DENIED / 403 (TOKEN_INSUFFICIENT), False is UNAUTHENTICATED / 401 (TOKEN_INVALID).
        """
        return self.reason in _INSUFFICIENT


Verdict = Active | Inactive
"""The answer of a verification."""


class Cause(Enum):
    """Why it cannot be known."""

    NO_SNAPSHOT = "no_snapshot"  # the revocations were never complete yet
    STALE = "stale"  # they were not confirmed within the hard bound
    UNKNOWN_FACT = "unknown_fact"  # a revocation of a kind that this release does not know
    UNKNOWN_KEY = "unknown_key"  # no such key here, and the keys were not read since the token arrived
    CLOSED = "closed"  # not started, or stopped


class CannotKnow(Exception):
    """
    It could not be decided whether the token is good; that is no verdict.

    `cause` says what was missing, `retry_after` when it pays to ask again.
    """

    def __init__(self, cause: Cause, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(f"cannot know whether the token is good: {cause.value}")
        self.cause = cause
        self.retry_after = retry_after
