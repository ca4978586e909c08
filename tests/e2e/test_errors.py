"""CONTRACT.md's table of reasons, produced end to end: status, reason and the message in both languages."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from authapi.v1 import ErrorReason, revocation_service_pb2, session_service_pb2
from authapi.v1 import auth_service_pb2 as pb
from authapi.v1.revocation_service_pb2_grpc import RevocationServiceStub
from authsvc.status import BY_REASON
from tests.e2e.rows import LANGUAGES, assert_row
from tests.e2e.running import Running, dev
from tests.e2e.serving import Policy, serve_with_edge
from tests.e2e.wire import D1, D2, D3, Answer, Service, http_call, refusal

# Every errcode of facts page 1.3, and what CONTRACT.md makes of it.
ERRCODES = {
    -1: (409, "LOGIN_CODE_SPENT"),
    40029: (400, "LOGIN_CODE_INVALID"),
    41008: (400, "LOGIN_CODE_INVALID"),
    42003: (400, "LOGIN_CODE_INVALID"),
    40163: (409, "LOGIN_CODE_USED"),
    40226: (403, "WECHAT_USER_BLOCKED"),
    45011: (429, "WECHAT_THROTTLED"),
    45009: (429, "WECHAT_THROTTLED"),
    40013: (503, "WECHAT_MISCONFIGURED"),
    40125: (503, "WECHAT_MISCONFIGURED"),
    40243: (503, "WECHAT_MISCONFIGURED"),
    40001: (503, "WECHAT_MISCONFIGURED"),
    40002: (503, "WECHAT_MISCONFIGURED"),
    41002: (503, "WECHAT_MISCONFIGURED"),
    41004: (503, "WECHAT_MISCONFIGURED"),
    43001: (503, "WECHAT_MISCONFIGURED"),
    43002: (503, "WECHAT_MISCONFIGURED"),
    40164: (503, "WECHAT_MISCONFIGURED"),
    48001: (503, "WECHAT_MISCONFIGURED"),
    50002: (503, "WECHAT_MISCONFIGURED"),
    50004: (503, "WECHAT_MISCONFIGURED"),
    50007: (503, "WECHAT_MISCONFIGURED"),
    61007: (500, "INTERNAL"),  # one that no table knows
}
# What these RPCs produce here or in test_outage; and the rows of capabilities that come later.
PRODUCED = frozenset(
    {reason for _, reason in ERRCODES.values()}
    | {"INVALID_FIELD", "UNKNOWN_APP", "APP_DISABLED", "USER_BLOCKED", "WECHAT_UNAVAILABLE", "NOT_FOUND"}
    | {"REFRESH_TOKEN_INVALID", "SESSION_ENDED", "TOKEN_INVALID", "TOKEN_INSUFFICIENT", "CALLER_FORBIDDEN"}
    | {"CURSOR_EXPIRED", "STORE_UNAVAILABLE", "NOT_FRESH"}
)
ELSEWHERE = frozenset(
    {
        "WATCHER_TOO_SLOW",  # needs a reader that stops reading: tests/rpc
        "RATE_LIMITED",  # test_limits.py
        "PHONE_CODE_INVALID", "SESSION_KEY_STALE", "USER_DATA_INVALID",  # test_wechat.py
        "EXTERNAL_ID_TAKEN", "MERGE_IMPOSSIBLE",  # of operators' calls: tests/rpc/test_reasons.py
    }
)  # fmt: skip
LATER = frozenset({"CALLER_UNAUTHENTICATED"})


def test_every_reason_is_produced_or_listed_as_a_later_capability() -> None:
    """
    The enum is the union of what tests produce and of what is listed; a new reason needs a place.
    """
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum wrapper

    assert names == PRODUCED | ELSEWHERE | LATER
    assert not PRODUCED & LATER
    assert not PRODUCED & ELSEWHERE


@pytest.mark.parametrize("errcode", ERRCODES)
def test_every_errcode_of_wechat_becomes_its_row(service: Service, errcode: int) -> None:
    """
    Status and reason per errcode in both languages, the same over gRPC; the code was sent once each time.
    """
    status, reason = ERRCODES[errcode]
    for language, accept in LANGUAGES.items():
        code = service.mint("errors", fault=f"errcode;{errcode}")
        answer = service.try_login(code, headers={"Accept-Language": accept})
        assert answer.status == status
        assert_row(answer, reason, language)
        assert service.arrived(code) == 1
        assert str(errcode).lstrip("-") not in answer.json["error"]["message"]
    code = service.mint("errors", fault=f"errcode;{errcode}")
    with pytest.raises(grpc.RpcError) as caught:
        service.auth.Login(pb.LoginRequest(app_id=D1, mini_program_code=code), timeout=30)
    refused = refusal(caught.value)
    assert (refused.code, refused.reason) == (BY_REASON[reason].code.name, reason)
    assert (refused.retry_s is not None) == (status == 429)
    service.login("errors")  # and the next one logs in


@pytest.mark.parametrize(
    "fault", ["http;502", "http-consumed;500", "empty-body", "truncated", "array", "missing-session-key", "empty-openid"]
)  # fmt: skip
def test_an_unreadable_answer_spends_the_code(service: Service, fault: str) -> None:
    """
    5xx, an empty or non-JSON body, a session without its parts: sent, so the caller is told to get a new code.
    """
    code = service.mint("unreadable", fault=fault)
    assert_row(service.try_login(code), "LOGIN_CODE_SPENT", "zh")
    assert service.arrived(code) == 1
    service.login("unreadable")


@pytest.mark.parametrize("fault", ["errcode-zero", "old-expires-in", "bom", "delay;0.1"])
def test_an_odd_but_readable_success_logs_in(service: Service, fault: str) -> None:
    """
    Errcode 0 beside the session, a field of old, a byte order mark, a slow answer: all are logins.
    """
    assert service.try_login(service.mint("odd", fault=fault)).status == 200


def test_a_user_whom_wechat_blocks_is_told_so(service: Service) -> None:
    """
    40226 by the sandbox's own risk control is WECHAT_USER_BLOCKED.
    """
    code = service.mint("risky")
    url = f"{service.sandbox}/sandbox/v1/users/{D1}/risky"
    assert http_call("PUT", url, {"blocked": True}).status == 200
    assert_row(service.try_login(code), "WECHAT_USER_BLOCKED", "zh")


def test_a_blocked_user_is_refused_for_it(shared: tuple[Running, Service]) -> None:
    """
    The blocked state (set in the record here: its RPC comes later) refuses logins, in both languages.
    """
    process, service = shared
    user_id = service.login("blocked")["user_id"]
    with closing(sqlite3.connect(process.folder / "data/authsvc.db")) as connection, connection:
        changed = connection.execute("UPDATE users SET blocked_at = 1 WHERE user_id = ?", (user_id,))
        assert changed.rowcount == 1
    for language, accept in LANGUAGES.items():
        answer = service.try_login(service.mint("blocked"), headers={"Accept-Language": accept})
        assert_row(answer, "USER_BLOCKED", language)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wechat: str) -> Iterator[Service]:
    """Here d2 is switched off, d3's WeChat cannot be reached, and callers may only be edge and verifier."""
    policy: Policy = {D2: {"enabled": False}, D3: {"wechat_url": "http://127.0.0.1:1"}}
    folder = tmp_path_factory.mktemp("errors")
    with serve_with_edge(folder, "--local-roles", "edge,verifier", wechat=wechat, policy=policy) as (
        _,
        service,
    ):
        yield service


