"""
What the control API does to apps and users, and how it tells mistakes.
"""

import pytest

from authsvc.sandbox import SandboxServer, World
from authsvc.sandbox.phones import Phones
from tests.sandbox.wire import D1, D2, D3, Wire

NOBODY = "wx00000000000000d9"


async def test_apps_are_bound_and_unbound(server: SandboxServer, wire: Wire) -> None:
    """
    Bound to d1's account, d3 sees d1's unionid for the same user; unbound, none. The openid stays.
    """

    async def unionid(app_id: str) -> object:
        fields = (await wire.login(server.mint(app_id, "ann"), app_id=app_id)).fields
        assert fields["openid"] == server.world.identity(app_id, user="ann").openid
        return fields.get("unionid")

    assert await unionid(D3) is None
    told = await wire.control("PUT", f"/apps/{D3}", {"open_platform": "op1"})
    assert told.fields["open_platform"] == "op1"
    assert await unionid(D3) == await unionid(D1) is not None
    await wire.control("PUT", f"/apps/{D3}", {"open_platform": "op2"})
    assert await unionid(D3) != await unionid(D1)
    await wire.control("PUT", f"/apps/{D3}", {"open_platform": None})
    assert await unionid(D3) is None


async def test_an_app_with_long_tokens(wire: Wire) -> None:
    """
    Its next token has the length asked for.
    """
    told = await wire.control("PUT", f"/apps/{D1}", {"token_length": 512})
    assert told.fields["token_length"] == 512
    assert len(await wire.access_token()) == 512
    assert len(await wire.access_token(D2)) == 136


async def test_old_hints_as_a_mode(wire: Wire) -> None:
    """
    Switched on, every error of every endpoint ends as before 2020.
    """
    await wire.control("PUT", "/settings", {"old_hints": True})
    for answer in (await wire.login("no"), await wire.token(secret="no"), await wire.stable(secret="no")):
        assert ", hints: [ req_id: " in str(answer.fields["errmsg"])
        assert "rid:" not in str(answer.fields["errmsg"])
    await wire.control("PUT", "/settings", {"old_hints": False})
    assert ", rid: " in str((await wire.login("no")).fields["errmsg"])


async def test_a_users_number_can_be_set(server: SandboxServer, wire: Wire) -> None:
    """
    For every app, with or without a country; it is shown and kept.
    """
    path = f"/users/{D1}/ann"
    told = (await wire.control("PUT", path, {"phone": "+13800000000"})).fields
    assert (told["phone"], told["country_code"]) == ("13800000000", "86")
    told = (await wire.control("PUT", path, {"country_code": "852"})).fields
    assert (told["phone"], told["country_code"]) == ("13800000000", "852")
    assert server.world.phones.of("ann").full == "+85213800000000"
    other = (await wire.control("GET", f"/users/{D2}/ann")).fields
    assert other["phone"] == "13800000000"


