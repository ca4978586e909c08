"""The meaning of every error code (facts page 1.3)."""

from datetime import timedelta

import pytest

from authsvc.domain import errors
from authsvc.wechat import UnknownErrcode
from authsvc.wechat.errcodes import MEANINGS, FaultGroup, judge

APP_ID = "wx00000000000000e1"

# Written down from the facts page, row by row, not from the code under test.
ROWS: dict[int, tuple[FaultGroup, type[Exception]]] = {
    -1: (FaultGroup.TRANSIENT, errors.LoginCodeSpent),
    40029: (FaultGroup.CLIENT, errors.LoginCodeInvalid),
    40163: (FaultGroup.CLIENT, errors.LoginCodeUsed),
    40226: (FaultGroup.USER, errors.WeChatUserBlocked),
    45011: (FaultGroup.THROTTLE, errors.WeChatThrottled),
    45009: (FaultGroup.THROTTLE, errors.WeChatThrottled),
    40013: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    40125: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    40243: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    40001: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    40002: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    41002: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    41004: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    41008: (FaultGroup.CLIENT, errors.LoginCodeInvalid),
    42003: (FaultGroup.CLIENT, errors.LoginCodeInvalid),
    43001: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    43002: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    40164: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    48001: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    50002: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    50004: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
    50007: (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured),
}


@pytest.mark.parametrize(("errcode", "expected"), ROWS.items(), ids=str)
def test_row(errcode: int, expected: tuple[FaultGroup, type[Exception]]) -> None:
    """Each code of the facts page has its fault group and its domain error."""
    judged = judge(errcode, app_id=APP_ID)
    assert expected == (judged.group, type(judged.error))


def test_table_is_the_facts_page() -> None:
    """The table knows the facts page's codes and no others."""
    assert set(ROWS) == set(MEANINGS)


def test_unknown_errcode_is_no_domain_error() -> None:
    """A verdict nobody documented becomes INTERNAL, not a guess, and keeps what WeChat's support asks for."""
    judged = judge(77777, app_id=APP_ID, rid="67f5d2f4-00000000-11111111")
    assert isinstance(judged.error, UnknownErrcode)
    assert not isinstance(judged.error, errors.AuthError)
    assert (
        judged.group,
        judged.error.errcode,
        judged.error.rid,
    ) == (FaultGroup.UNKNOWN, 77777, "67f5d2f4-00000000-11111111")


@pytest.mark.parametrize(("errcode", "wait"), [(45011, timedelta(minutes=1)), (45009, timedelta(hours=1))])
def test_throttle_says_when_to_come_back(errcode: int, wait: timedelta) -> None:
    """A minute for the minute quota, much longer for the daily one."""
    error = judge(errcode, app_id=APP_ID).error
    assert isinstance(error, errors.WeChatThrottled)
    assert wait == error.retry_after


def test_misconfiguration_names_app_and_errcode() -> None:
    """What is wrong with our configuration names the app and the number."""
    error = judge(40125, app_id=APP_ID).error
    assert isinstance(error, errors.WeChatMisconfigured)
    assert error.metadata == {"app_id": APP_ID, "errcode": "40125"}


def test_level_follows_who_has_to_act() -> None:
    """Only what an operator has to act on is reported as an error; a user's expired code is not."""
    levels = {group: group.level for group in FaultGroup}
    assert levels == {
        FaultGroup.CLIENT: "info",
        FaultGroup.USER: "info",
        FaultGroup.CONFIGURATION: "error",
        FaultGroup.THROTTLE: "warning",
        FaultGroup.TRANSIENT: "warning",
        FaultGroup.UNAVAILABLE: "warning",
        FaultGroup.TOKEN: "warning",
        FaultGroup.UNKNOWN: "error",
    }


def test_every_judgement_is_a_fresh_exception() -> None:
    """Two calls never share an exception object, which would mix up their tracebacks."""
    assert judge(40029, app_id=APP_ID).error is not judge(40029, app_id=APP_ID).error
