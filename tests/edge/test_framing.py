"""Where a plain request ends: told as aiohttp's parser tells it, or not at all."""

import asyncio
from typing import Any
from unittest.mock import Mock

from aiohttp.http import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from authsvc.edge.framing import framed

_NAMES = st.sampled_from(
    ["Host", "content-length", "Content-Length", "CONTENT-LENGTH ", "Content-Length-X", "X-Content-Length",
     "Transfer-Encoding", "Expect", "Upgrade", "Connection", "X-Request-Id", " folded", "Accept-Language"]
)  # fmt: skip
_VALUES = st.sampled_from(
    ["", "0", "3", "5", "05", "+5", "5, 5", "0x5", "5 ", "\t5", "keep-alive", "close", "chunked", "100-continue",
     "\u0665", "a\rb", "a\nb", "a\0b", "12345678"]
)  # fmt: skip
_BREAKS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r"])
_LINES = st.sampled_from(
    ["POST /api/v1/login HTTP/1.1"] * 6 + ["GET / HTTP/1.1", "POST /api/v1/login HTTP/1.0", "POST  / HTTP/1.1", "X"]
)  # fmt: skip


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    text = draw(_LINES) + draw(_BREAKS)
    for name, value in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=4)):
        text += f"{name}: {value}{draw(_BREAKS)}"
    return (text + draw(_BREAKS)).encode() + draw(st.binary(max_size=8))


def _told_by_aiohttp(data: bytes) -> tuple[int, int]:
    """How many whole or begun requests aiohttp reads, and how many bytes of body it has of the first."""
    loop = Mock(spec=asyncio.AbstractEventLoop)
    protocol: Any = Mock(_reading_paused=False)
    messages, _, _ = HttpRequestParser(protocol, loop, 2**16).feed_data(data)
    body = messages[0][1]
    size = sum(len(part) for part in getattr(body, "_buffer", ()))
    return len(messages), size


@given(_messages())
def test_a_request_ends_where_the_parser_ends_it(data: bytes) -> None:
    """
    Whatever is called plain and whole is one request to aiohttp as well, with all that follows the headers as its body.
    """
    frame = framed(data)
    if frame is None or frame.rest != 0:
        return
    try:
        told = _told_by_aiohttp(data)
    except Exception:  # noqa: BLE001 - it refuses what it is: nothing that could be hidden in it is served
        return
    assert told == (1, len(data) - len(frame.head) - 2)


def test_plain_requests_are_recognized() -> None:
    """
    With a body, without one, with half of one, and with another request behind it.
    """
    head = b"POST /api/v1/login HTTP/1.1\r\nHost: a\r\nX-Request-Id:  Abc \r\nContent-Length: 4\r\n\r\n"
    rests = [getattr(framed(head + body), "rest", None) for body in (b"", b"{}", b"{  }", b"{  }GET")]
    assert rests == [4, 2, 0, -3]
    frame = framed(head)
    assert frame is not None
    assert (frame.line, frame.field(b"x-request-id"), frame.field(b"x-request")) == (
        b"POST /api/v1/login",
        b"Abc",
        b"",
    )


def test_nothing_is_said_of_half_a_head_or_of_what_reads_in_two_ways() -> None:
    """
    Chunks, expectations, two lengths, odd lengths, folds, bare line ends, HTTP/1.0, and connections that end.
    """
    line = b"POST /api/v1/login HTTP/1.1\r\n"
    odd = [
        b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Length: +1", b"Content-Length : 1", b"Content-Length: 1_0", b"A: b\r\n c", b"A: b\nC: d",
        b"Connection: close", b"Upgrade: websocket",
    ]  # fmt: skip
    heads = [line + field + b"\r\n\r\n" for field in odd]
    heads += [line + b"A: b\r\n", b"POST /api/v1/login HTTP/1.0\r\n\r\n", b"POST /api/v1/login\r\n\r\n"]
    assert [head for head in heads if framed(head) is not None] == []
