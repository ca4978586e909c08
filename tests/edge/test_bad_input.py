"""Requests that are wrong: each gets its documented error, in the one shape, and the edge goes on."""

import asyncio
import gzip
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from tests.edge.wire import SETTINGS, World, running

LOGIN = "/api/v1/login"
HEAD = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"text"', b"5", b"{", b"{}}", b"{'code':'c'}", b'{"code":"\xff"}', b"\xff\xfe{}",
        b'{"code":NaN}', b'{"code":"\\ud800"}', b"[" * 5000, b'{"a":' * 5000, b"code=c&app_id=a", b"\x00",
        b"\xef\xbb\xbf\xef\xbb\xbf{}", '{"code":"c"}'.encode("utf-16"), b'{"code":1e999}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [LOGIN, "/api/v1/refresh", "/api/v1/logout"])
async def test_a_body_that_is_no_json_object_is_invalid_field(world: World, path: str, body: bytes) -> None:
    """400 INVALID_FIELD with the fields at fault, and the server is not asked."""
    answer = await world.post(path, body)
    assert (answer.status, answer.error["reason"]) == (400, "INVALID_FIELD")
    assert answer.error["fields"]
    assert world.peer.seen == []


@pytest.mark.parametrize("wrong", [1, 1.5, True, [], {}, ["c"]])
@pytest.mark.parametrize("field", ["code", "app_id", "device_id", "device_name", "phone_code"])
async def test_a_field_of_the_wrong_type_is_named(world: World, field: str, wrong: object) -> None:
    """Numbers are not coerced to text: the field is named instead."""
    answer = await world.post(LOGIN, {"code": "c", field: wrong})
    assert (answer.status, answer.error["fields"]) == (400, {field: "must be a string"})
    assert world.peer.seen == []


@pytest.mark.parametrize("wrong", [1, "true", []])
async def test_all_is_a_boolean(world: World, wrong: object) -> None:
    """A logout everywhere happens only where it was asked for without doubt."""
    answer = await world.post("/api/v1/logout", {"refresh_token": "r", "all": wrong})
    assert answer.error["fields"] == {"all": "must be true or false"}
    assert world.peer.seen == []


async def test_device_fields_are_bounded_in_characters(world: World) -> None:
    """128 characters of any script pass, 129 do not."""
    assert (await world.post(LOGIN, {"code": "c", "device_name": "机" * 128})).status == 200
    answer = await world.post(LOGIN, {"code": "c", "device_name": "机" * 129})
    assert (answer.status, list(answer.error["fields"])) == (400, ["device_name"])


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"code":"c"}',
        b'{"code":"x","code":"c"}',
        b'{"code":"c","later":{"a":[1]}}',
        b' {"code":"c"}\n',
    ],
)
async def test_what_is_forgiven(world: World, body: bytes) -> None:
    """One byte order mark, a repeated name (the last counts), unknown fields and white space are no errors."""
    assert (await world.post(LOGIN, body)).status == 200
    assert world.peer.requests("Login")[0].mini_program_code == "c"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json; charset=gbk", "é"]
)
async def test_the_content_type_is_not_asked_for(world: World, content_type: str) -> None:
    """wx.request lets its caller write anything there: the body is JSON in UTF-8 whatever it says."""
    assert (await world.post(LOGIN, {"code": "码"}, headers={"Content-Type": content_type})).status == 200
    assert world.peer.requests("Login")[0].mini_program_code == "码"


async def test_a_body_may_have_64_kib_and_not_one_byte_more(world: World) -> None:
    """The limit holds for announced and for chunked bodies; beyond it 413 INVALID_FIELD."""
    filler = b'{"code":"c","filler":"%s"}'
    fits = filler % (b"x" * (64 * 1024 - len(filler) + 2))
    assert len(fits) == 64 * 1024
    assert (await world.post(LOGIN, fits)).status == 200
    answer = await world.post(LOGIN, fits + b" ")
    assert (answer.status, answer.error["reason"]) == (413, "INVALID_FIELD")
    chunk = b"%x\r\n%s\r\n" % (len(fits), fits)
    reply = await world.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"1\r\n \r\n0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert len(world.peer.seen) == 1


