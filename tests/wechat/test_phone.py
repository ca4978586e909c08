"""The phone number: whose code it is, what WeChat may answer, and one send per code."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from authsvc.domain import errors
from authsvc.ports import PhoneNumber
from tests.wechat.platform import (
    NUMBER,
    PHONE,
    PHONE_CODE,
    TOKEN,
    Answer,
    Script,
    app_on,
    connected,
    dropping,
    hanging,
    phone,
    phone_info,
    platform,
    refusing,
)
from tests.wechat.wire import APP_ID, LATER, OPENID, Visit, refused_url, started


async def test_code_goes_with_the_users_openid() -> None:
    """POST, JSON, token in the query, code and openid in the body (facts page 3.1)."""
    async with connected() as (stage, rig):
        assert await phone(rig) == PhoneNumber(number=NUMBER, pure_number="61234567", country_code="852")
        [visit] = stage.visits(PHONE)
    assert visit.request.startswith(b"POST ")
    assert visit.query == {"access_token": "1_canarytoken"}
    assert json.loads(visit.body) == {"code": PHONE_CODE, "openid": OPENID}


@pytest.mark.parametrize("code", ["852", 852])
async def test_country_code_is_a_number_or_a_string(code: object) -> None:
    """Both come out as text."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = lambda _visit: phone_info(countryCode=code)
        assert (await phone(rig)).country_code == "852"


async def test_errcode_may_be_absent_or_quoted() -> None:
    """Zero in any form is success; a quoted refusal is a refusal."""
    async with connected() as (stage, rig):
        for form in ({}, {"errcode": 0}, {"errcode": "0"}):
            body = {"phone_info": phone_info()["phone_info"], **form}
            stage.scripts[PHONE] = lambda _visit, body=body: body  # type: ignore[misc]
            await phone(rig)
        stage.scripts[PHONE] = lambda _visit: {**phone_info(), "errcode": "40029"}
        with pytest.raises(errors.PhoneCodeInvalid):
            await phone(rig)


@pytest.mark.parametrize("errcode", [40029, 40013, 40163, 40003, 61024, 999999])
async def test_refused_code_has_one_reason(errcode: int) -> None:
    """
    Used, expired, another app's, another user's, a login code: PhoneCodeInvalid after one request.

    WeChat publishes no number for another user's code, so one that nobody knows means that.
    """
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = refusing(errcode)
        with pytest.raises(errors.PhoneCodeInvalid):
            await phone(rig)
        assert stage.count(PHONE) == 1
        assert rig.last_call["errcode"] == errcode
        assert rig.last_call["rid"] == "67f5d2f4-0a1b2c3d-4e5f6071"
        assert rig.observer.named("wechat.misconfigured") == []


@pytest.mark.parametrize("code", ["", "x" * 513, "\ud800"])
async def test_what_is_no_code_is_not_sent(code: str) -> None:
    """Empty, far too long, or no text at all: refused here."""
    async with connected() as (stage, rig):
        with pytest.raises(errors.PhoneCodeInvalid):
            await phone(rig, code=code)
        assert stage.peer.visits == []


@pytest.mark.parametrize(
    "watermark", [{"appid": "wx00000000000000e2"}, {"appid": 7}, {}, None, {"appid": APP_ID + " "}]
)
async def test_another_apps_watermark_is_refused(watermark: object) -> None:
    """A number that WeChat stamped for another app, or did not stamp, is nobody's."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = lambda _visit: phone_info(watermark=watermark)
        with pytest.raises(errors.PhoneCodeInvalid):
            await phone(rig)
        assert rig.last_call["fault"] == "foreign_watermark"


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 0},
        {"phone_info": []},
        {"phone_info": None},
        phone_info(phoneNumber=""),
        phone_info(phoneNumber=None),
        phone_info(phoneNumber=85261234567),
        phone_info(purePhoneNumber="call me"),
        phone_info(purePhoneNumber="1" * 40),
        phone_info(countryCode=True),
        phone_info(countryCode="HK"),
        phone_info(countryCode=None),
    ],
)
async def test_odd_answer_is_a_transient_fault(answer: Answer) -> None:
    """What holds no number is no answer; the code is not sent again."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = lambda _visit: answer
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert stage.count(PHONE) == 1


