"""
Everything that can go wrong in a way a caller may act on.

Each leaf is one row of CONTRACT.md's table; `authsvc.status` maps it, once, to a gRPC code, an HTTP status and
public texts. Exception texts are for our logs and therefore never carry tokens, codes, openids or secrets.
Unexpected exceptions are not listed here: they become INTERNAL with a fixed text.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class AuthError(Exception):
    """A refusal or failure with a typed reason; `metadata` and `retry_after` travel to the caller."""

    retry_after: timedelta | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        """What `google.rpc.ErrorInfo.metadata` carries: public, fixed keys, no secrets."""
        return _NO_METADATA


class _Delayed(AuthError):
    def __init__(self, message: str = "", *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidField(AuthError):
    """A request field that does not satisfy the contract; `violations` maps field path to what is wrong."""

    def __init__(self, field: str, description: str, **more: str) -> None:
        super().__init__(f"{field}: {description}")
        self.violations: dict[str, str] = {field: description, **more}


class LoginCodeInvalid(AuthError):
    """WeChat does not know this code (40029), or it is a developer-tool mock, or it is expired."""


class LoginCodeUsed(AuthError):
    """The code was used before: WeChat said 40163, or our own claim stands."""


class LoginCodeSpent(AuthError):
    """The code was sent and its outcome is lost (facts page 1.6), or the secret had just changed: a new code helps."""


class WeChatUserBlocked(AuthError):
    """WeChat's risk control blocks this user (40226)."""


class UserBlocked(AuthError):
    """An operator blocked this user."""


class WeChatThrottled(_Delayed):
    """WeChat asks to slow down (45011, 45009)."""


class RateLimited(_Delayed):
    """One of our own limits; with `is_overload` the caller did nothing wrong, this process has too much to do."""

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: timedelta = timedelta(seconds=1),
        is_overload: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.is_overload = is_overload


class WeChatUnavailable(_Delayed):
    """For a login: provably nothing was sent, so the same code may be tried again. Otherwise: a transient fault."""


class StoreUnavailable(_Delayed):
    """The record (SQL) cannot be reached or did not answer: no verdict."""


class NotFresh(_Delayed):
    """This process's knowledge of revocations is older than its hard bound, or than `at_least`."""


class WeChatMisconfigured(AuthError):
    """Our configuration at WeChat is at fault (secret, app id, account); names the app, never the secret."""

    def __init__(self, app_id: str, errcode: int) -> None:
        super().__init__(f"WeChat refuses our configuration of app {app_id}: errcode {errcode}")
        self.app_id = app_id
        self.errcode = errcode

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `AuthError.metadata`."""
        return {"app_id": self.app_id, "errcode": str(self.errcode)}


class UnknownApp(AuthError):
    """No app of this id is configured here."""


class AppDisabled(AuthError):
    """The app is configured and switched off."""


class RefreshTokenInvalid(AuthError):
    """Not a refresh token of ours, or of another session's line (its nonce does not match)."""


class SessionEnded(AuthError):
    """The session is over; metadata `end_reason` tells the client whether to log in silently or to ask for a tap."""

    def __init__(self, end_reason: str) -> None:
        super().__init__(f"session ended: {end_reason}")
        self.end_reason = end_reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `AuthError.metadata`."""
        return {"end_reason": self.end_reason}


class TokenInvalid(AuthError):
    """A user's access token, given as the subject of a call, is not active."""


class TokenInsufficient(AuthError):
    """The token is good but lacks the audience, scope or role asked for."""


class PhoneCodeInvalid(AuthError):
    """WeChat does not accept this phone code, or not for this user (whatever the number it says so with)."""


class CallerUnauthenticated(AuthError):
    """The calling service did not say who it is, or could not prove it."""


class CallerForbidden(AuthError):
    """The calling service may not call this."""


class SessionKeyStale(AuthError):
    """No session_key we hold opens the data, or WeChat replaced it: the client must `wx.login` first."""


class UserDataInvalid(AuthError):
    """User data that is damaged whatever the key, or that opened and is not ours (app, age, owner)."""


class NotFound(AuthError):
    """The named thing does not exist; `what` is its kind, never its id."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no such {what}")
        self.what = what

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `AuthError.metadata`."""
        return {"what": self.what}


class ExternalIdTaken(AuthError):
    """Another user has this external id."""


class MergeImpossible(AuthError):
    """The two users cannot be merged, or the merge is not there or can no longer be undone."""


class CursorExpired(AuthError):
    """The cursor is older than the log remembers, or of another incarnation: take a snapshot."""


class WatcherTooSlow(_Delayed):
    """The subscriber did not read fast enough; it may resume from its last cursor."""
