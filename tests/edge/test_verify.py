"""Forward-auth and the caller's own session."""

import pytest
from yarl import URL

from authapi.v1 import Inactive, InactiveReason, SessionEndReason, VerifyTokenResponse
from tests.edge.peer import APP, NOW, SESSION, USER, active, refusal
from tests.edge.wire import World

BEARER = {"Authorization": "Bearer a.b.c"}
REASONS = [value for name, value in InactiveReason.items()]
INSUFFICIENT = {"WRONG_AUDIENCE", "MISSING_SCOPE", "MISSING_ROLE"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_good_token_gives_headers_and_no_body(world: World, method: str) -> None:
    """200 carries user, session, app and scopes in headers; the body is empty."""
    answer = await world.ask(method, "/api/v1/verify", headers=BEARER)
    assert (answer.status, answer.body) == (200, b"")
    names = ("x-auth-user", "x-auth-session", "x-auth-app", "x-auth-scopes")
    assert [answer.headers[name] for name in names] == [USER, SESSION, APP, "orders profile"]


async def test_the_demand_of_the_query_is_passed_on(world: World) -> None:
    """Audience once; scopes and roles repeated, space separated, or both; other parameters are not read."""
    await world.verify("?audience=shop%26co&scope=a+b&scope=c%20%20d&role=r1&role=r2+r3&x=1&code=z")
    (request,) = world.peer.requests("VerifyToken")
    assert (request.access_token, request.audience) == ("a.b.c", "shop&co")
    assert (list(request.required_scopes), list(request.required_roles)) == (
        ["a", "b", "c", "d"],
        ["r1", "r2", "r3"],
    )


@pytest.mark.parametrize(
    "query",
    [
        "?audience=a&audience=b",
        "?audience=",
        "?audience&scope=a",
        "?audience=%ff",
        "?scope=%ed%a0%80",
        "?" + "&".join(["scope=a"] * 65),
    ],
)
async def test_an_unreadable_demand_is_refused_before_any_verdict(world: World, query: str) -> None:
    """
    Two audiences, an empty one (a gateway's variable that was never set), bytes that are no UTF-8, or a flood of
    parameters: 400, and the server is not asked.
    """
    async with world.http.get(
        URL(f"{world.url}/api/v1/verify{query}", encoded=True), headers=BEARER
    ) as response:
        assert (response.status, (await response.json())["error"]["reason"]) == (400, "INVALID_FIELD")
    assert world.peer.seen == []


@pytest.mark.parametrize("reason", [*REASONS, 99])
@pytest.mark.parametrize("path", ["/api/v1/verify", "/api/v1/session"])
async def test_only_the_coarse_reason_leaves_the_edge(world: World, reason: int, path: str) -> None:
    """Audience, scope and role are 403; every other reason, one nobody knows yet included, is the same 401."""
    world.peer.answers["VerifyToken"] = VerifyTokenResponse(
        inactive=Inactive(
            reason=reason,  # type: ignore[arg-type]
            session_end_reason=SessionEndReason.SESSION_END_REASON_BLOCKED,
        )
    )
    answer = await world.get(path, headers=BEARER)
    name = InactiveReason.Name(reason) if reason in REASONS else ""  # type: ignore[arg-type]
    insufficient = name.removeprefix("INACTIVE_REASON_") in INSUFFICIENT
    expected = (403, "TOKEN_INSUFFICIENT") if insufficient else (401, "TOKEN_INVALID")
    assert (answer.status, answer.error["reason"]) == expected
    assert set(answer.error) == {"code", "reason", "message", "request_id"}
    challenge = 'Bearer error="insufficient_scope"' if insufficient else 'Bearer error="invalid_token"'
    assert answer.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ([], "Bearer"),
        ([("Authorization", "Bearer ")], 'Bearer error="invalid_token"'),
        ([("Authorization", "Basic dTpw")], 'Bearer error="invalid_token"'),
        ([("Authorization", "Bearera.b.c")], 'Bearer error="invalid_token"'),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer b")], 'Bearer error="invalid_token"'),
    ],
)
async def test_without_a_readable_bearer_token_nobody_is_asked(
    world: World, headers: list[tuple[str, str]], challenge: str
) -> None:
    """A missing, empty, foreign or doubled Authorization is 401 and never reaches the server."""
    answer = await world.get("/api/v1/verify", headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, challenge)
    assert world.peer.seen == []


async def test_bytes_that_are_no_text_reach_the_server_as_a_bad_token(world: World) -> None:
    """A token with bytes beyond ASCII is the server's to judge, and breaks nothing on the way."""
    reply = await world.raw(
        b"GET /api/v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
    )
    assert reply.startswith(b"HTTP/1.1 200")
    assert world.peer.requests("VerifyToken")[0].access_token == "??"


async def test_what_a_gateway_says_of_its_request_is_ignored(world: World) -> None:
    """X-Original-*, X-Forwarded-* and X-WX-* change nothing and go nowhere."""
    headers = {
        **BEARER, "X-Original-URL": "/admin?scope=root", "X-Original-Method": "POST", "X-Forwarded-Uri": "/x",
        "X-WX-OPENID": "forged", "X-WX-SOURCE": "wx", "Cookie": "session=1",
    }  # fmt: skip
    answer = await world.get("/api/v1/verify", headers=headers)
    assert answer.status == 200
    (request,) = world.peer.requests("VerifyToken")
    assert list(request.required_scopes) == []
    (metadata,) = world.peer.metadata
    assert not {
        name for name in metadata if name.startswith(("x-wx", "x-original", "cookie", "authorization"))
    }
    assert "forged" not in str(metadata) + str(request)


async def test_an_answer_without_outcome_is_could_not_decide(world: World) -> None:
    """Neither active nor inactive (a newer server) is 503, never a verdict."""
    world.peer.answers["VerifyToken"] = VerifyTokenResponse()
    answer = await world.verify()
    assert (answer.status, answer.error["reason"], answer.headers["Retry-After"]) == (503, "NOT_FRESH", "1")


async def test_session_shows_the_session_and_the_claims(world: World) -> None:
    """Both calls are made with the caller's own token; instants are whole unix seconds."""
    world.peer.answers["VerifyToken"] = active(previous_user_ids=["old"], external_id="crm")
    answer = await world.get("/api/v1/session", headers=BEARER)
    assert answer.json == {
        "session": {
            "session_id": SESSION, "user_id": USER, "app_id": APP, "created_at": NOW, "last_refreshed_at": NOW + 60,
            "expires_at": NOW + 604800, "live": True, "ip": "203.0.113.7", "device_name": "phone",
        },
        "claims": {
            "user_id": USER, "session_id": SESSION, "app_id": APP, "scopes": ["orders", "profile"],
            "roles": ["buyer"], "audiences": [APP], "token_id": "CCCCCCCCCCCCCCCCCCCCCQ", "issued_at": NOW,
            "expires_at": NOW + 7200, "openid": "openid-1", "previous_user_ids": ["old"], "external_id": "crm",
        },
    }  # fmt: skip
    assert world.peer.requests("GetSession")[0].access_token == "a.b.c"


async def test_a_session_that_dies_between_the_two_calls_is_401(world: World) -> None:
    """GetSession's own TOKEN_INVALID is answered as the coarse one."""
    world.peer.answers["GetSession"] = refusal("TOKEN_INVALID")
    answer = await world.get("/api/v1/session", headers=BEARER)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
