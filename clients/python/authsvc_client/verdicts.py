"""
What a verification can say: `Active`, `Inactive`, or, as an exception, that it cannot be known.

A refusal is a value. `CannotKnow` is no verdict about the token: answer it with gRPC UNAVAILABLE or HTTP 503 and
`Retry-After`, never with 401 and never with a yes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from typing import ClassVar, Literal

from authsvc_client.tokens import Claims


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


class Active:
    """
    The token is good for what was asked; this is what it says. Immutable; equal to another that says the same.

    It holds the token's claims as they were read: to unfold them for every token would cost more than to read them.
    """

    __slots__ = ("_said",)
    __match_args__ = ("user_id", "session_id", "app_id")

    is_active: ClassVar[Literal[True]] = True

    def __init__(
        self,
        *,
        user_id: str,
        session_id: str,
        app_id: str,
        token_id: str,
        issued_at: datetime,
        expires_at: datetime,
        audiences: tuple[str, ...],
        scopes: tuple[str, ...] = (),
        roles: tuple[str, ...] = (),
        openid: str | None = None,
        previous_user_ids: tuple[str, ...] = (),
        external_id: str | None = None,
    ) -> None:
        begins, ends = int(issued_at.timestamp()), int(expires_at.timestamp())
        self._said = Claims(
            issuer="",
            user_id=user_id,
            audiences=audiences,
            app_id=app_id,
            expires_at=ends,
            issued_at=begins,
            not_before=begins,
            token_id=token_id,
            session_id=session_id,
            scopes=scopes,
            position=0,
            openid=openid,
            roles=roles,
            external_id=external_id,
            previous_user_ids=previous_user_ids,
        )

    @classmethod
    def of(cls, claims: Claims) -> "Active":
        """Return what these claims say; they must have been judged."""
        active = cls.__new__(cls)
        active._said = claims  # noqa: SLF001 - its own
        return active

    @property
    def user_id(self) -> str:
        """The user, the claim `sub`."""
        return self._said.user_id

    @property
    def session_id(self) -> str:
        """The session, the claim `sid`."""
        return self._said.session_id

    @property
    def app_id(self) -> str:
        """The app, the claim `client_id`."""
        return self._said.app_id

    @property
    def openid(self) -> str | None:
        """WeChat's id of the user in the app, where the app's tokens carry it."""
        return self._said.openid

    @property
    def scopes(self) -> tuple[str, ...]:
        """The token's scopes."""
        return self._said.scopes

    @property
    def roles(self) -> tuple[str, ...]:
        """The token's roles."""
        return self._said.roles

    @property
    def audiences(self) -> tuple[str, ...]:
        """All of the token's audiences."""
        return self._said.audiences

    @property
    def token_id(self) -> str:
        """The token's id, the claim `jti`."""
        return self._said.token_id

    @property
    def issued_at(self) -> datetime:
        """When the token was issued, UTC."""
        return datetime.fromtimestamp(self._said.issued_at, UTC)

    @property
    def expires_at(self) -> datetime:
        """When the token expires, UTC."""
        return datetime.fromtimestamp(self._said.expires_at, UTC)

    @property
    def previous_user_ids(self) -> tuple[str, ...]:
        """Ids of users that were merged into this one, the claim `prev`."""
        return self._said.previous_user_ids

    @property
    def external_id(self) -> str | None:
        """The id that another system gave this user, where the token carries it."""
        return self._said.external_id

    def __eq__(self, other: object) -> bool:
        return _told(self._said) == _told(other._said) if isinstance(other, Active) else NotImplemented

    def __hash__(self) -> int:
        return hash(_told(self._said))

    def __repr__(self) -> str:
        """Without openid and external id: an Active may end in a log."""
        names = ("user_id", "session_id", "app_id", "scopes", "roles", "audiences", "token_id")
        return f"Active({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def _told(claims: Claims) -> Claims:
    """What an Active shows."""
    return claims._replace(issuer="", not_before=0, position=0)


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
