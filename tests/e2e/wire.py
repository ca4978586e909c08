"""Speaking to a running service over real sockets: HTTP as a mini-program and as WeChat's tester, gRPC as a service."""

import http.client
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import grpc
from google.rpc import error_details_pb2, status_pb2

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authapi.v1.session_service_pb2_grpc import SessionServiceStub
from authapi.v1.wechat_service_pb2_grpc import WeChatServiceStub

T = TypeVar("T")
D1, D2, D3 = "wx00000000000000d1", "wx00000000000000d2", "wx00000000000000d3"
CODE_PATH = "/sandbox/v1/codes"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of an error of the edge."""
        return str(self.json["error"]["reason"])


def http_call(
    method: str,
    url: str,
    content: object = None,
    *,
    raw: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own; *content* goes as JSON."""
    parts = urlsplit(url)
    body = raw if raw is not None else (None if content is None else json.dumps(content).encode())
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path or "/", body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lowered, response.read())
    finally:
        connection.close()


def at_once(count: int, act: Callable[[], T]) -> list[T]:
    """Run *act* in *count* threads together and return all results."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(act) for _ in range(count)]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One gRPC error: the canonical code, the reason of its ErrorInfo, how long to wait, and its text."""

    code: str
    reason: str
    metadata: Mapping[str, str]
    retry_s: float | None
    text: str


def refusal(error: grpc.RpcError) -> Refusal:
    """Read a gRPC error."""
    assert isinstance(error, grpc.Call)
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    found = False
    for detail in status_pb2.Status.FromString(details).details:
        detail.Unpack(info)
        found = detail.Unpack(retry) or found
    wait = retry.retry_delay.ToTimedelta().total_seconds() if found else None
    return Refusal(error.code().name, info.reason, dict(info.metadata), wait, error.details() or "")


