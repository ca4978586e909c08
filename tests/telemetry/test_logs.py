"""One form of line for everybody, libraries included."""

import asyncio
import io
import logging
import subprocess
import sys
from datetime import timedelta
from typing import Any

import orjson
import pytest

from authsvc.telemetry import REDACTED, configure_logging, current_request
from tests.fakes import FakeClock
from tests.telemetry.conftest import LIBRARIES, Written

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLWNhbmFyeQ"


def test_a_json_line_has_the_documented_fields_in_order(written: Written) -> None:
    """
    Timestamp from the clock, level, service, event, message come first; then the rest.
    """
    logger = written.configure()
    written.clock.advance(timedelta(milliseconds=1234))
    logger.warning("session.ended", session_id="s", duration_ms=1.5, request_id="r", reason="LOGOUT")

    expected = {
        "timestamp": "2026-01-01T00:00:01.234Z",
        "level": "warning",
        "service": "authsvc-test",
        "event": "session.ended",
        "message": "session ended",
        "request_id": "r",
        "duration_ms": 1.5,
        "session_id": "s",
        "reason": "LOGOUT",
    }
    assert written.lines == [expected]
    assert list(written.lines[0]) == list(expected)


def test_a_field_cannot_pose_as_the_stamp(written: Written) -> None:
    """
    What is logged never replaces timestamp, level or service.
    """
    written.configure().info("x.y", timestamp="then", service="other", level="critical")

    (line,) = written.lines
    assert (line["timestamp"], line["level"], line["service"]) == (
        "2026-01-01T00:00:00.000Z",
        "info",
        "authsvc-test",
    )


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_lines_below_the_level_are_not_written(written: Written, level: str) -> None:
    """
    The threshold holds for each level.
    """
    logger = written.configure(level=level)
    levels = ["debug", "info", "warning", "error", "critical"]
    for name in levels:
        getattr(logger, name)("x.y")

    assert [line["level"] for line in written.lines] == levels[levels.index(level) :]


def test_an_unknown_level_is_refused(written: Written) -> None:
    """
    A misspelt level is a configuration fault, not silence.
    """
    with pytest.raises(ValueError, match="verbose"):
        written.configure(level="verbose")


def test_secrets_in_fields_are_redacted(written: Written) -> None:
    """
    The redaction is part of the pipeline, whoever logs.
    """
    written.configure().info("x.y", access_token="canary-1", detail={"js_code": "canary-2", "list": [JWT]})

    assert "canary" not in written.text
    assert JWT not in written.text
    assert written.lines[0]["access_token"] == REDACTED


def test_the_call_being_served_is_on_every_line(written: Written) -> None:
    """
    Request and trace id of the context are added, also to library lines; a line's own win.
    """
    logger = written.configure()
    before = current_request.set(("req-1", "trace-1"))
    try:
        logger.info("x.y")
        logger.info("x.y", request_id="own")
        logging.getLogger("aiohttp").error("said")
    finally:
        current_request.reset(before)
    logger.info("x.y")

    assert [line.get("request_id") for line in written.lines] == ["req-1", "own", "req-1", None]
    assert [line.get("trace_id") for line in written.lines] == ["trace-1", "trace-1", "trace-1", None]


def test_our_exceptions_show_type_and_places(written: Written) -> None:
    """
    `exc_info` in each of its forms gives error and stack, never the text of a foreign exception.
    """
    logger = written.configure()
    try:
        raise KeyError("canary")
    except KeyError as error:
        logger.exception("x.y")
        logger.error("x.y", exc_info=error)  # noqa: TRY400
        logger.error("x.y", exc_info=(type(error), error, error.__traceback__))  # noqa: TRY400

    assert [line["error"] for line in written.lines] == ["KeyError"] * 3
    assert all(
        line["stack"][-1].endswith("test_our_exceptions_show_type_and_places") for line in written.lines
    )
    assert "canary" not in written.text


@pytest.mark.parametrize("name", LIBRARIES)
def test_library_loggers_come_through_the_same_door(written: Written, name: str) -> None:
    """
    A library's error becomes a `library.log` line with its logger's name, redacted, once.
    """
    written.configure()
    logging.getLogger(name).error("failed with secret=%s and %s", "canary", JWT)

    (line,) = written.lines
    assert ("library.log", "error", name) == (line["event"], line["level"], line["logger"])
    assert line["message"] == f"failed with secret={REDACTED} and {REDACTED}"


