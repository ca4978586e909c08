"""HTTP requests that might hurt, sent to an edge over real sockets."""

import asyncio
from collections import Counter

from tests.edge.wire import World
from tests.hardening.fuzzing import Dice, random_json

_PATHS = (
    ("POST", "/api/v1/login"), ("POST", "/api/v1/refresh"), ("POST", "/api/v1/logout"), ("POST", "/api/v1/phone"),
    ("POST", "/api/v1/user-data/decrypt"), ("DELETE", "/api/v1/account"), ("POST", "/api/login"),
    ("GET", "/api/v1/session"), ("GET", "/api/v1/verify"), ("GET", "/.well-known/jwks.json"), ("GET", "/openapi.json"),
    ("GET", "/docs"), ("GET", "/healthz"), ("GET", "/readyz"), ("OPTIONS", "/api/v1/login"), ("PUT", "/api/v1/login"),
)  # fmt: skip
_NAMES = (
    "app_id", "code", "legacy_token", "device_id", "device_name", "phone_code", "refresh_token", "all", "encrypted_data",
    "iv",
)  # fmt: skip
_HEADERS = (
    b"Authorization: Bearer a.b.c", b"Authorization: Basic eA==", b"Authorization:", b"Accept-Language: zh-CN,en;q=0.5",
    b"Accept-Language: *;q=x", b"X-Forwarded-For: 1.2.3.4, ::1", b"X-Forwarded-For: unknown", b"X-Request-Id: abc",
    b"traceparent: 00-x", b"User-Agent: \xff\xfe", b"Origin: https://evil.example", b"Cookie: a=b", b"X-WX-OPENID: o",
    b"X-Original-Url: /", b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-16",
    b"Content-Encoding: gzip", b"Content-Encoding: br", b"Expect: 100-continue", b"Transfer-Encoding: chunked",
    b"Content-Length: 5", b"Range: bytes=0-1", b"If-None-Match: *", b"Upgrade: websocket", b"Accept: x",
)  # fmt: skip
_QUERIES = (
    b"",
    b"?audience=x",
    b"?scope=a+b&scope=%00",
    b"?role=%ff",
    b"?audience=a&audience=b",
    b"?" + b"&" * 200,
    b"?%",
)


class Edge:
    """One request a try; a 500 is a defect, and so is a connection that ends without an answer to a sound request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    async def try_one(self, dice: Dice) -> None:
        """Send it, and read until the edge closes."""
        method, path = dice.pick(_PATHS)
        body = random_json(dice, _NAMES, ["x", "wx00000000000000d1", "a.b.c"]) if method != "GET" else b""
        odd = [dice.pick(_HEADERS) for _ in range(dice.below(4))]
        edited = dice.below(3) == 0
        if edited and odd:
            odd[0] = dice.edited(odd[0])
        head = [
            f"{method} {path}".encode() + dice.pick(_QUERIES) + b" HTTP/1.1",
            b"Host: edge",
            b"Connection: close",
            *(
                []
                if method == "GET"
                else [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
            ),
            *odd,
        ]
        request = b"\r\n".join(head) + b"\r\n\r\n" + body
        if dice.below(10) == 0:
            edited, request = True, dice.edited(request)
        answer = await self._send(request, sound=not (edited or odd))
        self.counts[path] += 1
        if not answer:
            assert edited or odd, request
            return
        assert answer.startswith(b"HTTP/"), (request, answer)
        status = int(answer[9:12])
        self.statuses[status] += 1
        assert status != 500, (request, answer)

    async def _send(self, request: bytes, *, sound: bool) -> bytes:
        reader, writer = await asyncio.open_connection(*self._world.address)
        try:
            writer.write(request)
            reading = asyncio.ensure_future(reader.read())
            if not sound:
                # Perhaps the edge waits for more. It closes on a half-closed connection, so give it time to answer.
                await asyncio.wait({reading}, timeout=0.03)
                if not reading.done():
                    writer.write_eof()
            return await reading
        except OSError:
            return b""
        finally:
            writer.close()
