"""
The wire: one request to one host, ending in an `Answer` or a `Fault` and never in an exception but cancellation.

What aiohttp raises may hold the URL and with it the AppSecret (facts page 1.7); it stops here, so it can't hang on
anybody's `__context__` either.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import orjson
from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from authsvc.wechat.send_once import SendOnce, name_fault, written_trace

SANDBOX_HEADER: Final = "X-Authsvc-Sandbox"
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP response; `body` is empty where the status is not 200 (it is not read)."""

    status: int
    from_sandbox: bool
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """No complete response; `kind` is a fixed word."""

    kind: str


def open_session(*, dns_ttl: timedelta) -> ClientSession:
    """
    Return the session for all exchanges, with the system's trust store.

    Every exchange has a connection of its own: on a pooled one aiohttp hands a stray answer, and then every later
    one shifted by one, to the next request, which would be another user's login (docs/decisions/0004, measured). No
    cookies are kept; proxies from the environment are not used, as they would see the secret on plain HTTP.
    """
    trust = ssl.create_default_context()
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    connector = TCPConnector(
        ssl=trust,
        force_close=True,
        ttl_dns_cache=int(dns_ttl.total_seconds()),
        limit=0,  # the client counts slots per app, so that one app never waits for another
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        trace_configs=[written_trace()],
        # 150 bytes gain nothing from compression, and a bomb could hide in it.
        headers={
            "Accept": "application/json, text/plain",
            "Accept-Encoding": "identity",
            "User-Agent": "authsvc",
        },
    )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent: *params* percent-encoded into the URL, *body* (None: no body, a GET) as JSON of a POST."""

    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, str | bool] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


async def send_once(
    session: ClientSession,
    url: str,
    *,
    outgoing: Outgoing,
    guard: SendOnce,
    connect_timeout: timedelta,
    max_body: int,
) -> Answer | Fault:
    """
    Send one request at most once and return what came of it.

    `guard.may_be_written` then tells whether the request may have left. Redirects are not followed. There is no
    deadline for the answer here: the caller's spans several hosts.
    """
    try:
        headers, data = dict(outgoing.headers), None
        if outgoing.body is not None:
            headers["Content-Type"] = "application/json"  # a form is answered with 41002 (facts page 2.2)
            data = orjson.dumps(outgoing.body)
        async with session.request(
            "GET" if data is None else "POST",
            url,
            params=outgoing.params,
            data=data,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            middlewares=(guard,),
            trace_request_ctx=guard,
            timeout=ClientTimeout(total=None, connect=connect_timeout.total_seconds()),
        ) as response:
            return await _read(response, max_body=max_body)
    except Exception as error:  # noqa: BLE001 - whatever it is, it may hold the secret and must not go further
        return Fault(guard.fault or name_fault(error))


async def _read(response: ClientResponse, *, max_body: int) -> Answer | Fault:
    from_sandbox = SANDBOX_HEADER in response.headers
    if response.status != _OK:
        response.close()
        return Answer(response.status, from_sandbox, b"")
    body = bytearray()
    while chunk := await response.content.read(max_body + 1 - len(body)):
        body += chunk
        if len(body) > max_body:
            response.close()
            return Fault("body_too_large")
    return Answer(response.status, from_sandbox, bytes(body))
