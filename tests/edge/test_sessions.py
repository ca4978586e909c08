"""Login, refresh, logout, and the legacy login: what goes to the server and what comes back as JSON."""

import asyncio

import grpc
import pytest

from authapi.v1 import ErrorReason, LoginResponse, RevokeResponse, RevokeScope, SessionEndReason
from authsvc.edge import EdgeSettings
from tests.edge.peer import APP, SESSION, USER, Fault, refusal, tokens
from tests.edge.wire import World, running

LOGIN = "/api/v1/login"
TOKENS = {
    "access_token": "access.token.text",
    "expires_in": 7199,  # rounded down: the server's clock reads half a second past
    "refresh_token": "wxr1.refresh",
    "refresh_expires_in": 604799,
    "server_time": 1_767_225_600,
}


async def test_login_carries_the_code_unchanged_and_answers_the_contract_fields(world: World) -> None:
    """A code with spaces, ampersands and quotes arrives byte for byte; the reply has exactly the pinned fields."""
    code = "a b&c=\"d'%2B+é\\"
    body = {
        "app_id": APP,
        "code": code,
        "device_id": "dev",
        "device_name": "我的手机",
        "phone_code": "p",
        "x": [1],
    }
    answer = await world.post(LOGIN, body, headers={"User-Agent": "u" * 300})
    assert answer.status == 200
    assert answer.json == {
        "user_id": USER, "session_id": SESSION, "openid": "openid-1", "is_new_user": True, **TOKENS,
    }  # fmt: skip
    (request,) = world.peer.requests("Login")
    assert (request.app_id, request.mini_program_code, request.phone_code) == (APP, code, "p")
    assert (request.client.device_id, request.client.device_name) == ("dev", "我的手机")
    assert (request.client.ip, request.client.user_agent) == ("127.0.0.1", "u" * 256)


async def test_optional_login_fields_appear_when_the_server_sends_them(world: World) -> None:
    """unionid, previous_user_ids, external_id, phone_number and phone_error are told when set, absent otherwise."""
    world.peer.answers["Login"] = LoginResponse(
        user_id=USER, session_id=SESSION, openid="o", unionid="u", tokens=tokens(), previous_user_ids=["old"],
        external_id="e", phone_number="138", phone_error=ErrorReason.ERROR_REASON_PHONE_CODE_INVALID,
    )  # fmt: skip
    answer = (await world.post(LOGIN, {"code": "c"})).json
    more = {
        "unionid": "u", "previous_user_ids": ["old"], "external_id": "e", "phone_number": "138",
        "phone_error": "PHONE_CODE_INVALID",
    }  # fmt: skip
    assert more.items() <= answer.items()
    assert answer["is_new_user"] is False


async def test_a_login_without_app_id_uses_the_default_app_or_is_refused() -> None:
    """The default app stands in; without one the field is required."""
    async with running() as world:
        await world.post(LOGIN, {"code": "c"})
        assert world.peer.requests("Login")[0].app_id == APP
    async with running(EdgeSettings()) as world:
        answer = await world.post(LOGIN, {"code": "c"})
        assert (answer.status, answer.error["fields"]) == (400, {"app_id": "is required"})
        assert world.peer.seen == []


@pytest.mark.parametrize("path", [LOGIN, "/api/login"])
async def test_a_code_in_the_url_is_never_read(world: World, path: str) -> None:
    """A `code` query parameter changes nothing: the request still lacks a code."""
    assert (await world.post(f"{path}?code=from-url", {})).status == 400
    await world.post(f"{path}?code=from-url", {"code": "from-body"})
    assert [request.mini_program_code for request in world.peer.requests("Login")] == ["from-body"]


async def test_refresh_answers_token_fields(world: World) -> None:
    """The refresh token goes up, the successor comes down."""
    answer = await world.post("/api/v1/refresh", {"refresh_token": "wxr1.old"})
    assert answer.json == {"user_id": USER, "session_id": SESSION, **TOKENS}
    assert world.peer.requests("RefreshToken")[0].refresh_token == "wxr1.old"


async def test_logout_revokes_each_token_it_is_given(world: World) -> None:
    """Bearer and refresh token are both revoked as LOGOUT, with the reach asked for; ended sessions are summed."""
    world.peer.answers["Revoke"] = lambda request: RevokeResponse(
        ended_sessions=2 if request.access_token else 1
    )
    bearer = {"Authorization": "bearer  expired.token.x"}
    answer = await world.post("/api/v1/logout", {"refresh_token": "wxr1.r", "all": True}, headers=bearer)
    assert (answer.status, answer.json) == (200, {"ended_sessions": 3})
    first, second = world.peer.requests("Revoke")
    assert (first.access_token, second.refresh_token) == ("expired.token.x", "wxr1.r")
    for request in (first, second):
        assert request.scope == RevokeScope.REVOKE_SCOPE_ALL
        assert request.reason == SessionEndReason.SESSION_END_REASON_LOGOUT


