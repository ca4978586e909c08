"""Headers: what every reply carries, ids that tie logs together, the Host check, and the client's address."""

import re
from dataclasses import replace

import pytest

from authsvc.edge import EdgeSettings
from tests.edge.peer import refusal
from tests.edge.wire import SETTINGS, World, running

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("method", "path", "cached"),
    [
        ("POST", "/api/v1/login", False), ("POST", "/api/v1/refresh", False), ("POST", "/api/v1/logout", False),
        ("GET", "/api/v1/session", False), ("GET", "/api/v1/verify", False), ("POST", "/api/login", False),
        ("GET", "/healthz", False), ("GET", "/readyz", False), ("GET", "/nowhere", False), ("PUT", "/docs", False),
        ("GET", "/.well-known/jwks.json", True), ("GET", "/openapi.json", True), ("GET", "/docs", True),
    ],
)  # fmt: skip
async def test_every_reply_carries_the_same_protection(
    world: World, method: str, path: str, cached: bool
) -> None:
    """No sniffing, no referrer, no caching but of public documents, no cookie, no word on what software answers."""
    answer = await world.ask(method, path, headers={"Cookie": "a=b", "Origin": "https://evil.example"})
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"].startswith("public, max-age=" if cached else "no-store")
    assert answer.headers["X-Request-Id"]
    names = {name.lower() for name in answer.headers}
    assert not names & {"server", "set-cookie", "access-control-allow-origin", "x-powered-by"}


async def test_a_safe_request_id_is_kept_and_reaches_the_server(world: World) -> None:
    """The caller's id and trace context go to the server, into the reply and into the report."""
    headers = {"X-Request-Id": "Abc-1.2_3", "traceparent": TRACE}
    world.peer.answers["RefreshToken"] = refusal("SESSION_ENDED")
    answer = await world.post("/api/v1/refresh", {"refresh_token": "r"}, headers=headers)
    (metadata,) = world.peer.metadata
    (call,) = world.observer.calls
    assert (metadata["x-request-id"], metadata["traceparent"]) == ("Abc-1.2_3", TRACE)
    assert answer.headers["X-Request-Id"] == answer.error["request_id"] == call.request_id == "Abc-1.2_3"
    assert call.trace_id == TRACE[3:35]


@pytest.mark.parametrize("unsafe", ["", "a" * 65, "a b", "a;b", "é", "-a", 'a"', "../x", "a\tb"])
async def test_an_unsafe_request_id_is_replaced(world: World, unsafe: str) -> None:
    """What could break a log line or a header is replaced by a fresh id."""
    answer = await world.get("/healthz", headers={"X-Request-Id": unsafe})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize(
    "broken",
    [
        "", TRACE.upper(), TRACE[:-1], "ff" + TRACE[2:], TRACE + "-x", f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)  # fmt: skip
async def test_a_broken_trace_context_is_replaced(world: World, broken: str) -> None:
    """A fresh, valid, unsampled context is sent to the server instead; two requests differ."""
    for _ in range(2):
        await world.get("/api/v1/verify", headers={"Authorization": "Bearer t", "traceparent": broken})
    first, second = (metadata["traceparent"] for metadata in world.peer.metadata)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", first)
    assert first != second


async def test_headers_cannot_be_injected_through_what_is_echoed(world: World) -> None:
    """Encoded line breaks in path, query and ids stay what they are: text that is not repeated."""
    for path in ("/%0d%0aX-Evil:1", "/api/v1/verify?audience=%0d%0aX-Evil:1", "/healthz?%0d%0aX-Evil:1"):
        reply = await world.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"Evil" not in reply


async def test_each_request_is_reported_once_by_its_template(world: World) -> None:
    """Method label, status and reason, never the raw path or query; unknown paths share one label."""
    await world.verify("?audience=secret")
    await world.ask("HEAD", "/healthz")
    await world.get("/secret/path?code=secret")
    await world.ask("PATCH", "/api/v1/login")
    world.peer.answers["Login"] = refusal("LOGIN_CODE_USED")
    await world.post("/api/v1/login", {"code": "secret"})
    reported = [(call.method, call.code, call.reason) for call in world.observer.calls]
    assert reported == [
        ("HTTP GET /api/v1/verify", "200", ""),
        ("HTTP HEAD /healthz", "200", ""),
        ("HTTP unmatched", "404", "NOT_FOUND"),
        ("HTTP unmatched", "405", "INVALID_FIELD"),
        ("HTTP POST /api/v1/login", "409", "LOGIN_CODE_USED"),
    ]
    assert "secret" not in repr(world.observer.calls).lower()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8080", 200), ("LOCALHOST:1", 200), ("[::1]:8080", 200), ("[::1]", 200),
        ("evil.example", 400), ("evil.example:8080", 400), ("localhost.evil.example", 400), ("", 400),
        ("[::2]", 400), ("127.0.0.1:evil.com", 400), ("[::1", 400), ("evil@127.0.0.1", 400), ("localhost@evil.example", 400), ("[evil", 400),
    ],
)  # fmt: skip
async def test_only_allowed_hosts_are_answered(host: str, status: int) -> None:
    """With a list of names, another Host (DNS rebinding) is refused on every path, before anything is done."""
    settings = replace(SETTINGS, allowed_hosts=frozenset({"127.0.0.1", "localhost", "::1"}))
    async with running(settings) as world:
        for path in ("/healthz", "/api/v1/verify", "/nowhere"):
            answer = await world.get(path, headers={"Host": host, "Authorization": "Bearer t"})
            expected = 404 if (path, status) == ("/nowhere", 200) else status
            assert answer.status == expected
        assert bool(world.peer.seen) == (status == 200)


