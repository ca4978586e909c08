"""Logins for which there is no place: answered from their bytes, as the handlers would answer, and nothing else is."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from authsvc.edge.app import TURNING_AWAY
from tests.edge.wire import Answer, World, a_moment

LOGIN = {"code": "c", "app_id": "wx00000000000000d1"}
BODY = b'{"code":"c"}'


def fill(world: World) -> None:
    """Let nobody in any more."""
    world.app[TURNING_AWAY].backpressure.room.places = 0


def request(path: str = "/api/v1/login", *fields: str, body: bytes = BODY) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def shape(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without its ids and its date."""
    headers = {name.title(): value for name, value in answer.headers.items()}
    own_id = headers["X-Request-Id"]
    del headers["Date"]
    headers["X-Request-Id"] = "ID"
    return answer.status, headers, answer.body.replace(own_id.encode(), b"ID")


@pytest.mark.parametrize("path", ["/api/v1/login", "/api/login"])
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_it_says_what_the_handler_would_say(world: World, path: str, language: str) -> None:
    """
    Same status, headers and body, whether the bytes are plain or come in a way that only a handler can read (chunks).
    """
    fill(world)
    headers = {"Accept-Language": language, "X-Request-Id": "my-id"}
    early = await world.post(path, LOGIN, headers=headers)

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"code":"c"}'

    late = await world.ask("POST", path, data=chunks(), headers=headers)
    assert shape(early) == shape(late)
    assert early.headers["X-Request-Id"] == "my-id"
    assert [call.reason for call in world.observer.calls] == ["RATE_LIMITED", "RATE_LIMITED"]
    assert [call.method for call in world.observer.calls] == [f"HTTP POST {path}"] * 2
    # Only a handler makes a trace: the first was answered before there was one.
    assert [bool(call.trace_id) for call in world.observer.calls] == [False, True]
    assert not world.peer.seen


async def test_nothing_else_is_turned_away(world: World) -> None:
    """
    A refresh, a page and health are served on the same connection while logins are not.
    """
    fill(world)
    statuses = []
    for method, path in (
        ("POST", "/api/v1/login"),
        ("GET", "/healthz"),
        ("POST", "/api/v1/login"),
        ("GET", "/openapi.json"),
    ):
        statuses.append((await world.ask(method, path, data=BODY if method == "POST" else None)).status)
    assert statuses == [429, 200, 429, 200]


async def test_requests_one_behind_the_other_are_answered_in_their_order(world: World) -> None:
    """
    However they are cut into segments, each gets one answer, and none is answered before the one ahead of it.
    """
    fill(world)
    page = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for parts in (
        [page, request(), page, request(), last],
        [request(), request(), page, last],
        [request(), page, request(), request(), last],
    ):
        expected = [429 if part.startswith(b"POST") else 200 for part in parts]
        received = await world.raw(b"".join(parts))
        assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", received)] == expected


async def test_a_body_may_come_later(world: World) -> None:
    """
    The answer waits for it, in as many pieces as it comes, and the next request begins behind it.
    """
    fill(world)
    whole = request(body=b"x" * 50)
    reader, writer = await asyncio.open_connection(*world.address)
    for at in (slice(0, -30), slice(-30, -10), slice(-10, None)):
        writer.write(whole[at])
        await a_moment()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
    writer.write(request())
    assert b"HTTP/1.1 429 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_places_that_were_kept_are_given_back(world: World) -> None:
    """
    Whether the login reaches its handler, is no JSON, or its caller leaves before its body is there.
    """
    backpressure = world.app[TURNING_AWAY].backpressure
    await world.post("/api/v1/login", b"no json")
    await world.post("/api/v1/login", LOGIN)
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(request()[:-3])
    await a_moment()
    writer.close()
    del reader
    while backpressure.expected:
        await a_moment()
    assert backpressure.count() == 0