async def test_an_announced_giant_is_refused_unread(world: World) -> None:
    """A Content-Length above the limit is answered before any of the body arrives, and the connection ends."""
    reply = await world.raw(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply.lower()


async def test_a_compressed_body_is_not_unpacked(world: World) -> None:
    """No bomb can unfold: compressed bytes are simply no JSON."""
    packed = gzip.compress(orjson.dumps({"code": "c"}))
    answer = await world.post(LOGIN, packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["reason"]) == (400, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", LOGIN, "POST"), ("OPTIONS", LOGIN, "POST"), ("POST", "/api/v1/verify", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"), ("PATCH", "/healthz", "GET, HEAD"),
    ],
)  # fmt: skip
async def test_a_known_path_with_another_method_is_405(
    world: World, method: str, path: str, allow: str
) -> None:
    """405 names the methods there are; OPTIONS grants no other site anything."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await world.ask(method, path, headers=origin)
    assert (answer.status, answer.headers["Allow"], answer.error["reason"]) == (405, allow, "INVALID_FIELD")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/accounts",
        "/api/v1/login/",
        "/docs/../x",
        "/%00",
    ],
)
async def test_an_unknown_path_is_404_in_the_same_shape(world: World, path: str) -> None:
    """What a later delivery brings, and what nobody brings, is NOT_FOUND."""
    answer = await world.post(path, {"code": "c"})
    assert (answer.status, answer.error["code"], answer.error["reason"]) == (404, "NOT_FOUND", "NOT_FOUND")


async def test_the_legacy_path_has_its_own_error_shape_for_every_method(world: World) -> None:
    """`/api/login` never answers an error object, not even for a wrong method."""
    answer = await world.get("/api/login?code=c")
    assert (answer.status, isinstance(answer.error, str)) == (405, True)


GARBAGE = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
    "no version": b"GET /api/v1/verify\r\n\r\n",
    "space in name": b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: Bearer secret-token\r\n\r\n",
    "bare newline in value": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00secret-token\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: x\r\n folded: secret-token\r\n\r\n",
    "length twice": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd length": HEAD + b"Content-Length: +4\r\n\r\n{}  ",
    "odd coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n{}",
    "long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("name", sorted(GARBAGE))
async def test_bytes_that_are_no_http_get_400_in_the_same_shape(world: World, name: str) -> None:
    """Malformed and ambiguous requests (smuggling) end the connection with our error; nothing of them is repeated."""
    smuggled = b"GET /api/v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"
    reply = await world.raw(GARBAGE[name] + smuggled)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(body)["error"]["reason"] == "INVALID_FIELD"
    assert b"secret-token" not in reply
    assert b"server:" not in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert world.peer.seen == []
    assert [call.method for call in world.observer.calls] == ["HTTP unmatched"]


@pytest.mark.parametrize("target", [b"POST /nowhere", b"POST /api/v1/login"])
async def test_an_expectation_nobody_knows_has_the_same_shape(world: World, target: bytes) -> None:
    """417 is made by the HTTP library; its body is ours all the same."""
    reply = await world.raw(target + b" HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n{}")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 417 ")
    assert b"server:" not in head.lower()
    assert b"magic" not in reply
    assert orjson.loads(body)["error"]["code"] == "INVALID_ARGUMENT"


async def test_options_star_has_the_same_shape(world: World) -> None:
    """A target that is no path is a 404 like any other."""
    reply = await world.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert orjson.loads(reply.partition(b"\r\n\r\n")[2])["error"]["reason"] == "NOT_FOUND"


async def test_a_body_that_does_not_arrive_is_408() -> None:
    """A client that stops in the middle of its body is told so and disconnected; the server is not asked."""
    async with running(replace(SETTINGS, body_deadline=timedelta(milliseconds=100))) as slow:
        reader, writer = await asyncio.open_connection(*slow.address)
        writer.write(b'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"code":')
        reply = await reader.read()
        writer.close()
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert orjson.loads(reply.partition(b"\r\n\r\n")[2])["error"]["reason"] == "INVALID_FIELD"
        assert slow.peer.seen == []


async def test_a_client_that_leaves_in_mid_body_disturbs_nobody(world: World) -> None:
    """Half a body and a closed connection are no error of ours: noted as 499, and the edge goes on."""
    _, writer = await asyncio.open_connection(*world.address)
    writer.write(HEAD + b'Content-Length: 20\r\n\r\n{"code":')
    await writer.drain()
    writer.transport.abort()
    await world.until_called(1)
    assert [call.code for call in world.observer.calls] == ["499"]
    assert (await world.get("/healthz")).status == 200
    assert world.peer.seen == []
