"""
What each of WeChat's error codes means to us: one table per endpoint (facts page 1.3, 2.2, 2.3, 3.1 to 3.3).

Only the number counts, never its text. Transport failures have no number and are not here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from types import MappingProxyType
from typing import Final

from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeSpent,
    LoginCodeUsed,
    PhoneCodeInvalid,
    SessionKeyStale,
    WeChatMisconfigured,
    WeChatThrottled,
    WeChatUnavailable,
    WeChatUserBlocked,
)

# 45011 names the minute in its own text. 45009 is a daily quota that ends at a midnight we can't see from here: an
# hour keeps clients from hammering without locking them out long after it was lifted.
_MINUTE_QUOTA: Final = timedelta(seconds=60)
_DAILY_QUOTA: Final = timedelta(hours=1)

INVALID_SECRET: Final = 40125


class UnknownErrcode(RuntimeError):
    """
    WeChat gave a verdict that no table of ours knows; callers see INTERNAL.

    The code has been sent, so it is gone like a spent one.
    """

    def __init__(self, errcode: int, *, rid: str = "") -> None:
        super().__init__(f"WeChat answered the unknown errcode {errcode}" + (f", rid {rid}" if rid else ""))
        self.errcode = errcode
        self.rid = rid


class FaultGroup(Enum):
    """Whose fault an errcode is; the value is the `outcome` field of the event `wechat.call`."""

    CLIENT = "client_fault"
    USER = "user_fault"
    CONFIGURATION = "misconfigured"
    THROTTLE = "throttled"
    TRANSIENT = "spent"
    UNAVAILABLE = "unavailable"
    TOKEN = "token_refused"  # noqa: S105 - the name of an outcome
    UNKNOWN = "unknown_errcode"

    @property
    def level(self) -> str:
        """The level of the event that reports it: what an operator has to act on is an error."""
        if self in (FaultGroup.CONFIGURATION, FaultGroup.UNKNOWN):
            return "error"
        return "info" if self in (FaultGroup.CLIENT, FaultGroup.USER) else "warning"

    @property
    def is_transient(self) -> bool:
        """Whether a breaker counts it: WeChat, or the way to it, is in trouble."""
        return self in (FaultGroup.TRANSIENT, FaultGroup.UNAVAILABLE)


Make = Callable[[str, int], Exception]
"""From app id and errcode to the error; made afresh each time, since an exception carries its own traceback."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: whose fault, and the error the use case sees."""

    group: FaultGroup
    make: Make


def _says(error: type[Exception]) -> Make:
    return lambda _app_id, errcode: error(f"errcode {errcode}")


def _later(wait: timedelta) -> Make:
    return lambda _app_id, errcode: WeChatThrottled(f"errcode {errcode}", retry_after=wait)


_INVALID = Meaning(FaultGroup.CLIENT, _says(LoginCodeInvalid))
_PHONE_INVALID = Meaning(FaultGroup.CLIENT, _says(PhoneCodeInvalid))
_KEY_STALE = Meaning(FaultGroup.CLIENT, _says(SessionKeyStale))
_OURS = Meaning(FaultGroup.CONFIGURATION, WeChatMisconfigured)
_TOKEN = Meaning(FaultGroup.TOKEN, WeChatMisconfigured)

_THROTTLES: Final[Mapping[int, Meaning]] = {
    45011: Meaning(FaultGroup.THROTTLE, _later(_MINUTE_QUOTA)),
    45009: Meaning(FaultGroup.THROTTLE, _later(_DAILY_QUOTA)),
}
_CONFIGURATION: Final[Mapping[int, Meaning]] = {
    40002: _OURS,  # invalid grant_type
    40013: _OURS,  # invalid appid
    40125: _OURS,  # invalid appsecret
    40164: _OURS,  # ip not in the allow-list
    40243: _OURS,  # AppSecret frozen
    41002: _OURS,  # appid missing
    41004: _OURS,  # appsecret missing
    43001: _OURS,  # GET required
    43002: _OURS,  # POST required
    48001: _OURS,  # api unauthorized
    50002: _OURS,  # user limited
    50004: _OURS,  # token interface forbidden
    50007: _OURS,  # account frozen
}

MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **_THROTTLES,
        **_CONFIGURATION,
        # system error, which may have consumed the code (1.6)
        -1: Meaning(FaultGroup.TRANSIENT, _says(LoginCodeSpent)),
        40029: _INVALID,  # invalid code: expired, mistyped, another app's
        41008: _INVALID,  # missing code
        42003: _INVALID,  # code timed out
        40163: Meaning(FaultGroup.CLIENT, _says(LoginCodeUsed)),  # code been used
        40226: Meaning(FaultGroup.USER, _says(WeChatUserBlocked)),  # blocked by risk control
        40001: _OURS,  # invalid credential
    }
)
"""jscode2session: every code of facts page 1.3; whatever is not here is unknown."""

TOKEN_MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **_THROTTLES,
        **_CONFIGURATION,
        -1: Meaning(FaultGroup.UNAVAILABLE, _says(WeChatUnavailable)),
        40001: _OURS,  # wrong secret
        89503: _OURS,  # an administrator has to confirm this address
        89506: _OURS,  # an administrator refused this address for a day
        89507: _OURS,  # an administrator refused this address for an hour
    }
)
"""stable_token (facts page 2.1, 2.2)."""

_WITH_TOKEN: Final[Mapping[int, Meaning]] = {
    **_THROTTLES,
    **_CONFIGURATION,
    -1: Meaning(FaultGroup.UNAVAILABLE, _says(WeChatUnavailable)),
    40001: _TOKEN,  # unknown or superseded
    40014: _TOKEN,  # malformed
    42001: _TOKEN,  # expired
    41001: _OURS,  # none was sent
}

PHONE_MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **_WITH_TOKEN,
        40029: _PHONE_INVALID,  # wrong, used, expired, or another app's
        40013: _PHONE_INVALID,  # here: token and code are of different apps (3.1)
        40163: _PHONE_INVALID,  # used
        40003: _PHONE_INVALID,  # a wrong openid: likely what another user's code gives (3.1 publishes no number)
    }
)
"""getuserphonenumber (facts page 3.1)."""

SESSION_MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **_WITH_TOKEN,
        40097: _OURS,  # invalid arguments
        87007: _KEY_STALE,  # session_key missing or expired
        87008: _OURS,  # invalid sig_method
        87009: _KEY_STALE,  # invalid signature: made with another key
    }
)
"""checksession and resetusersessionkey (facts page 3.2, 3.3)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an errcode comes to in one call."""

    group: FaultGroup
    make: Callable[[], Exception]

    @property
    def error(self) -> Exception:
        """A fresh error for it."""
        return self.make()


def judge(
    errcode: int,
    *,
    app_id: str,
    rid: str = "",
    meanings: Mapping[int, Meaning] = MEANINGS,
    unknown: Make | None = None,
) -> Judgement:
    """Return the fault group of a non-zero *errcode* and the error to raise; *unknown* makes one for a strange number."""
    meaning = meanings.get(errcode)
    if meaning is not None:
        make = meaning.make
        return Judgement(meaning.group, lambda: make(app_id, errcode))
    if unknown is not None:
        return Judgement(FaultGroup.UNKNOWN, lambda: unknown(app_id, errcode))
    return Judgement(FaultGroup.UNKNOWN, lambda: UnknownErrcode(errcode, rid=rid))