class Service:
    """A running service, by its addresses."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = dict(addresses)
        self.http = addresses.get("http", "")
        self.sandbox = addresses.get("sandbox", "")
        self.ops = addresses.get("ops", "")
        self.channel = grpc.insecure_channel(addresses.get("grpc", "127.0.0.1:1"))
        self.auth = AuthServiceStub(self.channel)
        self.sessions = SessionServiceStub(self.channel)
        self.wechat = WeChatServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    # -- WeChat's side ---------------------------------------------------------------------------------------------

    def mint(self, user: str = "alice", app_id: str = D1, **more: object) -> str:
        """Return a fresh login code."""
        answer = http_call("POST", self.sandbox + CODE_PATH, {"app_id": app_id, "user": user, **more})
        assert answer.status == 200, answer.body
        return str(answer.json["code"])

    def mint_phone(self, user: str = "alice", app_id: str = D1, **more: object) -> str:
        """Return the fresh code of a getPhoneNumber button."""
        body = {"app_id": app_id, "user": user, **more}
        answer = http_call("POST", f"{self.sandbox}/sandbox/v1/phone-codes", body)
        assert answer.status == 200, answer.body
        return str(answer.json["code"])

    def encrypted(self, user: str = "alice", app_id: str = D1, **more: object) -> dict[str, str]:
        """Return what wx.getUserInfo hands to the page of this user: encrypted_data, iv, raw_data, signature."""
        body = {"app_id": app_id, "user": user, **more}
        answer = http_call("POST", f"{self.sandbox}/sandbox/v1/user-data", body)
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def wechat_user(self, user: str = "alice", app_id: str = D1) -> dict[str, Any]:
        """Return what WeChat knows of a user: openid, phone, session_key and more."""
        answer = http_call("GET", f"{self.sandbox}/sandbox/v1/users/{app_id}/{user}")
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def replace_session_key(self, user: str = "alice", app_id: str = D1) -> None:
        """Give the user another session_key, as a login on another device would."""
        url = f"{self.sandbox}/sandbox/v1/users/{app_id}/{user}/session-key"
        assert http_call("POST", url, {"action": "replace"}).status == 200

    def reset_secret(self, app_id: str, secret: str) -> None:
        """Reset the app's secret in WeChat's console: the old one is refused at once."""
        url = f"{self.sandbox}/sandbox/v1/apps/{app_id}/secret"
        assert http_call("POST", url, {"secret": secret}).status == 200

    def arrived(self, code: str) -> int:
        """Return how many requests with this code reached WeChat."""
        return int(http_call("GET", f"{self.sandbox}/sandbox/v1/requests?code={quote(code)}").json["count"])

    # -- the mini-program's side -----------------------------------------------------------------------------------

    def post(self, path: str, content: object = None, **options: Any) -> Answer:
        return http_call("POST", self.http + path, {} if content is None else content, **options)

    def get(self, path: str, **options: Any) -> Answer:
        return http_call("GET", self.http + path, **options)

    def try_login(self, code: str, app_id: str = D1, **options: Any) -> Answer:
        return self.post("/api/v1/login", {"app_id": app_id, "code": code}, **options)

    def login(self, user: str = "alice", app_id: str = D1) -> dict[str, Any]:
        """Return the tokens of a new session."""
        answer = self.try_login(self.mint(user, app_id), app_id)
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def refresh(self, refresh_token: str) -> Answer:
        return self.post("/api/v1/refresh", {"refresh_token": refresh_token})

    def phone(self, access_token: str, code: str) -> Answer:
        return self.post("/api/v1/phone", {"code": code}, headers={"Authorization": f"Bearer {access_token}"})

    def decrypt(self, access_token: str, data: Mapping[str, str]) -> Answer:
        body = {"encrypted_data": data["encrypted_data"], "iv": data["iv"]}
        headers = {"Authorization": f"Bearer {access_token}"}
        return self.post("/api/v1/user-data/decrypt", body, headers=headers)

    def logout(self, access_token: str) -> Answer:
        return self.post("/api/v1/logout", headers={"Authorization": f"Bearer {access_token}"})

    def edge_verify(self, access_token: str, query: str = "") -> Answer:
        return self.get(f"/api/v1/verify{query}", headers={"Authorization": f"Bearer {access_token}"})

    # -- an internal service's side --------------------------------------------------------------------------------

    def verify(self, access_token: str, audience: str = D1) -> pb.VerifyTokenResponse:
        request = pb.VerifyTokenRequest(access_token=access_token, audience=audience)
        response: pb.VerifyTokenResponse = self.auth.VerifyToken(request, timeout=TIMEOUT_S)
        return response

    def verdict(self, access_token: str) -> str:
        """Return `active`, or the reason why not, or the refusal's reason."""
        try:
            response = self.verify(access_token)
        except grpc.RpcError as error:
            return refusal(error).reason
        if response.HasField("active"):
            return "active"
        return types_pb2.InactiveReason.Name(response.inactive.reason).removeprefix("INACTIVE_REASON_")

    def grpc_login(self, user: str = "alice", app_id: str = D1, *, phone_code: str = "") -> pb.LoginResponse:
        """Return a new session, by gRPC."""
        request = pb.LoginRequest(
            app_id=app_id, mini_program_code=self.mint(user, app_id), phone_code=phone_code
        )
        response: pb.LoginResponse = self.auth.Login(request, timeout=TIMEOUT_S)
        return response

    def grpc_refresh(self, refresh_token: str) -> pb.RefreshTokenResponse:
        request = pb.RefreshTokenRequest(refresh_token=refresh_token)
        response: pb.RefreshTokenResponse = self.auth.RefreshToken(request, timeout=TIMEOUT_S)
        return response

    def revoke(self, **target: Any) -> pb.RevokeResponse:
        response: pb.RevokeResponse = self.auth.Revoke(pb.RevokeRequest(**target), timeout=TIMEOUT_S)
        return response