@pytest.mark.parametrize("language", LANGUAGES)
def test_rows_of_the_edge(site: Service, language: str) -> None:
    """
    The rows that need no fault of WeChat's, each by the request that earns it.
    """
    ended = site.login("ended")
    site.logout(ended["access_token"])
    live = site.login("live")
    junk = ended["refresh_token"][:-8] + "AAAAAAAA"
    accept = {"Accept-Language": LANGUAGES[language]}
    bearer = {**accept, "Authorization": f"Bearer {live['access_token']}"}
    dead = {**accept, "Authorization": f"Bearer {ended['access_token']}"}

    def login(app_id: str) -> Answer:
        return site.post("/api/v1/login", {"app_id": app_id, "code": f"code-{language}"}, headers=accept)

    def refresh(token: str) -> Answer:
        return site.post("/api/v1/refresh", {"refresh_token": token}, headers=accept)

    rows = [
        ("INVALID_FIELD", site.post("/api/v1/login", {"code": 7}, headers=accept)),
        ("UNKNOWN_APP", login("wx1111111111111111")),
        ("APP_DISABLED", login(D2)),
        ("WECHAT_UNAVAILABLE", login(D3)),
        ("WECHAT_UNAVAILABLE", login(D3)),  # the claim was given back: the same code is not called used
        ("REFRESH_TOKEN_INVALID", refresh(junk)),
        ("REFRESH_TOKEN_INVALID", refresh("no token at all")),
        ("SESSION_ENDED", refresh(ended["refresh_token"])),
        ("TOKEN_INVALID", site.get("/api/v1/verify", headers=dead)),
        ("TOKEN_INVALID", site.get("/api/v1/session", headers=dead)),
        ("TOKEN_INVALID", site.get("/api/v1/verify", headers=accept)),
        ("TOKEN_INSUFFICIENT", site.get("/api/v1/verify?audience=other", headers=bearer)),
        ("TOKEN_INSUFFICIENT", site.get("/api/v1/verify?scope=admin", headers=bearer)),
        ("TOKEN_INSUFFICIENT", site.get("/api/v1/verify?role=admin", headers=bearer)),
        ("NOT_FOUND", site.get("/api/v1/nothing", headers=accept)),
    ]
    for reason, answer in rows:
        assert_row(answer, reason, language)


