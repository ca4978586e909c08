"""Canaries: known secret values go through a whole life and every failure; none comes out where it must not."""

import base64
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import wechat_service_pb2 as pb_wechat
from authsvc.keys import MasterRing
from authsvc.sandbox import SANDBOX_APPS
from authsvc.system import SystemEntropy
from tests.e2e.running import Running, dev
from tests.e2e.serving import sandbox, serve_with_edge
from tests.e2e.wire import D1, Service, http_call, refusal

NEXT_SECRET = "5a4d0000" + "canary0next0secret000000"
PHONE = "13987654321"
# Where the record may hold an openid or a unionid in clear (docs/security.md): the identity it is, and its sessions.
IDENTITY_COLUMNS = {
    "openid": {"identities.openid", "sessions.openid", "phones.openid"},
    "unionid": {"identities.unionid", "unionids.unionid"},
}
PHONE_FAULTS = ["drop", "errcode;40001", "errcode;48001", "errcode;-1", "http;502", "truncated", "gbk", "errcode;61007"]  # fmt: skip
FAULTS = ["drop", "errcode;40125", "errcode;40029", "errcode;-1", "http;502", "truncated", "array", "cut-body", "errcode;61007"]  # fmt: skip


class Canaries:
    """Secret values by what they are, and the texts in which they must not occur."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.seen: dict[str, str] = {}

    def add(self, name: str, value: str) -> str:
        assert len(value) >= 11
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


def act_for_the_user(service: Service, canaries: Canaries) -> None:
    """Phone numbers, encrypted data and session keys by both transports, and every kind of failure around them."""
    user = "canary-user-phone"
    canaries.add("phone", PHONE)
    code = canaries.add("phone code", "canary-phone-code-0123456789")
    service.mint_phone(user, code=code, phone=PHONE)
    login = service.grpc_login(user, phone_code=code)
    assert login.phone_number == PHONE
    token = canaries.add("access token", login.tokens.access_token)
    again = canaries.add("phone code", service.mint_phone(user, code="canary-phone-code-at-the-edge"))
    assert service.phone(token, again).json["phone_number"] == PHONE
    known = service.wechat_user(user)
    canaries.add("session key", known["session_key"])
    data = service.encrypted(user, kind="phone")
    canaries.add("encrypted data", data["encrypted_data"][:64])
    assert PHONE in service.decrypt(token, data).json["user_data"].values()
    service.wechat.ResetSessionKey(pb_wechat.ResetSessionKeyRequest(access_token=token), timeout=30)
    canaries.add("session key", service.wechat_user(user)["session_key"])
    stable = {"grant_type": "client_credential", "appid": D1, "secret": SANDBOX_APPS[0].secret}
    answer = http_call("POST", f"{service.sandbox}/cgi-bin/stable_token", stable)
    canaries.add("WeChat token", answer.json["access_token"])

    others = canaries.add(
        "phone code", service.mint_phone("canary-user-x", code="canary-phone-code-of-another")
    )
    errors = [service.phone(token, others), service.phone(token, again), service.phone(token + "x", others)]
    hostile = ("wrong-key", "wrong-app", "bad-padding", "spaces")
    errors += [service.decrypt(token, service.encrypted(user, variant=variant)) for variant in hostile]
    failing = []
    for fault in PHONE_FAULTS:
        name = f"canary-phone-code-with-{fault.replace(';', '-')}"
        failing.append(
            canaries.add("phone code", service.mint_phone(user, code=name, fault=fault, fault_times=None))
        )
        errors.append(service.phone(token, failing[-1]))
    service.grpc_login(user, phone_code=failing[0])
    service.reset_secret(D1, canaries.add("AppSecret", NEXT_SECRET))
    spent = service.try_login(service.mint(user))
    assert service.try_login(service.mint(user)).status == 200
    service.reset_secret(D1, "5a4d0000" + "f" * 24)  # now no secret is right
    errors += [spent, service.try_login(service.mint(user))]
    for number, error in enumerate(errors):
        assert error.status >= 400, (number, error.body)
        canaries.seen[f"error about the user {number}"] = error.body.decode() + json.dumps(
            dict(error.headers)
        )
    for code in (others, again):
        with pytest.raises(grpc.RpcError) as caught:
            request = pb_wechat.GetPhoneNumberRequest(access_token=token, code=code)
            service.wechat.GetPhoneNumber(request, timeout=30)
        canaries.seen[f"grpc refusal {len(canaries.seen)}"] = repr(refusal(caught.value))


def columns_holding(database: Path, value: str) -> set[str]:
    """Every column of the record in which the text stands in clear, alone or as a part."""
    found = set()
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - the name is the schema's own
            names = [column[0] for column in rows.description]
            for row in rows:
                found |= {
                    f"{table}.{name}"
                    for name, cell in zip(names, row, strict=True)
                    if value in (cell.decode("latin-1") if isinstance(cell, bytes) else str(cell))
                }
    return found


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


def judge_record(data: Path, canaries: Canaries) -> None:
    """Nothing secret is in the record's files; openids and unionids only where they belong."""
    stored = b"".join(file.read_bytes() for file in data.glob("authsvc.db*"))
    for name, value in canaries.values.items():
        if (kind := name.split()[0]) in IDENTITY_COLUMNS:
            holding = columns_holding(data / "authsvc.db", value)
            assert holding, name
            assert holding <= IDENTITY_COLUMNS[kind], name
            continue
        assert value.encode() not in stored, name
        if name.startswith("refresh"):
            assert base64.urlsafe_b64decode(value.removeprefix("wxr1.") + "==") not in stored
        if name.startswith("session"):
            assert base64.b64decode(value) not in stored