async def test_two_host_headers_are_none() -> None:
    """Which of two Hosts counts is not guessed."""
    async with running(replace(SETTINGS, allowed_hosts=frozenset({"localhost"}))) as world:
        reply = await world.raw(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert reply.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ([], ["203.0.113.7"], "127.0.0.1"),
        (["10.0.0.0/8"], ["203.0.113.7"], "127.0.0.1"),
        (["127.0.0.0/8"], [], "127.0.0.1"),
        (["127.0.0.0/8"], ["203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8"], ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["6.6.6.6, 203.0.113.7, 10.0.0.2 ,10.0.0.1"], "203.0.113.7"),
        (["127.0.0.0/8"], ["6.6.6.6", "203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["1.1.1.1, junk, 10.0.0.1"], "10.0.0.1"),
        (["127.0.0.0/8"], ["203.0.113.7:55555"], "203.0.113.7"),
        (["127.0.0.0/8"], ["[2001:db8::1]:443"], "2001:db8::1"),
        (["127.0.0.0/8"], ["::ffff:203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8"], ["unknown"], "127.0.0.1"),
        (["127.0.0.0/8"], [""], "127.0.0.1"),
    ],
)
async def test_the_client_address_is_the_last_one_a_trusted_proxy_vouches_for(
    trusted: list[str], forwarded: list[str], expected: str
) -> None:
    """X-Forwarded-For counts only behind a trusted peer, and only from the right."""
    async with running(replace(SETTINGS, trusted_proxies=tuple(trusted))) as world:
        headers = [("X-Forwarded-For", value) for value in forwarded]
        headers += [
            ("X-Real-IP", "9.9.9.9"),
            ("Forwarded", "for=9.9.9.9"),
            ("Content-Type", "application/json"),
        ]
        answer = await world.ask("POST", "/api/v1/login", data=b'{"code":"c"}', headers=headers)
        assert answer.status == 200
        assert world.peer.requests("Login")[0].client.ip == expected


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"trusted_proxies": ("nonsense",)}, "trusted_proxies"), ({"language": "fr"}, "language"),
        ({"max_body": 0}, "max_body"), ({"keep_alive": SETTINGS.keep_alive * 0}, "keep_alive"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_by_name(more: dict[str, object], field: str) -> None:
    """A wrong value fails at start, not at the first request."""
    with pytest.raises(ValueError, match=field):
        EdgeSettings(**more)  # type: ignore[arg-type]


def test_a_half_sent_request_ends_within_fifteen_seconds_by_default() -> None:
    """The two reading deadlines, the watch's second and the closing's second together are the promise."""
    settings = EdgeSettings()
    assert (settings.header_deadline + settings.body_deadline).total_seconds() + 2 <= 15
