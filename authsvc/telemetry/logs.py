"""
Log lines: one configuration of structlog for our own events and for what libraries say through `logging`.

Every line, whoever wrote it, passes the same redaction and carries the fields of docs/operations/log-fields.md.
Which calls get a line is decided in `observer`.
"""

import io
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC
from typing import Any, TextIO

import orjson
import structlog

from authsvc.ports import Clock
from authsvc.telemetry.redaction import REDACTED, describe, redact_fields, redact_text, trace

__all__ = ["REDACTED", "Logger", "configure_logging", "current_request"]

# The (request id, trace id) of the call being served, either may be empty: a transport sets it, every line carries it.
current_request: ContextVar[tuple[str, str]] = ContextVar("authsvc_current_request", default=("", ""))

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
# What libraries say below these levels is noise, or (SQL echo) holds parameters.
_LIBRARY_LEVELS = {
    "aiohttp": logging.WARNING,
    "aiohttp.access": logging.WARNING,  # one line per call is ours
    "alembic": logging.WARNING,
    "alembic.runtime.migration": logging.INFO,  # says which revisions ran
    "asyncio": logging.WARNING,
    "grpc": logging.WARNING,
    "sqlalchemy": logging.WARNING,
}
_FIRST = (
    "timestamp",
    "level",
    "service",
    "event",
    "message",
    "trace_id",
    "request_id",
    "duration_ms",
    "error",
)
_SHORTEST_QUOTE = 3

Logger = structlog.typing.FilteringBoundLogger
_Fields = MutableMapping[str, Any]


def configure_logging(*, json: bool, level: str, service: str, stream: TextIO, clock: Clock) -> Logger:
    """
    Make this process log to *stream* in one form, library loggers included, and return the logger to write with.

    *json*: one JSON object per line; otherwise one line for people. A later call replaces an earlier one. Writing
    never raises: a line that cannot be written is lost.

    Raises:
        ValueError: *level* is none of debug, info, warning, error, critical.

    """
    if level not in LEVELS:
        raise ValueError(f"no such log level: {level}")
    sink = _Sink(stream)
    pipeline = _Pipeline(clock=clock, service=service, json=json)
    structlog.configure(
        processors=[pipeline],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger().bind()
    _route_libraries(logger, at_least=LEVELS[level])
    return logger


class _Sink:
    """The end of the pipeline, in the shape structlog calls: one method per level, each writes one line."""

    def __init__(self, stream: TextIO) -> None:
        # UTF-8 whatever the locale says: bytes where the stream lets us.
        self._binary = getattr(stream, "buffer", None)
        self._text = stream
        self._lock = threading.Lock()  # the store's writer thread and libraries' threads log too

    def msg(self, line: bytes) -> None:
        try:
            with self._lock:
                if isinstance(self._binary, io.IOBase):
                    self._binary.write(line)
                    self._binary.flush()
                else:
                    self._text.write(line.decode())
                    self._text.flush()
        except (OSError, ValueError):
            pass  # a full disk, a gone reader, a closed stream: serving goes on without logs

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


class _Pipeline:
    """The one structlog processor: stamp, redact, order, write down."""

    def __init__(self, *, clock: Clock, service: str, json: bool) -> None:
        self._clock = clock
        self._service = service
        self._write = _json_line if json else _human_line

    def __call__(self, _logger: object, method: str, fields: _Fields) -> bytes:
        error = fields.pop("exc_info", None)
        if error is True:
            error = sys.exception()
        elif isinstance(error, tuple):
            error = error[1]
        shown = redact_fields(fields)
        request_id, trace_id = current_request.get()
        if request_id:
            shown.setdefault("request_id", redact_text(request_id))
        if trace_id:
            shown.setdefault("trace_id", redact_text(trace_id))
        if isinstance(error, BaseException):
            shown.update(trace(error))
        instant = self._clock.now().astimezone(UTC)
        event = shown.pop("event", "")
        line: dict[str, Any] = {
            "timestamp": instant.isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": _LEVEL_OF_METHOD.get(method, method),
            "service": self._service,
            "event": event,
            "message": shown.pop("message", None) or event.replace(".", " "),
        }
        for name in _FIRST[5:]:
            if name in shown:
                line[name] = shown.pop(name)
        for name, value in shown.items():
            line.setdefault(name, value)
        return self._write(line)


_LEVEL_OF_METHOD = {"exception": "error", "warn": "warning", "fatal": "critical"}


# JSON allows them as they are; readers of lines end a line at some, and terminals obey others. Each is inside a string,
# where an escape means the same.
_UNRULY = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def _json_line(line: dict[str, Any]) -> bytes:
    written = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    if written.isascii() and b"\x7f" not in written:
        return written
    return _UNRULY.sub(lambda found: f"\\u{ord(found[0]):04x}", written.decode()).encode()


def _human_line(line: dict[str, Any]) -> bytes:
    head = f"{line['timestamp'][11:23]} {line['level'].upper():<8} {_plain(line['message'])}"
    rest = [
        f"{name}={_plain(value)}"
        for name, value in line.items()
        if name not in ("timestamp", "level", "service", "event", "message", "stack")
        and value not in ("", None)
    ]
    frames = "".join(f"\n    {_plain(frame)}" for frame in line.get("stack", ()))
    return f"{head}  {' '.join(rest)}".rstrip().encode() + frames.encode() + b"\n"


def _plain(value: object) -> str:
    """Return *value* on one line without control characters: a log line is not a way to paint the terminal."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


class _LibraryHandler(logging.Handler):
    """Hands a library's record to our pipeline, as event `library.log`."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        level = max((number for number in _LEVEL_NAMES if number <= record.levelno), default=LEVELS["debug"])
        self._logger.log(
            level,
            "library.log",
            message=_library_text(record, error),
            logger=record.name,
            **({} if error is None else {"exc_info": error}),
        )


def _library_text(record: logging.LogRecord, error: BaseException | None) -> str:
    """
    Return the first line of a record's message, exceptions in it reduced to their type.

    Further lines hold reprs (asyncio prints the failed future, SQLAlchemy its parameters); loggers are also fond of
    putting the text of the exception that they log into the message (grpc does).
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    try:
        if arguments:
            text = str(record.msg) % tuple(
                describe(item) if isinstance(item, BaseException) else item for item in arguments
            )
        else:
            text = describe(record.msg) if isinstance(record.msg, BaseException) else record.getMessage()
    except Exception:  # noqa: BLE001 - a library's broken format string must not become our failure
        return "a message that could not be formatted"
    for mentioned in (error, *(item for item in arguments if isinstance(item, BaseException))):
        if mentioned is not None:
            for spelling in (repr(mentioned), str(mentioned)):
                if len(spelling) >= _SHORTEST_QUOTE:
                    text = text.replace(spelling, describe(mentioned))
    return redact_text(text.split("\n", 1)[0])


def _route_libraries(logger: Logger, *, at_least: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler(logger))
    root.setLevel(max(at_least, logging.WARNING))
    for name, floor in _LIBRARY_LEVELS.items():
        library = logging.getLogger(name)
        library.setLevel(max(at_least, floor))
        library.propagate = True
        library.handlers.clear()  # their own would bypass the redaction
