"""The meaning of every error code of the endpoints beside code2Session (facts page 2.1 to 3.3), on the wire."""

from collections.abc import Awaitable, Callable

import pytest

from authsvc.domain import errors
from authsvc.wechat import UnknownErrcode
from authsvc.wechat.errcodes import PHONE_MEANINGS, SESSION_MEANINGS, TOKEN_MEANINGS, FaultGroup, Meaning
from tests.wechat.platform import CHECK, PHONE, RESET, TOKEN, check, connected, phone, refusing, reset
from tests.wechat.wire import APP_ID, Rig

OURS = (FaultGroup.CONFIGURATION, errors.WeChatMisconfigured)
THROTTLE = (FaultGroup.THROTTLE, errors.WeChatThrottled)
BUSY = (FaultGroup.UNAVAILABLE, errors.WeChatUnavailable)
REFUSED_TOKEN = (FaultGroup.TOKEN, errors.WeChatMisconfigured)
BAD_CODE = (FaultGroup.CLIENT, errors.PhoneCodeInvalid)
STALE = (FaultGroup.CLIENT, errors.SessionKeyStale)
Rows = dict[int, tuple[FaultGroup, type[Exception]]]

# Written down from the facts page, row by row, not from the code under test.
GLOBAL: Rows = dict.fromkeys(
    (40002, 40125, 40164, 40243, 41002, 41004, 43001, 43002, 48001, 50002, 50004, 50007), OURS
)
LIMITS: Rows = {-1: BUSY, 45011: THROTTLE, 45009: THROTTLE}
WITH_TOKEN: Rows = {40001: REFUSED_TOKEN, 40014: REFUSED_TOKEN, 42001: REFUSED_TOKEN, 41001: OURS}
TOKEN_ROWS: Rows = {**GLOBAL, **LIMITS, 40001: OURS, 40013: OURS, 89503: OURS, 89506: OURS, 89507: OURS}
PHONE_ROWS: Rows = {
    **GLOBAL,
    **LIMITS,
    **WITH_TOKEN,
    40029: BAD_CODE,
    40013: BAD_CODE,
    40163: BAD_CODE,
    40003: BAD_CODE,
}
SESSION_ROWS: Rows = {
    **GLOBAL,
    **LIMITS,
    **WITH_TOKEN,
    40013: OURS,
    40097: OURS,
    87008: OURS,
    87007: STALE,
    87009: STALE,
}
Call = Callable[[Rig], Awaitable[object]]


@pytest.mark.parametrize(
    ("rows", "meanings"),
    [(TOKEN_ROWS, TOKEN_MEANINGS), (PHONE_ROWS, PHONE_MEANINGS), (SESSION_ROWS, SESSION_MEANINGS)],
    ids=["token", "phone", "session"],
)
def test_tables_are_the_facts_page(rows: Rows, meanings: dict[int, Meaning]) -> None:
    """Each table knows the page's codes with their groups and errors, and no others."""
    assert rows == {
        errcode: (meaning.group, type(meaning.make(APP_ID, errcode))) for errcode, meaning in meanings.items()
    }


async def judged(call: Call, path: str, errcode: int) -> None:
    rows = {TOKEN: TOKEN_ROWS, PHONE: PHONE_ROWS}.get(path, SESSION_ROWS)
    group, error = rows[errcode]
    async with connected() as (stage, rig):
        stage.scripts[path] = refusing(errcode)
        with pytest.raises(errors.AuthError) as raised:
            await call(rig)
        assert type(raised.value) is error
        assert (rig.last_call["errcode"], rig.last_call["outcome"]) == (errcode, group.value)
        alarms = [event.fields for event in rig.observer.named("wechat.misconfigured")]
        expected = {"app_id": APP_ID, "endpoint": path.rpartition("/")[2], "errcode": errcode}
        assert alarms == [expected] * (error is errors.WeChatMisconfigured)
        assert stage.count(PHONE if path == TOKEN else path) == {
            FaultGroup.TOKEN: 2,
            FaultGroup.UNAVAILABLE: 2 if path == CHECK else 1,
        }.get(group, 1) * (path != TOKEN)


@pytest.mark.parametrize("errcode", TOKEN_ROWS)
async def test_token_request(errcode: int) -> None:
    """A refused token request is the call's own refusal; the call itself is not sent."""
    await judged(phone, TOKEN, errcode)


@pytest.mark.parametrize("errcode", PHONE_ROWS)
async def test_phone(errcode: int) -> None:
    """Each code of getuserphonenumber, with its number of sends and its alarm."""
    await judged(phone, PHONE, errcode)


@pytest.mark.parametrize("errcode", SESSION_ROWS)
async def test_reset(errcode: int) -> None:
    """Each code of resetusersessionkey."""
    await judged(reset, RESET, errcode)


@pytest.mark.parametrize("errcode", sorted(set(SESSION_ROWS) - {87007, 87009}))
async def test_check(errcode: int) -> None:
    """Each code of checksession that is not a plain no."""
    await judged(check, CHECK, errcode)


@pytest.mark.parametrize(("call", "path"), [(check, CHECK), (reset, RESET), (check, TOKEN)])
async def test_unknown_number(call: Call, path: str) -> None:
    """An errcode that nobody documented becomes INTERNAL, with number and trace id in the event."""
    async with connected() as (stage, rig):
        stage.scripts[path] = refusing(77777)
        with pytest.raises(UnknownErrcode):
            await call(rig)
        assert (rig.last_call["outcome"], rig.last_call["errcode"]) == ("unknown_errcode", 77777)
        assert rig.last_call["rid"] == "67f5d2f4-0a1b2c3d-4e5f6071"
