"""
A client that writes its bytes itself, so that nothing between it and the sandbox repeats or hides a
request; and a clock that says when a wait was given up.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from authsvc.sandbox import DEFAULT_APP_ID, SANDBOX_APPS, SandboxServer
from tests.fakes import FakeClock

SECRETS = {app.app_id: app.secret for app in SANDBOX_APPS}
D1, D2, D3 = (app.app_id for app in SANDBOX_APPS)


class WatchedClock(FakeClock):
    """
    A FakeClock that tells when a sleeper was cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.abandoned = asyncio.Event()

    async def sleep(self, duration: timedelta) -> None:
        try:
            await super().sleep(duration)
        except asyncio.CancelledError:
            self.abandoned.set()
            raise


@dataclass(frozen=True)
class Answer:
    """
    What came back on a connection until it closed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, object]:
        fields = json.loads(self.body)
        assert isinstance(fields, dict)
        return fields

    @property
    def errcode(self) -> object:
        return self.fields.get("errcode")


class Dropped(Exception):
    """
    The connection ended without a single byte of an answer.
    """


def login_query(code: str, *, app_id: str = DEFAULT_APP_ID, **changes: str | None) -> str:
    """
    The path and query of a proper exchange; a change of None leaves the parameter out.
    """
    query: dict[str, str | None] = {
        "appid": app_id,
        "secret": SECRETS.get(app_id, "5a4d0000ffffffffffffffffffffffff"),
        "js_code": code,
        "grant_type": "authorization_code",
    }
    query.update(changes)
    present = {name: value for name, value in query.items() if value is not None}
    return "/sns/jscode2session?" + urlencode(present)


class Wire:
    """
    One request per connection, one connection per request.
    """

    def __init__(self, server: SandboxServer) -> None:
        self._server = server

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        split = urlsplit(self._server.base_url)
        return await asyncio.open_connection(split.hostname, split.port)

    async def send(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """
        The answer to one request; raises Dropped where none came.
        """
        reader, writer = await self.open()
        try:
            writer.write(raw_request(target, method=method, headers=headers, body=body))
            received = b""
            with suppress(ConnectionResetError):
                received = await reader.read()
        finally:
            await hang_up(writer)
        if not received:
            raise Dropped
        return parse_answer(received)

    async def login(
        self,
        code: str,
        *,
        app_id: str = DEFAULT_APP_ID,
        fault: str | None = None,
        **changes: str | None,
    ) -> Answer:
        headers = {} if fault is None else {"X-Sandbox-Fault": fault}
        return await self.send(login_query(code, app_id=app_id, **changes), headers=headers)

    async def api(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        fault: str | None = None,
    ) -> Answer:
        """
        The answer to a call of an endpoint other than the login; a body is sent as JSON.
        """
        target = path + ("?" + urlencode(query) if query else "")
        headers = {} if fault is None else {"X-Sandbox-Fault": fault}
        content = b"" if body is None else json.dumps(body).encode()
        return await self.send(target, method=method, headers=headers, body=content)

    async def token(self, app_id: str = DEFAULT_APP_ID, **changes: object) -> Answer:
        """
        The answer of ``/cgi-bin/token``; a change of None leaves the parameter out.
        """
        return await self.api("GET", "/cgi-bin/token", query=_credentials(app_id, changes))

    async def stable(self, app_id: str = DEFAULT_APP_ID, **changes: object) -> Answer:
        """
        The answer of ``/cgi-bin/stable_token``; a change of None leaves the field out.
        """
        return await self.api("POST", "/cgi-bin/stable_token", body=_credentials(app_id, changes))

    async def access_token(self, app_id: str = DEFAULT_APP_ID) -> str:
        """
        A token that works.
        """
        return str((await self.stable(app_id)).fields["access_token"])

    async def control(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None
    ) -> Answer:
        content = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        return await self.send("/sandbox/v1" + path, method=method, body=content)


def _credentials(app_id: str, changes: Mapping[str, object]) -> dict[str, Any]:
    fields = {
        "appid": app_id,
        "secret": SECRETS.get(app_id, "5a4d0000ffffffffffffffffffffffff"),
        "grant_type": "client_credential",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def raw_request(
    target: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    keep_alive: bool = False,
) -> bytes:
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body))}
    if not keep_alive:
        lines["Connection"] = "close"
    lines.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


def parse_answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *header_lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in header_lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return Answer(int(status_line.split(" ")[1]), headers, body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """
    One answer from a connection that stays open.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    answer = parse_answer(head)
    body = await reader.readexactly(int(answer.headers["content-length"]))
    return Answer(answer.status, answer.headers, body)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
