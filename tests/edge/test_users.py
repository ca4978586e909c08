"""Phone numbers and encrypted data: the user's own token, the names of the contract, and nothing read without it."""

import pytest

from authsvc.status import BY_REASON
from tests.edge.peer import refusal
from tests.edge.wire import World

PHONE, DECRYPT = "/api/v1/phone", "/api/v1/user-data/decrypt"
BODIES = {PHONE: {"code": "c"}, DECRYPT: {"encrypted_data": "e==", "iv": "i=="}}
RPCS = {PHONE: "GetPhoneNumber", DECRYPT: "DecryptUserData"}
BEARER = {"Authorization": "Bearer a.b.c"}
by_path = pytest.mark.parametrize("path", sorted(BODIES))


async def test_a_phone_code_becomes_a_number(world: World) -> None:
    """The subject is the Bearer token, whatever else the body claims; the answer has all four fields."""
    body = {"code": "p-code", "openid": "somebody", "user": {"user_id": "u"}}
    answer = await world.post(PHONE, body, headers=BEARER)
    [request] = world.peer.requests("GetPhoneNumber")
    assert (request.WhichOneof("subject"), request.access_token, request.code) == (
        "access_token",
        "a.b.c",
        "p-code",
    )
    assert (answer.status, answer.json) == (
        200,
        {
            "phone_number": "+4915112345678",
            "pure_phone_number": "15112345678",
            "country_code": "49",
            "bound": True,
        },
    )
    assert answer.headers["Cache-Control"] == "no-store"


async def test_decrypted_data_come_as_they_stood(world: World) -> None:
    """The object is embedded as text: no number is rounded, no order changed."""
    answer = await world.post(DECRYPT, BODIES[DECRYPT], headers=BEARER)
    [request] = world.peer.requests("DecryptUserData")
    assert (request.access_token, request.encrypted_data, request.iv) == ("a.b.c", "e==", "i==")
    assert b'"user_data":{"steps": 10000000000000000001}' in answer.body
    assert answer.json["encrypted_at"] == 1_767_225_600


@by_path
async def test_without_a_token_nothing_is_asked(world: World, path: str) -> None:
    """401 with a challenge, and the server hears nothing; a broken header is a broken token."""
    for headers, challenge in (
        ({}, "Bearer"),
        ({"Authorization": "Basic x"}, 'Bearer error="invalid_token"'),
    ):
        answer = await world.post(path, BODIES[path], headers=headers)
        assert (answer.status, answer.error["reason"]) == (401, "TOKEN_INVALID")
        assert answer.headers["WWW-Authenticate"] == challenge
    assert world.peer.seen == []


@by_path
async def test_each_field_is_required(world: World, path: str) -> None:
    """A missing, empty or odd field is INVALID_FIELD by its name, unasked."""
    for name in BODIES[path]:
        for value in (None, "", 7, ["x"]):
            answer = await world.post(path, {**BODIES[path], name: value}, headers=BEARER)
            assert (answer.status, list(answer.error["fields"])) == (400, [name])
    assert world.peer.seen == []


@by_path
@pytest.mark.parametrize(
    "reason",
    [
        "PHONE_CODE_INVALID",
        "USER_DATA_INVALID",
        "SESSION_KEY_STALE",
        "TOKEN_INVALID",
        "NOT_FOUND",
        "WECHAT_UNAVAILABLE",
        "WECHAT_MISCONFIGURED",
        "WECHAT_THROTTLED",
        "STORE_UNAVAILABLE",
    ],
)
async def test_a_refusal_leaves_as_the_table_has_it(world: World, path: str, reason: str) -> None:
    """Status, reason and text of the one table; what the server said of itself stays inside."""
    world.peer.answers[RPCS[path]] = refusal(reason, metadata={"app_id": "wx-inner", "errcode": "40125"})
    answer = await world.post(path, BODIES[path], headers={**BEARER, "Accept-Language": "en"})
    row = BY_REASON[reason]
    assert (answer.status, answer.error["reason"], answer.error["message"]) == (row.http, reason, row.en)
    assert b"wx-inner" not in answer.body


@by_path
async def test_the_edge_refused_as_a_caller_is_no_verdict_about_the_user(world: World, path: str) -> None:
    """Here 401 and 403 speak of the user's token, so CALLER_* is 500."""
    for reason in ("CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"):
        world.peer.answers[RPCS[path]] = refusal(reason)
        assert (await world.post(path, BODIES[path], headers=BEARER)).status == 500
