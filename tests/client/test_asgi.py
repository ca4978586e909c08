"""What is ASGI's own: WebSockets, lifespan, mounted applications, spoofed scopes, answers that have begun."""

from typing import Any

import pytest

from authsvc_client import AuthMiddleware, Cause, Refused, current, current_or_none, require
from authsvc_client.testing import FakeVerifier
from tests.client.conftest import AUDIENCE

GOOD = [(b"authorization", b"Bearer good")]


@pytest.fixture
def fake() -> FakeVerifier:
    verifier = FakeVerifier(audience=AUDIENCE)
    verifier.accept("good", scopes=["read"])
    return verifier


async def drive(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the application over what is *received*; return what it sent."""
    sent: list[dict[str, Any]] = []
    incoming = iter(received)

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def send(event: Any) -> None:
        sent.append(event)

    await app({"headers": [], "path": "/", **scope}, receive, send)
    return sent


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket that says who is there, and asks for more on demand."""
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/early":
        require(scope, scopes=["write"])
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": current().user_id})
    if scope["path"] == "/late":
        require(scope, scopes=["write"])
    await send({"type": "websocket.close"})
    if scope["path"] == "/closed":
        require(scope, scopes=["write"])


CONNECT = {"type": "websocket.connect"}


async def test_a_websocket_with_a_good_token_opens(fake: FakeVerifier) -> None:
    """
    The header of the handshake is what counts; the claims are there for as long as the socket is.
    """
    sent = await drive(AuthMiddleware(echo, verifier=fake), {"type": "websocket", "headers": GOOD}, CONNECT)
    assert [event["type"] for event in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[1]["text"] == "alice"


@pytest.mark.parametrize(("cause", "status", "code"), [(None, 401, 3000), (Cause.STALE, 503, 1013)])
async def test_a_websocket_is_refused_before_it_opens(
    fake: FakeVerifier, cause: Cause | None, status: int, code: int
) -> None:
    """
    With an HTTP answer where the server can send one, else by closing the handshake.
    """
    fake.cause = cause
    app = AuthMiddleware(echo, verifier=fake)
    scope = {"type": "websocket", "headers": [(b"authorization", b"Bearer bad")]}
    plain = await drive(app, scope, CONNECT)
    assert [(event["type"], event["code"]) for event in plain] == [("websocket.close", code)]
    start, body = await drive(app, {**scope, "extensions": {"websocket.http.response": {}}}, CONNECT)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert (body["type"], b'"request_id"' in body["body"]) == ("websocket.http.response.body", True)
    assert (b"content-type", b"application/json; charset=utf-8") in start["headers"]


async def test_a_socket_that_asks_for_more(fake: FakeVerifier) -> None:
    """
    Refused before it is accepted, closed with 3003 afterwards; once closed there is nobody to tell.
    """
    app = AuthMiddleware(echo, verifier=fake)
    scope: dict[str, Any] = {"type": "websocket", "headers": GOOD}
    early = await drive(app, {**scope, "path": "/early"}, CONNECT)
    assert [(event["type"], event["code"]) for event in early] == [("websocket.close", 3003)]
    late = await drive(app, {**scope, "path": "/late"}, CONNECT)
    assert (late[-1]["type"], late[-1]["code"]) == ("websocket.close", 3003)
    with pytest.raises(Refused):
        await drive(app, {**scope, "path": "/closed"}, CONNECT)


async def test_lifespan_passes_untouched(fake: FakeVerifier) -> None:
    """
    Neither judged nor changed.
    """
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], "authsvc" in scope, await receive()))

    await drive(AuthMiddleware(app, verifier=fake), {"type": "lifespan"}, {"type": "lifespan.startup"})
    assert seen == [("lifespan", False, {"type": "lifespan.startup"})]
    assert fake.asked == []


async def test_a_mounted_application_knows_its_own_paths(fake: FakeVerifier) -> None:
    """
    `root_path` is not part of the names in the rules; a path that only looks like it is.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    guarded = AuthMiddleware(app, verifier=fake, public=["/open"])
    statuses = {
        path: (await drive(guarded, {"type": "http", "path": path, "root_path": "/api"}))[0]["status"]
        for path in ("/api/open", "/api/open/x", "/api/other", "/open", "/apiopen", "/api")
    }
    assert statuses == {
        "/api/open": 204,
        "/api/open/x": 204,
        "/api/other": 401,
        "/open": 204,
        "/apiopen": 401,
        "/api": 401,
    }


async def test_the_scope_of_another_is_not_believed(fake: FakeVerifier) -> None:
    """
    On a public path nobody is there, whatever the scope came with; the caller's own scope stays as it was.
    """
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["authsvc"], current_or_none()))

    forged: dict[str, Any] = {"type": "http", "path": "/open", "authsvc": fake.accept("x", user_id="root")}
    await drive(AuthMiddleware(app, verifier=fake, public=["/open"]), forged)
    assert seen == [(None, None)]
    assert forged["authsvc"].user_id == "root"


async def test_an_answer_that_has_begun_is_not_answered_again(fake: FakeVerifier) -> None:
    """
    A demand that comes too late is the application's mistake: the exception goes on, and nothing more is sent.
    """
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        require(scope, scopes=["write"])

    async def send(event: Any) -> None:
        sent.append(event)

    guarded: Any = AuthMiddleware(app, verifier=fake)
    with pytest.raises(Refused):
        await guarded(
            {"type": "http", "path": "/", "headers": GOOD},
            None,
            send,
        )
    assert len(sent) == 1
    assert current_or_none() is None
