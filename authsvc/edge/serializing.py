"""An answer as bytes, for where aiohttp does not write it."""

from aiohttp import web


def serialize(response: web.Response) -> bytes:
    """
    Return the whole HTTP/1.1 message, its Content-Length last of the headers.

    Raises:
        TypeError: its body is no bytes.

    """
    body = response.body
    if not isinstance(body, bytes):
        raise TypeError("an error reply has a body of bytes")
    head = "".join(
        f"{name}: {value}\r\n" for name, value in response.headers.items() if name != "Content-Length"
    )
    start = f"HTTP/1.1 {response.status} {response.reason}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return start.encode("ascii") + body