@dataclass(frozen=True, slots=True)
class Spawned:
    """Processes under test: all that they say, a client, and where the record and the signing keys are."""

    processes: tuple[Running, ...]
    service: Service
    record: Path
    keys: Path


@contextmanager
def one_process(folder: Path, log_format: str) -> Iterator[Spawned]:
    """`authsvc dev`, with the policies that this story needs."""
    apps = folder / "apps.toml"
    apps.write_text(f'[[apps]]\nid = "{D1}"\nphone = "bind"\nnext_secret = "{NEXT_SECRET}"\n')
    words = ("--log-format", log_format, "--log-level", "debug", "--apps-from", str(apps))
    with dev(folder, *words) as (process, service):
        yield Spawned((process,), service, folder / "data", folder / "data/signing")


@contextmanager
def many_processes(folder: Path, log_format: str) -> Iterator[Spawned]:
    """`authsvc serve --with-edge --workers 2` beside `authsvc sandbox`: five processes, each with its own log."""
    policy = {D1: {"phone": "bind", "next_secret": NEXT_SECRET, "platform_group": "op"}}
    words = ("--workers", "2", "--log-format", log_format, "--log-level", "debug")
    with (
        sandbox(folder / "sandbox") as (wechat, url),
        serve_with_edge(folder, *words, wechat=url, policy=policy) as (process, service),
    ):
        yield Spawned((process, wechat), service, process.folder, process.folder / "keys")


@pytest.mark.parametrize(
    ("spawn", "log_format"), [(one_process, "json"), (one_process, "human"), (many_processes, "json")]
)
def test_no_secret_comes_out(
    tmp_path: Path, spawn: Callable[[Path, str], AbstractContextManager[Spawned]], log_format: str
) -> None:
    """
    Not in the logs (level debug), not in what is printed, not in /metrics, health or errors; refresh tokens, session
    keys, phone numbers, codes, secrets and WeChat's access_token are not in the database either, not even as a part of
    a page; openids and unionids only in the columns that are theirs.
    """
    canaries = Canaries()
    with spawn(tmp_path, log_format) as spawned:
        service, data = spawned.service, spawned.record
        live_and_fail(service, canaries)
        act_for_the_user(service, canaries)
        for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
            canaries.seen[path] = http_call("GET", service.ops + path).body.decode()
        for process in spawned.processes:
            process.stop()
    for app in SANDBOX_APPS:
        canaries.add("AppSecret", app.secret)
    canaries.add("master key", (data / "master.key").read_text().strip())
    for file in spawned.keys.iterdir():
        canaries.add("signing key", file.read_text().splitlines()[1])
    keys = session_keys(data)
    assert keys
    for key in keys:
        canaries.add("session key", key.decode())
    logs = "".join(process.stderr for process in spawned.processes)
    # The sandbox tells developers its apps' secrets, which are public; so only what it logs counts.
    canaries.seen["stdout"] = spawned.processes[0].stdout
    canaries.seen["stderr"] = logs

    assert canaries.leaks() == []
    assert "[redacted]" not in logs  # redaction is the second line; nothing should have needed it
    assert "HTTP GET /api/v1/verify" in logs  # the logs were really written
    assert "GetPhoneNumber" in logs
    judge_record(data, canaries)