def test_made_up_numbers_are_stable_and_assigned_to_nobody() -> None:
    """
    Eleven digits in a range without subscribers, the same in every process, different per user.
    """
    first, second = Phones(), Phones()
    assert first.of("ann") == second.of("ann")
    assert first.of("ann").pure == "10032129859", "no release changes them"
    assert len({first.of(f"user{number}").pure for number in range(200)}) == 200
    assert all(len(first.of(f"user{number}").pure) == 11 for number in range(200))
    assert first.of("ann").pure not in repr(first.of("ann"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", f"/apps/{NOBODY}", {"frozen": True}, 404),
        ("PUT", f"/apps/{D1}", {"frozen": 1}, 400),
        ("PUT", f"/apps/{D1}", {"tokens_stuck": "yes"}, 400),
        ("PUT", f"/apps/{D1}", {"token_length": 100}, 400),
        ("PUT", f"/apps/{D1}", {"token_length": True}, 400),
        ("PUT", f"/apps/{D1}", {"open_platform": 7}, 400),
        ("PUT", f"/apps/{D1}", {"open_platform": "x" * 129}, 400),
        ("PUT", f"/apps/{D1}", {"secret": "x"}, 400),
        ("POST", f"/apps/{NOBODY}/secret", None, 404),
        ("POST", f"/apps/{D1}/secret", {"secret": ""}, 400),
        ("POST", f"/apps/{D1}/secret", {"secret": "x" * 129}, 400),
        ("POST", f"/apps/{NOBODY}/revoke-tokens", None, 404),
        ("POST", "/phone-codes", {"app_id": NOBODY, "user": "ann"}, 404),
        ("POST", "/phone-codes", {"app_id": D1, "user": "ann", "phone": "x"}, 400),
        ("POST", "/phone-codes", {"app_id": D1, "user": "ann", "country_code": "+86"}, 400),
        ("POST", "/phone-codes", {"app_id": D1, "user": "ann", "fault": "nosuch"}, 400),
        ("POST", "/plugin-codes", {"app_id": D1, "user": "ann"}, 400),
        ("POST", "/plugin-codes", {"app_id": NOBODY, "user": "ann", "plugin_app_id": "x"}, 404),
        ("POST", "/payments", {"app_id": NOBODY, "user": "ann"}, 404),
        ("POST", "/user-data", {"app_id": NOBODY, "user": "ann"}, 404),
        ("PUT", f"/users/{D1}/ann", {"phone": "12"}, 400),
        ("POST", f"/users/{D1}/ann/session-key", {"action": "nosuch"}, 400),
        ("POST", f"/users/{NOBODY}/ann/session-key", {"action": "expire"}, 404),
        ("PUT", "/settings", {"nosuch": True}, 400),
        ("PUT", "/settings", {"openid_mismatch_errcode": 0}, 400),
        ("PUT", "/settings", {"phone_wrong_app_errcode": "40013"}, 400),
        ("PUT", "/faults", {"fault": "drop", "path": "/nosuch"}, 400),
        ("GET", "/requests?after=x", None, 400),
        ("GET", "/requests?after=-1", None, 400),
    ],
)
async def test_mistakes_are_explained_and_change_nothing(
    server: SandboxServer, wire: Wire, *, method: str, path: str, body: object, status: int
) -> None:
    """
    A status and one sentence; apps, settings and rules are as before.
    """

    async def state() -> list[bytes]:
        return [(await wire.control("GET", path)).body for path in ("/apps", "/settings", "/faults")]

    before = await state()
    answer = await wire.control(method, path, body)
    assert (status, {"error"}) == (answer.status, set(answer.fields))
    assert before == await state()
    assert server.arrivals.select() == []


async def test_a_settings_change_is_whole_or_not_at_all(wire: Wire) -> None:
    """
    One bad value leaves the good ones beside it unapplied.
    """
    body = {"wrong_app_consumes": False, "openid_mismatch_errcode": "x"}
    assert (await wire.control("PUT", "/settings", body)).status == 400
    assert (await wire.control("GET", "/settings")).fields["wrong_app_consumes"] is True


async def test_requests_after_a_number(server: SandboxServer, wire: Wire) -> None:
    """
    A watcher asks for what is new, and learns when the log was emptied.
    """
    for code in ("a", "b", "c"):
        await wire.login(code)
    news = (await wire.control("GET", "/requests?after=2")).fields
    assert isinstance(news["requests"], list)
    assert [request["code"] for request in news["requests"]] == ["c"]
    assert news["era"] == 0
    await wire.control("DELETE", "/requests")
    assert (await wire.control("GET", "/requests?after=2")).fields["era"] == 1


async def test_phone_codes_take_a_text_and_a_fault(server: SandboxServer, wire: Wire) -> None:
    """
    As login codes do; a text that is alive already is 409.
    """
    body = {"app_id": D1, "user": "ann", "code": "abc", "fault": "system-error"}
    assert (await wire.control("POST", "/phone-codes", body)).fields == {"code": "abc"}
    assert (await wire.control("POST", "/phone-codes", body)).status == 409
    query = {"access_token": await wire.access_token()}
    calls = [
        await wire.api("POST", "/wxa/business/getuserphonenumber", query=query, body={"code": "abc"})
        for _ in range(2)
    ]
    assert [call.errcode for call in calls] == [-1, 0]


def test_two_worlds_hand_out_different_codes(world: World) -> None:
    """
    The same dice, rolled again, give no text twice.
    """
    assert len({world.dice.text(32) for _ in range(100)}) == 100
