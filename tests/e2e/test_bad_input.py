"""What strangers send: every item gets its documented error, nothing crashes, and the service goes on."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authsvc.domain.ids import encode_base64url
from authsvc.keys import DirectoryKeys
from authsvc.ports import Signer
from tests.e2e.running import Running
from tests.e2e.wire import D1, D2, Service, at_once, refusal
from tests.support.tokens import claims_of, graft, resign, twin

LOGIN, REFRESH, LOGOUT = "/api/v1/login", "/api/v1/refresh", "/api/v1/logout"
GRPC_LOGIN = "/authapi.v1.AuthService/Login"


@pytest.fixture(autouse=True)
def goes_on(shared: tuple[Running, Service]) -> Iterator[None]:
    """After every piece of bad input the same process still serves the whole way from login to verdict."""
    yield
    process, service = shared
    assert process.process.poll() is None
    assert service.verdict(service.login("after-bad-input")["access_token"]) == "active"
    assert service.get("/readyz").status == 200


@pytest.mark.parametrize("path", [LOGIN, REFRESH, LOGOUT])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"{", b"[]", b"null", b'"text"', b"1e999", b"\xff\xfe", b'{"code":"\xff"}', b"[" * 60_000,
        b'{"code":1,"refresh_token":1}', b'{"code":["a"],"refresh_token":{}}', b"{\x00}",
        b'{"code":"","refresh_token":""}', b'{"code":true,"refresh_token":true}',
        '{"code":"\ud800","refresh_token":"\ud800"}'.encode("utf-8", "surrogatepass"),
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_bodies_that_are_no_request(service: Service, path: str, body: bytes) -> None:
    """
    Empty, non-JSON, non-UTF-8, deeply nested, wrong types: 400 INVALID_FIELD.
    """
    answer = service.post(path, raw=body)

    assert (answer.status, answer.reason) == (400, "INVALID_FIELD")


def test_unknown_fields_are_ignored(service: Service) -> None:
    """
    A newer client may say more than we know.
    """
    content = {"app_id": D1, "code": service.mint("unknown"), "nickname": "x", "deep": {"a": [1]}}

    assert service.post(LOGIN, content).status == 200


def test_more_than_64_kib_is_refused(service: Service) -> None:
    """
    Announced and chunked alike; exactly 64 KiB is read.
    """
    code = service.mint("huge")
    prefix = json.dumps({"app_id": D1, "code": code, "pad": ""})[:-2]
    exactly = (prefix + "x" * (65536 - len(prefix) - 2) + '"}').encode()
    huge = service.post(LOGIN, raw=exactly + b" ")

    assert (huge.status, huge.reason) == (413, "INVALID_FIELD")
    assert service.arrived(code) == 0
    assert service.post(LOGIN, raw=exactly).status == 200


@pytest.mark.parametrize(
    "code", ["the code is a mock one", "a b", "a&secret=b", "a'b\"c", "a\nb", "a#b?c=d", "%26", "+", "codé", "c" * 600]
)  # fmt: skip
def test_codes_with_strange_characters(service: Service, code: str) -> None:
    """
    Refused locally, or sent as they are in one parameter and refused by WeChat: LOGIN_CODE_INVALID or INVALID_FIELD.
    """
    answer = service.try_login(code)

    assert answer.status == 400
    assert answer.reason in {"LOGIN_CODE_INVALID", "INVALID_FIELD"}
    assert service.arrived(code) <= 1
    with pytest.raises(grpc.RpcError) as caught:
        service.auth.Login(pb.LoginRequest(app_id=D1, mini_program_code=code), timeout=30)
    assert refusal(caught.value).code in {"INVALID_ARGUMENT", "ABORTED"}


@pytest.mark.parametrize("code", ["x&y", "x y", "x'y\"z", "x+y", "x%26y", "x#y"])
def test_a_minted_code_with_strange_characters_is_one_parameter(service: Service, code: str) -> None:
    """
    What WeChat receives is what the client sent, byte for byte: the login works and the app id stays ours.
    """
    minted = service.mint("strange", code=f"{code}-ok")
    answer = service.try_login(minted)

    assert service.arrived(minted) == (1 if answer.status == 200 else 0)
    assert answer.status == 200 or answer.reason in {"LOGIN_CODE_INVALID", "INVALID_FIELD"}


def test_codes_that_were_never_minted_are_expired_used_or_of_another_app(service: Service) -> None:
    """
    Each is told by its reason, and none logs in.
    """
    used = service.mint("twice")
    assert service.try_login(used).status == 200
    foreign = service.mint("foreign", D2)

    assert (service.try_login("neverminted").status, service.try_login("neverminted2").reason) == (
        400,
        "LOGIN_CODE_INVALID",
    )
    assert (service.try_login(used).status, service.try_login(used).reason) == (409, "LOGIN_CODE_USED")
    assert service.try_login(foreign).reason == "LOGIN_CODE_INVALID"
    expired = service.mint("expired", fault="errcode;40029")
    assert service.try_login(expired).reason == "LOGIN_CODE_INVALID"


@pytest.mark.parametrize(
    "app_id", ["", "wx", "wx1111111111111111", "WX00000000000000D1", "x" * 5000, "a\x00b", "'--"]
)
def test_unknown_app_ids(service: Service, app_id: str) -> None:
    """
    UNKNOWN_APP or INVALID_FIELD over gRPC; the edge puts its default app in the place of an empty one.
    """
    with pytest.raises(grpc.RpcError) as caught:
        service.auth.Login(pb.LoginRequest(app_id=app_id, mini_program_code="c"), timeout=30)
    assert refusal(caught.value).reason in {"UNKNOWN_APP", "INVALID_FIELD"}
    if app_id:
        answer = service.try_login("c", app_id)
        assert (answer.status, answer.reason in {"UNKNOWN_APP", "INVALID_FIELD"}) == (400, True)


def issuing_key(process: Running, token: str) -> Signer:
    """The private half that signed the token, as whoever stole the key file would have it."""
    header = json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))
    signer = DirectoryKeys.load(process.folder / "data" / "signing").signer(header["kid"])
    assert signer is not None
    return signer


def test_forged_and_damaged_access_tokens(shared: tuple[Running, Service]) -> None:
    """
    Each way of being wrong has its own reason over gRPC and the one coarse 401 at the edge; none is active, and
    another spelling of a good token never gets a different life.
    """
    process, service = shared
    good = service.login("tokens")["access_token"]
    other = service.login("tokens-other")["access_token"]
    key = issuing_key(process, good)
    head, payload, signature = good.split(".")

    def made(header: dict[str, Any] | None = None, **claims: Any) -> str:
        return asyncio.run(resign(good, signer=key, header=header, **claims))

    def headed(**header: Any) -> str:
        return f"{encode_base64url(json.dumps(header).encode())}.{payload}.{signature}"

    long = claims_of(good).issued_at + 3 * 86400
    cases = {
        "": "MALFORMED", "junk": "MALFORMED", "a.b.c": "MALFORMED", "...": "MALFORMED",
        good[:-22]: "BAD_SIGNATURE", good[: len(head) + 10]: "MALFORMED", good + "=": "MALFORMED",
        good + "\n": "MALFORMED", " " + good: "MALFORMED", f"{good}.x.y": "MALFORMED", "é" + good: "MALFORMED",
        "a" * 100_000: "MALFORMED", headed(alg="none", typ="at+jwt"): "MALFORMED",
        headed(alg="none", typ="at+jwt").removesuffix(signature): "MALFORMED",
        made({"jku": "https://x/jwks"}): "MALFORMED", made({"crit": ["x"]}): "MALFORMED",
        made({"typ": "JWT"}): "WRONG_TYPE", made({"typ": None}): "WRONG_TYPE",
        made({"kid": "unknown-kid"}): "UNKNOWN_KEY", made({"alg": "HS256"}): "BAD_SIGNATURE",
        made(issuer="somebody"): "WRONG_ISSUER", made(expires_at=long): "LIFETIME_TOO_LONG",
        graft(other, good): "BAD_SIGNATURE",
    }  # fmt: skip
    found = []
    for token in cases:
        found.append(service.verdict(token))
        if token.isascii() and token.isprintable() and len(token) < 8000 and token.strip() != good:
            edge = service.edge_verify(token)
            assert (edge.status, edge.reason) == (401, "TOKEN_INVALID")

    assert found == list(cases.values())
    assert service.verify(good, audience="another").inactive.reason == 6  # WRONG_AUDIENCE
    # ECDSA's other spelling of the same signature is the same token: it lives and dies with its session.
    respelt = twin(good)
    assert service.verdict(respelt) == "active"
    service.logout(respelt)
    assert (service.verdict(good), service.verdict(respelt)) == ("SESSION_REVOKED", "SESSION_REVOKED")


def test_forged_refresh_tokens(service: Service) -> None:
    """
    Any changed byte is REFRESH_TOKEN_INVALID on both transports, and the session it names goes on.
    """
    login = service.login("forged")
    good: str = login["refresh_token"]
    forged = [
        "",
        "x",
        "wxr1.",
        "wxr1.AAAA",
        good[:-1],
        good + "A",
        good + "=",
        good.upper(),
        good.replace("wxr1", "wxr2"),
    ]
    forged += [
        good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(6, len(good) - 1, 9)
    ]
    for token in forged:
        answer = service.refresh(token)
        assert (answer.status, answer.reason) in {(401, "REFRESH_TOKEN_INVALID"), (400, "INVALID_FIELD")}
        with pytest.raises(grpc.RpcError) as caught:
            service.grpc_refresh(token)
        assert refusal(caught.value).reason in {"REFRESH_TOKEN_INVALID", "INVALID_FIELD"}
    assert service.refresh(good).status == 200


def test_bytes_that_are_no_message(service: Service) -> None:
    """
    gRPC: bytes that do not parse are INVALID_ARGUMENT, an unknown method is UNIMPLEMENTED, more than the limit is
    RESOURCE_EXHAUSTED; none of them tells of our insides.
    """

    def call(method: str, content: bytes) -> grpc.RpcError:
        raw = service.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as caught:
            raw(content, timeout=30)
        return caught.value

    errors = {
        "junk": call(GRPC_LOGIN, b"\xff\xff\xff"),
        "utf8": call(GRPC_LOGIN, b"\x0a\x02\xff\xfe"),
        "empty": call(GRPC_LOGIN, b""),
        "no target": call("/authapi.v1.AuthService/Revoke", b""),
        "unknown": call("/authapi.v1.AuthService/Nothing", b""),
        "huge": call(GRPC_LOGIN, b"\x0a\x80\x80\x80\x08" + b"x" * (16 << 20)),
    }
    codes: dict[str, str] = {}
    for name, error in errors.items():
        assert isinstance(error, grpc.Call)
        codes[name] = error.code().name
        assert not any(word in (error.details() or "") for word in ("Traceback", "google.protobuf", "Error("))

    assert codes == {
        "junk": "INVALID_ARGUMENT",
        "utf8": "INVALID_ARGUMENT",
        "empty": "INVALID_ARGUMENT",
        "no target": "INVALID_ARGUMENT",
        "unknown": "UNIMPLEMENTED",
        "huge": "RESOURCE_EXHAUSTED",
    }


def test_half_sent_requests_and_bytes_that_are_no_http(service: Service) -> None:
    """
    Fifty clients that stop in mid request keep nobody else waiting, and leaving early breaks nothing.
    """
    parts = urlsplit(service.http)
    address = (parts.hostname or "", parts.port or 0)
    halves = [
        b"", b"POST", b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le",
        b'POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n{"co',
        b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nFF\r\n{",
    ]  # fmt: skip
    sockets = [socket.create_connection(address, 30) for _ in range(50)]
    for number, connection in enumerate(sockets):
        connection.sendall(halves[number % len(halves)])
    answers = at_once(10, lambda: service.get("/healthz").status)
    for connection in sockets:
        connection.close()
    with socket.create_connection(address, 30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        reply = connection.recv(65536)

    assert set(answers) == {200}
    assert b" 400 " in reply.splitlines()[0]