async def test_logout_with_a_bearer_needs_no_body_and_without_any_token_is_refused(world: World) -> None:
    """An empty body is fine beside a Bearer token; neither token is 400."""
    bearer = {"Authorization": "Bearer t"}
    assert (await world.post("/api/v1/logout", b"", headers=bearer)).json == {"ended_sessions": 1}
    assert world.peer.requests("Revoke")[0].scope == RevokeScope.REVOKE_SCOPE_SESSION
    assert (await world.post("/api/v1/logout", {})).error["reason"] == "INVALID_FIELD"
    assert len(world.peer.seen) == 1


async def test_the_legacy_login_keeps_the_tutorial_shape(world: World) -> None:
    """`{"code"}` in, `{"openid","token"}` out, for the default app."""
    answer = await world.post("/api/login", {"code": "c", "app_id": "wx00000000000000d2"})
    assert answer.json == {"openid": "openid-1", "token": "access.token.text"}
    assert world.peer.requests("Login")[0].app_id == APP


@pytest.mark.parametrize("body", [b"", b"{}", b'{"code":""}', b'{"code":5}', b"[]", b"{", b'{"code":null}'])
async def test_the_legacy_login_names_the_missing_code(world: World, body: bytes) -> None:
    """Whatever is wrong with the body, the pinned text comes with 400, in every language."""
    answer = await world.post("/api/login", body, headers={"Accept-Language": "en"})
    assert (answer.status, answer.json) == (400, {"error": "缺少code参数"})


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("LOGIN_CODE_INVALID", 400), ("LOGIN_CODE_USED", 400), ("WECHAT_USER_BLOCKED", 400), ("USER_BLOCKED", 400),
        ("WECHAT_THROTTLED", 400), ("LOGIN_CODE_SPENT", 500), ("WECHAT_UNAVAILABLE", 500),
        ("WECHAT_MISCONFIGURED", 500), ("STORE_UNAVAILABLE", 500), ("UNKNOWN_APP", 500), ("INTERNAL", 500),
    ],
)  # fmt: skip
async def test_the_legacy_login_has_two_error_statuses(world: World, reason: str, status: int) -> None:
    """400 for what WeChat says of the code or user, 500 for what is on our side; the body is a text."""
    world.peer.answers["Login"] = refusal(reason)
    answer = await world.post("/api/login", {"code": "c"})
    assert answer.status == status
    assert isinstance(answer.error, str)


async def test_the_legacy_login_without_default_app_is_our_fault() -> None:
    """No default app is a configuration fault: 500, in the legacy shape."""
    async with running(EdgeSettings()) as world:
        answer = await world.post("/api/login", {"code": "c"})
        assert (answer.status, list(answer.json)) == (500, ["error"])
        assert isinstance(answer.error, str)


async def test_a_login_is_sent_once_whatever_comes_back(world: World) -> None:
    """No answer of the server makes the edge send a login a second time."""
    for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL):
        world.peer.answers["Login"] = Fault(code)
        world.peer.seen.clear()
        await world.post(LOGIN, {"code": "c"})
        assert len(world.peer.seen) == 1


async def test_a_hundred_parallel_requests_each_get_their_own_answer(world: World) -> None:
    """Parallel logins are not mixed up and none is lost or doubled."""
    world.peer.answers["Login"] = lambda request: LoginResponse(
        user_id=USER, session_id=SESSION, openid=f"of-{request.mini_program_code}", tokens=tokens()
    )
    answers = await asyncio.gather(*(world.post(LOGIN, {"code": f"c{n}"}) for n in range(100)))
    assert [answer.json["openid"] for answer in answers] == [f"of-c{n}" for n in range(100)]
    assert len(world.peer.seen) == 100


async def test_a_legacy_token_takes_the_place_of_a_code(world: World) -> None:
    """It travels as its own credential, for the default app too; with a code beside it nothing is sent."""
    answer = await world.post(LOGIN, {"legacy_token": "old.token.text", "code": None, "device_id": "dev"})
    assert answer.status == 200
    (request,) = world.peer.requests("Login")
    assert (request.WhichOneof("credential"), request.legacy_token) == ("legacy_token", "old.token.text")
    assert (request.app_id, request.client.device_id) == (APP, "dev")
    for body in ({"legacy_token": "a", "code": "b"}, {"legacy_token": ""}, {"legacy_token": 1, "code": "c"}):
        refused = await world.post(LOGIN, body)
        assert (refused.status, refused.json["error"]["reason"]) == (400, "INVALID_FIELD")
    assert len(world.peer.requests("Login")) == 1
