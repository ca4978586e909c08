"""A running service that is sent what breaks logs and pages, in every input that is logged, stored or shown."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authapi.v1.user_service_pb2 import BlockUserRequest, SetExternalIdRequest, SetUserRolesRequest
from authapi.v1.user_service_pb2_grpc import UserServiceStub
from tests.e2e.running import dev
from tests.e2e.wire import D1, Service

FORGED = '{"level":"info","event":"login.ok","message":"forged-line"}'
HOSTILE = {
    "lines": f"a\r\n{FORGED}\r\n",
    "separators": f"a\x85{FORGED}\u2028{FORGED}\u2029",
    "terminal": "\x1b[2J\x1b[31mred\x1b]0;title\x07\u202e",
    "script": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "long": "\u6c49" * 20_000,
}
# One line holds a handful of fields, each cut to 4,000 characters, of up to six bytes each.
LONGEST_LINE = 5 * 4000 * 6


def grpc_code(service: Service, path: str, request: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> str:
    raw = service.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    try:
        raw(request, timeout=30, metadata=metadata)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return str(error.code().name)
    return "OK"


def _header(text: str) -> str:
    """As much of it as a header can carry: the bytes that HTTP allows, as Latin-1."""
    return "".join(char if 0x20 <= ord(char) < 0xFF and ord(char) != 0x7F else "%" for char in text)[:4000]


def attack(service: Service, name: str, text: str) -> None:
    """Every input of a stranger, a service and an operator that a line, a row or a page may hold."""
    header = _header(text)
    headers = {"User-Agent": header, "X-Request-Id": header, "traceparent": header, "X-Forwarded-For": header}
    device = {"device_id": text[:60], "device_name": text[:60]}
    for content in (
        {"app_id": D1, "code": service.mint(f"hostile-{name}"), **device},
        {"app_id": text, "code": "c"},
        {"app_id": D1, "code": text},
        {"app_id": D1, "code": "c", "device_name": text},
        {"app_id": D1, "code": service.mint(f"hostile-{name}"), "phone_code": text},
    ):
        assert service.post("/api/v1/login", content, headers=headers).status < 500
    assert service.post("/api/v1/refresh", {"refresh_token": text}, headers=headers).status < 500
    assert service.post("/api/v1/logout", {"refresh_token": text}).status < 500
    assert service.get("/api/v1/verify", headers={"Authorization": f"Bearer {header}"}).status < 500
    client = types_pb2.ClientInfo(ip=text, user_agent=text, device_id=text, device_name=text)
    login = pb.LoginRequest(app_id=text, mini_program_code=text, client=client).SerializeToString()
    ascii_only = text.encode("ascii", "replace").decode().translate({10: 63, 13: 63, 27: 63, 7: 63})[:2000]
    metadata = (("x-request-id", ascii_only), ("traceparent", ascii_only), ("authorization", ascii_only))
    assert grpc_code(service, "/authapi.v1.AuthService/Login", login, metadata) not in {"INTERNAL", "UNKNOWN"}
    assert grpc_code(service, "/" + ascii_only, b"", metadata) == "UNIMPLEMENTED"
    person = service.grpc_login(f"person-{name}")
    users = UserServiceStub(service.channel)
    for change in (
        lambda: users.BlockUser(BlockUserRequest(user_id=person.user_id, reason=text), timeout=30),
        lambda: users.BlockUser(BlockUserRequest(user_id=text, reason=text), timeout=30),
        lambda: users.SetUserRoles(SetUserRolesRequest(user_id=person.user_id, roles=[text]), timeout=30),
        lambda: users.SetExternalId(
            SetExternalIdRequest(user_id=person.user_id, external_id=text), timeout=30
        ),
        lambda: service.revoke(session_id=text),
        lambda: service.revoke(app_id=text),
    ):
        _tolerant(change)


def _tolerant(change: Any) -> None:
    try:
        change()
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        assert error.code().name not in {"INTERNAL", "UNKNOWN"}, error.details()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Everything that a service wrote while it was attacked in every way."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    with dev(folder, "--log-format", "json", "--log-level", "debug") as (process, service):
        for name, text in HOSTILE.items():
            attack(service, name, text)
        assert service.login("afterwards")["access_token"]
        process.stop()
        return process.stderr_file.read_bytes()


def test_every_line_is_one_valid_bounded_object(told: bytes) -> None:
    """However a reader splits lines: JSON objects with a time and an event, none longer than its bound."""
    text = told.decode("utf-8")
    assert text.endswith("\n")
    lines = told.split(b"\n")[:-1]
    assert len(text.splitlines()) == len(lines)
    assert len(lines) > 10 * len(HOSTILE)
    for line in lines:
        assert len(line) <= LONGEST_LINE
        content = json.loads(line)
        assert content["timestamp"]
        assert content["event"]


def test_no_line_is_forged_and_nothing_moves_a_terminal(told: bytes) -> None:
    """No line is a stranger's, and no raw control character or bidirectional override is in any."""
    assert not [line for line in told.splitlines() if json.loads(line).get("message") == "forged-line"]
    text = told.decode("utf-8")
    assert not {char for char in text if (ord(char) < 0x20 and char != "\n") or 0x7F <= ord(char) < 0xA0}
    assert not set(text) & set("\u2028\u2029\u202e")


def test_calls_are_named_by_what_exists(told: bytes) -> None:
    """A method, an id or an app that a stranger made up is no label: lines name ours, or `unmatched`."""
    calls = [
        content for line in told.splitlines() if (content := json.loads(line))["event"] == "call.finished"
    ]
    methods = {content["method"] for content in calls}
    assert "gRPC unmatched" in methods
    assert all(name.startswith(("/authapi.v1.", "/grpc.", "HTTP ", "gRPC ")) for name in methods)
    for content in calls:
        assert len(content.get("request_id", "")) <= 64
        assert content.get("principal", "local") == "local"
