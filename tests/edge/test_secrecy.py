"""What a request carries stays out of logs and reports, whatever goes wrong with it."""

import logging

import pytest
from aiohttp import web
from google.protobuf.message import Message

from tests.edge.peer import Fault, active
from tests.edge.wire import World, running

SECRET = "canary-3f9d"


async def _send_secrets(world: World) -> None:
    head = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n"
    body = f'{{"code":"{SECRET}","refresh_token":"{SECRET}","device_name":"{SECRET}","phone_code":"{SECRET}","encrypted_data":"{SECRET}","iv":"{SECRET}"}}'
    for line in ("GET /api/v1/verify", "GET /api/v1/session", f"GET /{SECRET}?code={SECRET}"):
        await world.raw(f"{line} HTTP/1.1\r\n{head}\r\n".encode())
    for path in (
        "/api/v1/login",
        "/api/v1/refresh",
        "/api/v1/logout",
        "/api/v1/phone",
        "/api/v1/user-data/decrypt",
        "/api/login",
        "/nowhere",
    ):
        for sent in (body, body[:-1]):
            await world.raw(
                f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(sent)}\r\n\r\n{sent}".encode()
            )
    await world.raw(f"GET / HTTP/1.1\r\n{head}Bad Name: {SECRET}\r\n\r\n".encode())
    await world.raw(f"{SECRET}\r\n\r\n".encode())


@pytest.mark.parametrize("fault", ["none", "grpc", "edge", "reply"])
async def test_no_secret_reaches_a_log_or_a_report(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """Good requests, garbage, a failing server, a defect in a handler and one in a reply all keep quiet."""
    caplog.set_level(logging.DEBUG)

    def broken(request: object) -> Fault:
        raise ValueError(f"{SECRET} {request}")

    async def poisoned(request: web.Request, response: web.StreamResponse) -> None:
        raise ValueError(f"{SECRET} {request.headers}")

    def prepare(app: web.Application) -> None:
        if fault == "reply":
            app.on_response_prepare.append(poisoned)

    async with running(prepare=prepare) as world:
        if fault == "grpc":
            world.peer.answers = dict.fromkeys(
                ("Login", "RefreshToken", "Revoke", "VerifyToken", "GetPhoneNumber", "DecryptUserData"),
                broken,
            )
            logging.getLogger("grpc").disabled = True  # the peer's own log is not ours
        if fault == "edge":
            world.peer.answers = {"VerifyToken": _undecodable(), "Login": _undecodable()}
        try:
            await _send_secrets(world)
        finally:
            logging.getLogger("grpc").disabled = False
        reported = repr(world.observer.calls) + repr(world.observer.events)
    own = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("grpc"))
    formatted = [r.exc_text for r in caplog.records if r.exc_text and not r.name.startswith("grpc")]
    assert SECRET not in reported
    assert SECRET not in own
    assert SECRET not in str(formatted)
    assert ("an HTTP connection failed: ValueError" in own) == (fault == "reply")


def _undecodable() -> Message:
    answer = active()
    answer.active.user_id = f"\n{SECRET}"
    return answer