def test_the_legacy_login_speaks_the_tutorials_shape(site: Service) -> None:
    """
    `POST /api/login`: openid and token; 400 with a text for a missing or refused code. A code in the URL is not read.
    """
    good = site.post("/api/login", {"code": site.mint("legacy")})
    code = site.mint("legacy")
    unread = site.post(f"/api/login?code={code}", {})

    assert set(good.json) == {"openid", "token"}
    assert site.verdict(good.json["token"]) == "active"
    assert (unread.status, unread.json) == (400, {"error": "缺少code参数"})
    assert site.arrived(code) == 0
    refused = site.post("/api/login", {"code": "never-minted"})
    assert (refused.status, set(refused.json)) == (400, {"error"})
    assert isinstance(refused.json["error"], str)


def test_rows_of_the_contract_that_only_grpc_callers_see(site: Service, service: Service) -> None:
    """
    A role that is not granted, and a session that is not there.
    """
    with pytest.raises(grpc.RpcError) as caught:
        site.sessions.ListSessions(session_service_pb2.ListSessionsRequest(), timeout=30)
    forbidden = refusal(caught.value)
    with pytest.raises(grpc.RpcError) as caught:
        service.sessions.GetSession(session_service_pb2.GetSessionRequest(session_id="A" * 22), timeout=30)
    missing = refusal(caught.value)

    assert (forbidden.code, forbidden.reason) == ("PERMISSION_DENIED", "CALLER_FORBIDDEN")
    assert (missing.code, missing.reason) == ("NOT_FOUND", "NOT_FOUND")


def test_after_the_record_was_lost_old_cursors_and_refresh_tokens_say_so(tmp_path: Path) -> None:
    """
    Same keys, empty database: an old cursor is CURSOR_EXPIRED, an old refresh token ends as store restored, and
    nobody is called a thief.
    """
    with dev(tmp_path) as (process, service):
        login = service.login()
        cursor = service.revoke(session_id=service.login("bob")["session_id"]).cursor
        process.stop()
    for file in (tmp_path / "data").glob("authsvc.db*"):
        file.unlink()
    with dev(tmp_path) as (_, service):
        watches = RevocationServiceStub(service.channel)
        request = revocation_service_pb2.WatchRevocationsRequest(resume_from=cursor)
        with pytest.raises(grpc.RpcError) as caught:
            list(watches.WatchRevocations(request, timeout=30))
        expired = refusal(caught.value)
        refused = service.refresh(login["refresh_token"])

    assert (expired.code, expired.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
    assert_row(refused, "SESSION_ENDED", "zh")
    assert refused.json["error"]["end_reason"] == "STORE_RESTORED"