def test_library_exceptions_are_reduced_to_types(written: Written) -> None:
    """
    Exceptions as arguments, as message, quoted in the message (as grpc does) or attached: type only.
    """
    written.configure()
    logger = logging.getLogger("grpc")
    try:
        raise ValueError("canary text")
    except ValueError as error:
        logger.exception("Unexpected [%s] raised by [%s]", error, "method")  # noqa: TRY401 - what grpc does
        logger.exception(f"Unexpected {error!r} raised")  # noqa: G004, TRY401
        logger.error(error)  # noqa: TRY400 - the message is the exception
        logger.error("said %s", str(error), exc_info=error)  # noqa: TRY400

    assert "canary" not in written.text
    assert written.lines[0]["message"] == "Unexpected [ValueError] raised by [method]"
    assert [line.get("error") for line in written.lines] == ["ValueError", "ValueError", None, "ValueError"]


async def test_asyncios_report_of_a_lost_exception_shows_no_repr(written: Written) -> None:
    """
    The loop prints the failed future with the exception's text on further lines: only the first is kept.
    """
    written.configure()
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": ValueError("canary"), "task": "canary"}
    )

    (line,) = written.lines
    assert (line["message"], line["error"], line["logger"]) == (
        "Task exception was never retrieved",
        "ValueError",
        "asyncio",
    )
    assert "canary" not in written.text


def test_a_library_that_cannot_format_its_message_breaks_nothing(written: Written) -> None:
    """
    Wrong format arguments give a line that says so.
    """

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("canary")

    written.configure()
    logging.getLogger("aiohttp").error("%d items", "many")
    logging.getLogger("aiohttp").error("%s", Bad())

    assert [line["message"] for line in written.lines] == ["a message that could not be formatted"] * 2


def test_chatter_of_libraries_is_left_out_even_at_debug(written: Written) -> None:
    """
    SQL echo and access lines (parameters, URLs) are never written; Alembic's progress is.
    """
    written.configure(level="debug")
    for name in ("sqlalchemy.engine", "aiohttp.access", "grpc", "asyncio", "somebody.else"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")

    assert [line["message"] for line in written.lines] == ["Running upgrade"]


def test_configuring_again_replaces_the_first(written: Written) -> None:
    """
    Library lines are written once, to the newest stream.
    """
    written.configure()
    second = io.StringIO()
    configure_logging(json=True, level="info", service="second", stream=second, clock=FakeClock())
    logging.getLogger("aiohttp").error("said")

    assert written.text == ""
    assert [orjson.loads(line)["service"] for line in second.getvalue().splitlines()] == ["second"]


def test_a_human_line_is_one_line_without_control_characters(written: Written) -> None:
    """
    Newlines, escape sequences and direction marks in data cannot forge a line or paint the terminal.
    """
    written.configure(json=False).error("x.y", reason="a\nERROR forged\x1b[31m\u202e\x7f", count=3)

    assert written.text.count("\n") == 1
    assert written.text.startswith("00:00:00.000 ERROR    x y  reason=")
    assert all(character.isprintable() for character in written.text[:-1])
    assert "count=3" in written.text


def test_a_human_error_shows_its_stack_below(written: Written) -> None:
    """
    For people, frames are indented lines under the line.
    """
    logger = written.configure(json=False)
    try:
        raise KeyError("canary")
    except KeyError as error:
        logger.error("x.y", exc_info=error)  # noqa: TRY400

    first, *frames = written.text.splitlines()
    assert "error=KeyError" in first
    assert frames
    assert all(frame.startswith("    ") for frame in frames)


def test_bytes_go_out_as_utf8_whatever_the_locale() -> None:
    """
    On an ASCII stream Chinese text is still UTF-8.
    """
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    logger = configure_logging(json=True, level="info", service="s", stream=stream, clock=FakeClock())
    logger.info("x.y", message="登录")

    assert "登录" in raw.getvalue().decode()


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError("no space left")


@pytest.mark.parametrize("closed", [True, False])
def test_a_stream_that_fails_stops_nobody(written: Written, *, closed: bool) -> None:
    """
    A full disk or a closed stream loses lines, never calls.
    """
    stream: Any = io.StringIO() if closed else Broken()
    if closed:
        stream.close()
    logger = configure_logging(json=True, level="info", service="s", stream=stream, clock=FakeClock())

    logger.error("x.y")
    logging.getLogger("aiohttp").error("said")


def test_importing_telemetry_configures_nothing() -> None:
    """
    Only `configure_logging` touches the process: an import leaves structlog and logging as they were.
    """
    code = (
        "import logging, structlog, authsvc.telemetry as t;"
        "assert not structlog.is_configured() and not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own interpreter
