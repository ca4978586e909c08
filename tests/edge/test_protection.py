"""What answers say to browsers: closed to other sites but those that are named, no matter what was asked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from authsvc.config import Environment
from authsvc.config.sections import EdgeSection
from authsvc.edge import EdgeSettings
from authsvc.edge.app import METHODS
from tests.edge.peer import refusal
from tests.edge.wire import SETTINGS, World, running

H5 = "https://h5.example.com"
LOGIN = "/api/v1/login"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
FOREIGN = [
    "https://evil.example", "null", "*", "http://h5.example.com", "https://h5.example.com:8443", "https://H5.example.com",
    "https://h5.example.com.evil.example", "https://evilh5.example.com", "https://h5.example.com/", "",
]  # fmt: skip


@pytest.fixture
async def h5() -> AsyncIterator[World]:
    async with running(replace(SETTINGS, origins=frozenset({H5, "http://localhost:5173"}))) as world:
        yield world


def _granted(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith("access-control-")}


async def test_a_named_origin_is_answered_its_preflight(h5: World) -> None:
    """Methods of the path, the headers our clients send, ten minutes; no credentials; nothing reaches the server."""
    answer = await h5.ask("OPTIONS", LOGIN, headers={"Origin": H5, **PREFLIGHT})

    assert (answer.status, answer.body) == (204, b"")
    assert _granted(answer.headers) == {
        "Access-Control-Allow-Origin": H5,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-Id, traceparent",
        "Access-Control-Expose-Headers": "X-Request-Id, Retry-After, WWW-Authenticate",
        "Access-Control-Max-Age": "600",
    }
    assert "Origin" in answer.headers.getall("Vary")
    assert h5.peer.seen == []


async def test_a_named_origin_reads_answers_and_errors(h5: World) -> None:
    """Success, a refusal of the server, a bad token and an unknown path alike, or an app could not tell them apart."""
    origin = {"Origin": H5}
    answers = [await h5.post(LOGIN, {"code": "c"}, headers=origin)]
    h5.peer.answers["Login"] = refusal("LOGIN_CODE_USED")
    answers.append(await h5.post(LOGIN, {"code": "c"}, headers=origin))
    answers.append(await h5.get("/api/v1/session", headers=origin))
    answers.append(await h5.get("/nowhere", headers=origin))

    assert [answer.status for answer in answers] == [200, 409, 401, 404]
    for answer in answers:
        assert answer.headers.getall("Access-Control-Allow-Origin") == [H5]
        assert answer.headers.getall("Vary") == ["Origin"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", FOREIGN)
async def test_any_other_origin_is_granted_nothing(h5: World, origin: str) -> None:
    """Near misses are other origins. Caches are told all the same that the answer depends on who asks."""
    preflight = await h5.ask("OPTIONS", LOGIN, headers={"Origin": origin, **PREFLIGHT})
    answer = await h5.get("/healthz", headers={"Origin": origin})

    assert (preflight.status, answer.status) == (405, 200)
    for each in (preflight, answer):
        assert _granted(each.headers) == {}
        assert each.headers.getall("Vary") == ["Origin"]


async def test_two_origins_are_none(h5: World) -> None:
    """Which of two counts is not guessed."""
    answer = await h5.ask("GET", "/healthz", headers=[("Origin", H5), ("Origin", "https://evil.example")])
    assert _granted(answer.headers) == {}


@pytest.mark.parametrize("asked", ["DELETE", "PUT", "*", "post", ""])
async def test_a_method_that_the_path_has_not_is_not_granted(h5: World, asked: str) -> None:
    """A preflight for another method is the 405 that it would be anyway."""
    answer = await h5.ask("OPTIONS", LOGIN, headers={"Origin": H5, "Access-Control-Request-Method": asked})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert "Access-Control-Allow-Methods" not in answer.headers


async def test_every_path_is_closed_by_default(world: World) -> None:
    """Without the setting no path grants any origin anything, preflight or not."""
    for path in [*world.app[METHODS], "/nowhere"]:
        for method in ("OPTIONS", "GET", "POST"):
            headers = {"Origin": "https://evil.example", **PREFLIGHT}
            answer = await world.ask(method, path, headers=headers)
            assert _granted(answer.headers) == {}


async def test_no_page_of_another_site_may_frame_or_script_any_answer(world: World) -> None:
    """Every path has a policy that allows nothing but what the documentation page needs of its own; none sets a cookie."""
    for path in [*world.app[METHODS], "/nowhere", "/api%2Fv1%2Flogin"]:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            answer = await world.ask(method, path, headers={"Cookie": "session=1"})
            (policy,) = answer.headers.getall("Content-Security-Policy")
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "Set-Cookie" not in answer.headers
            assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("junk", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"])  # fmt: skip
async def test_bytes_that_reach_no_route_are_answered_with_the_same_protection(junk: bytes) -> None:
    """Also what is written without the web framework has its policy, and HSTS where TLS is on."""
    async with running(replace(SETTINGS, is_https=True)) as world:
        head = (await world.raw(junk)).partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 4")
    assert "frame-ancestors 'none'" in head
    assert "Strict-Transport-Security: max-age=31536000" in head


async def test_over_tls_every_answer_asks_for_tls_from_now_on() -> None:
    """HSTS for a year, and for this name only: what lies below it is not ours to bind."""
    async with running(replace(SETTINGS, is_https=True)) as world:
        for path in ("/healthz", "/docs", "/nowhere"):
            answer = await world.get(path)
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api%2Fv1%2Flogin", 404), ("/api/v1%2flogin", 404), ("/%2Fapi/v1/login", 404), ("/api/v1/login/", 404),
        ("/api%2Flogin", 404), ("/api/v1/logi%6E", 200),
    ],
)  # fmt: skip
async def test_an_encoded_slash_is_no_slash(world: World, path: str, status: int) -> None:
    """What no route has is 404, and not 405 for looking like one; an encoded letter is that letter (RFC 3986, 6.2.2.2)."""
    reply = await world.raw(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nConnection: close\r\n\r\n".encode()
        + b'{"code":"c"}'
    )
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b'"reason":"NOT_FOUND"' in reply) == (status == 404)


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*.example.com", "null", "h5.example.com", "https://h5.example.com/", "https://H5.example.com",
     "https://h5.example.com:443", "http://h5.example.com:80", "https://", "https://a b", "ftp://h5.example.com", "https://[::1]:443"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(origin: str) -> None:
    """A wildcard, a path, another spelling: the setting is refused by name, and so are the edge's own settings."""
    (complaint,) = EdgeSection(http_origins=(origin,)).complaints(Environment.DEV)
    assert complaint.startswith("http_origins: ")
    with pytest.raises(ValueError, match="origins"):
        EdgeSettings(origins=frozenset({origin}))


def test_production_names_pages_over_tls_only() -> None:
    """A page in plain text is whoever carries it; a developer's own machine may have one."""
    section = EdgeSection(
        http_origins=("http://localhost:5173", "https://h5.example.com:8443", "https://[::1]")
    )
    assert [text.split()[1] for text in section.complaints(Environment.PROD)] == ["http://localhost:5173"]
    assert list(section.complaints(Environment.DEV)) == []
