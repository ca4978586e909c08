"""Canaries: known secret values go through a whole life and every failure; none comes out where it must not."""

import base64
import contextlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authsvc.keys import MasterRing
from authsvc.sandbox import SANDBOX_APPS
from authsvc.system import SystemEntropy
from tests.e2e.running import dev
from tests.e2e.wire import D1, Service, http_call, refusal

FAULTS = ["drop", "errcode;40125", "errcode;40029", "errcode;-1", "http;502", "truncated", "array", "cut-body", "errcode;61007"]  # fmt: skip


class Canaries:
    """Secret values by what they are, and the texts in which they must not occur."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.seen: dict[str, str] = {}

    def add(self, name: str, value: str) -> str:
        assert len(value) >= 16
        self.values[f"{name} {len(self.values)}"] = value
        return value

    def leaks(self) -> list[str]:
        """What came out, and where; the value itself is not told again."""
        return [
            f"{name} in {place}"
            for place, text in self.seen.items()
            for name, value in self.values.items()
            if value in text
        ]


def live_and_fail(service: Service, canaries: Canaries) -> None:
    """A session from login to logout on both transports, and every kind of failure with secrets in its hands."""
    code = canaries.add("code", service.mint("canary-user-one", code="canary-code-0123456789abcdef"))
    headers = {"X-Request-Id": "canaries", "Accept-Language": "en"}
    login = service.try_login(code, headers=headers).json
    canaries.add("openid", login["openid"])
    canaries.add("unionid", login["unionid"])
    access = canaries.add("access token", login["access_token"])
    refresh = canaries.add("refresh token", login["refresh_token"])
    after = service.refresh(refresh).json
    canaries.add("access token", after["access_token"])
    last = canaries.add("refresh token", after["refresh_token"])
    junk = canaries.add("forged token", last[:-24] + "CANARYcanaryCANARYcanary")
    bearer = {"Authorization": f"Bearer {access}"}
    answers = [
        service.try_login(code),
        service.post(f"/api/v1/login?code={code}", {"app_id": D1}),
        service.post("/api/v1/login", raw=f'{{"code": "{code}"'.encode()),
        service.post("/api/v1/login", {"code": code, "app_id": [code]}),
        service.post("/api/login", {"code": code}),
        service.refresh(junk),
        service.refresh(access),
        service.post("/api/v1/refresh", {"refresh_token": {"x": last}}),
        service.get(f"/api/v1/verify?audience={junk[:40]}", headers=bearer),
        service.get(f"/{access}/{refresh}", headers=bearer),
        service.get("/api/v1/verify", headers={"Authorization": f"Bearer {access}x"}),
        service.get("/api/v1/verify", headers={"Authorization": f"Basic {refresh}"}),
        service.get("/api/v1/session", headers={"Authorization": f"Bearer {refresh}"}),
    ]
    for fault in FAULTS:
        failing = canaries.add("code", f"canary-code-of-{fault.replace(';', '-')}-0123456789")
        service.mint("canary-user-two", code=failing, fault=fault)
        answers.append(service.try_login(failing))
        with contextlib.suppress(grpc.RpcError):
            service.auth.Login(pb.LoginRequest(app_id=D1, mini_program_code=failing), timeout=30)
    for token in (junk, access, ""):
        with pytest.raises(grpc.RpcError) as caught:
            service.grpc_refresh(token)
        canaries.seen[f"grpc refusal {len(canaries.seen)}"] = repr(refusal(caught.value))
    service.verify(access + "x")
    service.logout(after["access_token"])
    answers += [service.refresh(last), service.refresh(refresh), service.edge_verify(access)]
    for number, answer in enumerate(answers):
        assert answer.status >= 400, (number, answer.body)
        canaries.seen[f"error {number}"] = answer.body.decode() + json.dumps(dict(answer.headers))


def session_keys(data: Path) -> list[bytes]:
    """The session keys in the record, opened as only who has the master key can."""
    sealer = MasterRing.parse((data / "master.key").read_text()).sealer(SystemEntropy())
    with closing(sqlite3.connect(data / "authsvc.db")) as connection:
        rows = connection.execute("SELECT app_id, openid, session_key FROM identities").fetchall()
    return [found for app, openid, blob in rows for found in [open_seal(sealer, blob, app, openid)] if found]


def open_seal(sealer: object, blob: bytes, app_id: str, openid: str) -> bytes | None:
    from authsvc.domain.seal_contexts import session_key_context
    from authsvc.keys.ring import AesGcmSealer

    assert isinstance(sealer, AesGcmSealer)
    return sealer.open(blob, context=session_key_context(app_id, openid))


@pytest.mark.parametrize("log_format", ["json", "human"])
def test_no_secret_comes_out(tmp_path: Path, log_format: str) -> None:
    """
    Not in the logs (level debug), not in what is printed, not in /metrics, health or errors; refresh tokens, session
    keys and the master key are not in the database either, not even as a part of a page.
    """
    canaries = Canaries()
    data = tmp_path / "data"
    with dev(tmp_path, "--log-format", log_format, "--log-level", "debug") as (process, service):
        live_and_fail(service, canaries)
        for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
            canaries.seen[path] = http_call("GET", service.ops + path).body.decode()
        process.stop()
    for app in SANDBOX_APPS:
        canaries.add("AppSecret", app.secret)
    canaries.add("master key", (data / "master.key").read_text().strip())
    for file in (data / "signing").iterdir():
        canaries.add("signing key", file.read_text().splitlines()[1])
    keys = session_keys(data)
    assert keys
    for key in keys:
        canaries.add("session key", key.decode())
    canaries.seen["stdout"], canaries.seen["stderr"] = process.stdout, process.stderr

    assert canaries.leaks() == []
    assert "[redacted]" not in process.stderr  # redaction is the second line; nothing should have needed it
    assert "HTTP GET /api/v1/verify" in process.stderr  # the logs were really written
    stored = b"".join(file.read_bytes() for file in data.glob("authsvc.db*"))
    for name, value in canaries.values.items():
        if name.split()[0] in {"openid", "unionid"}:  # identities are the record's own business
            continue
        assert value.encode() not in stored, name
        if name.startswith("refresh"):
            assert base64.urlsafe_b64decode(value.removeprefix("wxr1.") + "==") not in stored
        if name.startswith("session"):
            assert base64.b64decode(value) not in stored
