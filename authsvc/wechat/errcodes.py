"""
What each of WeChat's error codes means to us: one table, from facts page section 1.3.

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
    WeChatMisconfigured,
    WeChatThrottled,
    WeChatUserBlocked,
)

# 45011 names the minute in its own text. 45009 is a daily quota that ends at a midnight we can't see from here: an
# hour keeps clients from hammering without locking them out long after it was lifted.
_MINUTE_QUOTA: Final = timedelta(seconds=60)
_DAILY_QUOTA: Final = timedelta(hours=1)


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
    UNKNOWN = "unknown_errcode"

    @property
    def level(self) -> str:
        """The level of the event that reports it: what an operator has to act on is an error."""
        if self in (FaultGroup.CONFIGURATION, FaultGroup.UNKNOWN):
            return "error"
        return "warning" if self in (FaultGroup.THROTTLE, FaultGroup.TRANSIENT) else "info"


_Make = Callable[[str, int], Exception]
"""From app id and errcode to the error; made afresh each time, since an exception carries its own traceback."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: whose fault, and the error the use case sees."""

    group: FaultGroup
    make: _Make


def _says(error: type[Exception]) -> _Make:
    return lambda _app_id, errcode: error(f"errcode {errcode}")


def _later(wait: timedelta) -> _Make:
    return lambda _app_id, errcode: WeChatThrottled(f"errcode {errcode}", retry_after=wait)


_INVALID = Meaning(FaultGroup.CLIENT, _says(LoginCodeInvalid))
_OURS = Meaning(FaultGroup.CONFIGURATION, WeChatMisconfigured)

MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        # system error, which may have consumed the code (1.6)
        -1: Meaning(FaultGroup.TRANSIENT, _says(LoginCodeSpent)),
        40029: _INVALID,  # invalid code: expired, mistyped, another app's
        41008: _INVALID,  # missing code
        42003: _INVALID,  # code timed out
        40163: Meaning(FaultGroup.CLIENT, _says(LoginCodeUsed)),  # code been used
        40226: Meaning(FaultGroup.USER, _says(WeChatUserBlocked)),  # blocked by risk control
        45011: Meaning(FaultGroup.THROTTLE, _later(_MINUTE_QUOTA)),
        45009: Meaning(FaultGroup.THROTTLE, _later(_DAILY_QUOTA)),
        40001: _OURS,  # invalid credential
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
)
"""Every code of facts page 1.3; whatever is not here is unknown."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an errcode comes to in one call."""

    group: FaultGroup
    error: Exception


def judge(errcode: int, *, app_id: str, rid: str = "") -> Judgement:
    """Return the fault group of a non-zero *errcode* and the error to raise for it."""
    meaning = MEANINGS.get(errcode)
    if meaning is None:
        return Judgement(FaultGroup.UNKNOWN, UnknownErrcode(errcode, rid=rid))
    return Judgement(meaning.group, meaning.make(app_id, errcode))
