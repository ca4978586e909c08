"""Every way the server can fail, as JSON: status, reason, texts in both languages, and nothing else."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from authsvc.edge import EdgeSettings
from authsvc.status import BY_REASON
from tests.edge.peer import Fault, Peer, active, refusal
from tests.edge.wire import SETTINGS, World, running

REFRESH = ("/api/v1/refresh", {"refresh_token": "wxr1.r"})
LOGIN = ("/api/v1/login", {"code": "c"})
UNAVAILABLE = "STORE_UNAVAILABLE"


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("reason", sorted(BY_REASON))
async def test_every_row_of_the_table_leaves_as_it_stands_there(
    world: World, reason: str, language: str
) -> None:
    """Code, reason, HTTP status and text are the table's; the server's own text and metadata stay inside."""
    row = BY_REASON[reason]
    metadata = {"app_id": "wx-secret-app", "errcode": "40125", "what": "session"}
    world.peer.answers["RefreshToken"] = refusal(reason, metadata=metadata, fields={"secret": "x"})
    answer = await world.post(*REFRESH, headers={"Accept-Language": language, "X-Request-Id": "req-1"})
    expected = {"code": row.code.name, "reason": reason, "message": row.text(language), "request_id": "req-1"}
    if reason == "INVALID_FIELD":
        expected["fields"] = {"secret": "x"}  # type: ignore[assignment]
    assert (answer.status, answer.json) == (row.http, {"error": expected})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    challenged = row.http == 401 or reason == "TOKEN_INSUFFICIENT"
    assert ("WWW-Authenticate" in answer.headers) == challenged


@pytest.mark.parametrize(("delay", "header"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (90, "90")])
async def test_retry_info_becomes_whole_seconds(world: World, delay: float, header: str) -> None:
    """Retry-After is rounded up and at least 1."""
    world.peer.answers["RefreshToken"] = refusal("RATE_LIMITED", retry_after=timedelta(seconds=delay))
    assert (await world.post(*REFRESH)).headers["Retry-After"] == header


@pytest.mark.parametrize(
    "reason", ["STORE_UNAVAILABLE", "NOT_FRESH", "WECHAT_UNAVAILABLE", "WECHAT_THROTTLED"]
)
async def test_rows_that_ask_to_wait_always_say_how_long(world: World, reason: str) -> None:
    """A server that forgot RetryInfo does not cost the client its Retry-After."""
    world.peer.answers["Login"] = refusal(reason)
    assert (await world.post(*LOGIN)).headers["Retry-After"] == "1"


async def test_session_ended_says_how(world: World) -> None:
    """end_reason decides between a silent login and a tap, so it leaves the edge; junk in its place does not."""
    world.peer.answers["RefreshToken"] = refusal("SESSION_ENDED", metadata={"end_reason": "REFRESH_STALE"})
    assert (await world.post(*REFRESH)).error["end_reason"] == "REFRESH_STALE"
    world.peer.answers["RefreshToken"] = refusal("SESSION_ENDED", metadata={"end_reason": "<script>"})
    assert "end_reason" not in (await world.post(*REFRESH)).error


async def test_field_violations_use_the_names_of_the_json(world: World) -> None:
    """The server speaks of protobuf paths, the reply of what the client sent."""
    world.peer.answers["Login"] = refusal(
        "INVALID_FIELD",
        fields={"mini_program_code": "too long", "client.device_id": "bad", "app_id": "empty"},
    )
    fields = (await world.post(*LOGIN)).error["fields"]
    assert fields == {"code": "too long", "device_id": "bad", "app_id": "empty"}


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, 403, "PERMISSION_DENIED"),
        (grpc.StatusCode.UNAVAILABLE, 503, "UNAVAILABLE"),
        (grpc.StatusCode.FAILED_PRECONDITION, 400, "FAILED_PRECONDITION"),
        (grpc.StatusCode.DATA_LOSS, 500, "DATA_LOSS"),
    ],
)
async def test_a_reason_of_a_newer_server_is_handled_by_its_code(
    world: World, code: grpc.StatusCode, status: int, name: str
) -> None:
    """An unknown reason keeps its name for newer clients and takes status and text from its gRPC code."""
    world.peer.answers["RefreshToken"] = refusal("LUNAR_ECLIPSE", code=code)
    answer = await world.post(*REFRESH)
    assert (answer.status, answer.error["reason"], answer.error["code"]) == (status, "LUNAR_ECLIPSE", name)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, 503, UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 503, UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, 503, UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 503, UNAVAILABLE),
        (grpc.StatusCode.UNIMPLEMENTED, 500, "INTERNAL"),
        (grpc.StatusCode.UNAUTHENTICATED, 500, "INTERNAL"),
        (grpc.StatusCode.PERMISSION_DENIED, 500, "INTERNAL"),
        (grpc.StatusCode.UNKNOWN, 500, "INTERNAL"),
    ],
)
async def test_a_status_without_our_error_info_is_never_a_verdict(
    world: World, code: grpc.StatusCode, status: int, reason: str
) -> None:
    """Statuses made by a library, a proxy or a foreign service become "cannot know" or a fault of ours."""
    foreign = refusal("TOKEN_INVALID", code=code, domain="elsewhere")
    for fault in (Fault(code), Fault(code, b"\xff no status"), foreign):
        world.peer.answers = {"RefreshToken": fault, "VerifyToken": fault}
        for answer in (await world.post(*REFRESH), await world.verify()):
            assert (answer.status, answer.error["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, 409, "LOGIN_CODE_SPENT"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 409, "LOGIN_CODE_SPENT"),
        (grpc.StatusCode.CANCELLED, 409, "LOGIN_CODE_SPENT"),
        (grpc.StatusCode.UNKNOWN, 409, "LOGIN_CODE_SPENT"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "RATE_LIMITED"),
        (grpc.StatusCode.UNIMPLEMENTED, 500, "INTERNAL"),
    ],
)
async def test_a_login_whose_answer_is_lost_asks_for_a_new_code(
    world: World, code: grpc.StatusCode, status: int, reason: str
) -> None:
    """Once handed over, a login without a typed answer is never said to be safe to repeat."""
    world.peer.answers["Login"] = Fault(code)
    answer = await world.post(*LOGIN)
    assert (answer.status, answer.error["reason"]) == (status, reason)


async def test_a_login_cut_by_its_deadline_or_its_connection_asks_for_a_new_code() -> None:
    """A server that read the login and then hangs, or dies, leaves the outcome unknown: 409."""
    settings = EdgeSettings(default_app="wx", login_deadline=timedelta(milliseconds=150))
    async with running(settings) as world:
        world.peer.answers["Login"] = _hang
        assert (await world.post(*LOGIN)).error["reason"] == "LOGIN_CODE_SPENT"
    async with running() as world:
        world.peer.answers["Login"] = _hang
        pending = asyncio.ensure_future(world.post(*LOGIN))
        while not world.peer.seen:
            assert not pending.done()
            await asyncio.wait({pending}, timeout=0.01)
        await world.peer.stop()
        assert (await pending).error["reason"] == "LOGIN_CODE_SPENT"
        assert len(world.peer.seen) == 1


async def test_a_login_that_found_no_server_may_be_repeated() -> None:
    """Without a connection nothing was handed over: 503, and the same code works once the server is there."""
    peer = Peer()
    target = await peer.start()
    await peer.stop()
    settings = EdgeSettings(default_app="wx", connect_deadline=timedelta(milliseconds=100))
    async with running(settings, target=target) as world:
        answers = await asyncio.gather(*(world.post(*LOGIN) for _ in range(5)))
        assert {(a.status, a.error["reason"], a.headers["Retry-After"]) for a in answers} == {
            (503, UNAVAILABLE, "1")
        }
        assert (await world.post(*REFRESH)).status == 503
        assert (await world.verify()).status == 503
        await peer.start()
        try:
            answer = await world.post(*LOGIN)
            while answer.status == 503:  # the channel's own back-off, at most a few seconds
                answer = await world.post(*LOGIN)
            assert (answer.status, len(peer.seen)) == (200, 1)
        finally:
            await peer.stop()


async def test_a_surprise_shows_nothing_of_itself(world: World) -> None:
    """An answer the edge cannot render is 500 with the fixed text; the log names class and place, never the text."""
    poisoned = active()
    poisoned.active.scopes.append("evil\r\nx-auth-user: root")
    world.peer.answers["VerifyToken"] = poisoned
    answer = await world.verify()
    assert (answer.status, answer.error["message"]) == (500, BY_REASON["INTERNAL"].zh)
    assert "x-auth-user" not in answer.headers
    assert "evil" not in repr(world.observer.calls)


async def test_the_edge_refused_as_a_caller_is_no_verdict_about_the_user(world: World) -> None:
    """At /verify and /session 401 and 403 speak of the token, so CALLER_* is 500 there."""
    for reason in ("CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN"):
        world.peer.answers = {"VerifyToken": refusal(reason)}
        for path in ("/api/v1/verify", "/api/v1/session"):
            answer = await world.get(path, headers={"Authorization": "Bearer t"})
            assert (answer.status, answer.error["reason"]) == (500, "INTERNAL")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"), ("en", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("zh;q=0.1, EN;q=0.2", "en"), ("fr,de;q=0.5", "zh"), ("fr, en;q=0.1", "en"), ("en;q=0", "zh"),
        ("en;q=nan", "zh"), ("en;q=7", "zh"), ("x" * 300 + ",en", "zh"), (",;,=;q=", "zh"), ("zh-Hant-TW", "zh"),
    ],
)  # fmt: skip
async def test_the_language_follows_accept_language(world: World, header: str, language: str) -> None:
    """The heavier of the two languages wins; anything unreadable means the default."""
    answer = await world.get("/nowhere", headers={"Accept-Language": header} if header else {})
    assert answer.error["message"] == BY_REASON["NOT_FOUND"].text(language)


async def test_the_default_language_is_a_setting() -> None:
    """Without a preference the configured language is used."""
    async with running(replace(SETTINGS, language="en")) as world:
        assert (await world.get("/nowhere")).error["message"] == BY_REASON["NOT_FOUND"].en


def _hang(_: object) -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