def raw(body: bytes, status: str = "200 OK") -> Script:
    async def script(visit: Visit) -> None:
        await visit.answer(body, status=status, content_type="text/html; charset=gbk")

    return script


async def resetting(visit: Visit) -> None:
    visit.reset()


LOST: dict[str, Script] = {
    "dropped": dropping,
    "reset": resetting,
    "empty": raw(b""),
    "html": raw(b"<html>502</html>"),
    "truncated": raw(json.dumps(phone_info()).encode()[:-3]),
    "gbk": raw('{"errmsg":"系统繁忙"}'.encode("gbk")),
    "10 MB": raw(b" " * 10_000_000 + b"{}"),
    "array": raw(b"[]"),
    "bom only": raw(b"\xef\xbb\xbf"),
    "503": raw(b"{}", "503 Oops"),
    "404": raw(b"{}", "404 Oops"),
    "-1": refusing(-1),
}


@pytest.mark.parametrize("name", LOST)
async def test_written_code_is_not_sent_again(name: str) -> None:
    """Once written, no fault of wire or answer sends the code a second time, to this host or to another."""
    async with platform() as stage, platform() as backup:
        stage.scripts[PHONE] = LOST[name]
        app = replace(app_on(stage), backup_urls=(backup.url,))
        async with started(app) as rig:
            with pytest.raises(errors.WeChatUnavailable):
                await phone(rig)
        assert (stage.count(PHONE), backup.count(PHONE)) == (1, 0)


async def test_answer_with_a_bom_is_read() -> None:
    """A byte order mark loses nobody a phone code."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = raw(b"\xef\xbb\xbf" + json.dumps(phone_info()).encode())
        assert (await phone(rig)).number == NUMBER


async def test_hanging_answer_ends_by_the_deadline() -> None:
    """After at most one send the caller is told to try later."""
    async with connected() as (stage, rig):
        await phone(rig)
        stage.scripts[PHONE] = hanging
        rig.client.reconfigure({APP_ID: replace(app_on(stage), deadline=LATER)})
        with pytest.raises(errors.WeChatUnavailable):
            await phone(rig)
        assert stage.count(TOKEN) == 1
        assert stage.count(PHONE) <= 2


async def test_unsent_code_goes_to_the_backup() -> None:
    """While no connection was had the next host may have token request and code."""
    async with platform() as backup:
        app = replace(app_on(backup), base_url=refused_url(), backup_urls=(backup.url,))
        async with started(app) as rig:
            assert (await phone(rig)).number == NUMBER
        assert (backup.count(TOKEN), backup.count(PHONE)) == (1, 1)


async def test_crowd_gets_its_own_numbers() -> None:
    """Two hundred users at once: nobody gets another's number."""
    async with connected() as (stage, rig):

        def echo(visit: Visit) -> Answer:
            number = json.loads(visit.body)["code"]
            return phone_info(phoneNumber=number, purePhoneNumber=number)

        stage.scripts[PHONE] = echo
        codes = [f"138{number:08d}" for number in range(200)]
        numbers = await asyncio.gather(*(phone(rig, code=code) for code in codes))
        assert [number.pure_number for number in numbers] == codes


def test_number_is_not_shown() -> None:
    """The value's repr holds nothing of it."""
    assert repr(PhoneNumber(number=NUMBER, pure_number="61234567", country_code="852")) == "PhoneNumber()"


@pytest.mark.parametrize(
    ("errcode", "make"), [(48001, errors.WeChatMisconfigured), (45011, errors.WeChatThrottled)]
)
async def test_other_verdicts(errcode: int, make: Callable[..., Exception]) -> None:
    """A missing capability is our misconfiguration, with an alarm; a throttle says when to come back."""
    async with connected() as (stage, rig):
        stage.scripts[PHONE] = refusing(errcode)
        with pytest.raises(errors.AuthError) as raised:
            await phone(rig)
        assert type(raised.value) is make
        assert len(rig.observer.named("wechat.misconfigured")) == (errcode == 48001)
