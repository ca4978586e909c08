"""What a stranger sends cannot break, split, colour or swell the log: one valid, bounded object for each thing told."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.telemetry import configure_logging
from tests.fakes import FakeClock
from tests.telemetry.conftest import Written

HOSTILE = {
    "CR": "a\rb",
    "LF": "a\nb",
    "CRLF and a line of one's own": 'a\r\n{"level":"info","event":"login.ok"}',
    "NEL": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "vertical tab and form feed": "a\x0b\x0cb",
    "ANSI": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "NUL and DEL": "a\x00\x7fb",
    "right-to-left": "\u202egnp.exe",
    "lone surrogate": "a\ud800b",
    "1 MB": "x" * 2**20,
    "1 MB of quotes": '"' * 2**20,
    "1 MB of CJK": "汉" * 2**20,
}
# The longest line that three hostile texts can make: MAX_TEXT characters each, escaped to six bytes, and the rest.
BOUND = 3 * 4000 * 6 + 2000
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def only_line(stream: bytes) -> Any:
    """The one line of a stream, judged as any reader of lines would split it."""
    assert stream.endswith(b"\n")
    body = stream[:-1]
    assert b"\n" not in body
    assert b"\r" not in body
    assert len(stream.decode("utf-8").splitlines()) == 1
    assert len(stream) <= BOUND
    return json.loads(body)


def written_by(*, json_lines: bool, **fields: Any) -> bytes:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    logger = configure_logging(
        json=json_lines, level="debug", service="authsvc-test", stream=stream, clock=FakeClock()
    )
    logger.info("x.y", **fields)
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


@hostile
def test_a_field_stays_one_line(text: str, written: Written) -> None:
    """Whatever the value of a field: one object, on one line, with the field in it."""
    del written
    told = only_line(written_by(json_lines=True, device_name=text))
    assert told["event"] == "x.y"
    assert isinstance(told["device_name"], str)


@hostile
def test_so_do_names_and_nested_values(text: str, written: Written) -> None:
    """Keys of mappings and members of lists are strangers' words as well."""
    del written
    told = only_line(written_by(json_lines=True, client={text: [text, {"deep": text}]}))
    assert told["event"] == "x.y"


@hostile
def test_lines_for_people_stay_lines_too(text: str, written: Written) -> None:
    """On a terminal nothing moves the cursor, changes the colour or begins a second line."""
    del written
    stream = written_by(json_lines=False, device_name=text)
    body = stream.decode("utf-8").removesuffix("\n")
    assert len(body.splitlines()) == 1
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in body)
    assert len(stream) <= BOUND


@given(text=st.text(max_size=50), name=st.text(max_size=20))
def test_any_text_in_any_place(text: str, name: str) -> None:
    """Nothing that text can hold makes a line that is not one."""
    told = only_line(written_by(json_lines=True, value=text, mapping={name: text}))
    assert told["event"] == "x.y"
