"""Telemetry: what the core reports becomes metrics always, and log lines where a line is worth its cost."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from authsvc.ports import CallRecord, Entropy, Event
from authsvc.telemetry.logs import Logger
from authsvc.telemetry.metrics import Metrics

# Calls too frequent for a line each (DESIGN section 10).
# By last segment of the method. Health probes come every few seconds and say nothing while all is well.
QUIET_METHODS = frozenset({"VerifyToken", "BatchVerifyTokens", "verify", "Check", "healthz", "readyz"})
# A flood must not flood the log: what limits refuse is counted, and told by `limits.refusing` every few seconds.
_COUNTED_ONLY = "RATE_LIMITED"
_PENDING = 256
_WARNINGS = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})
_ERRORS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})
_HTTP_SUCCESS = frozenset({"1", "2", "3"})
_HTTP_WARNINGS = frozenset({"429", "502", "503", "504"})
# Parameters of the logger's own methods: an event's field of such a name gets an underscore.
_RESERVED = frozenset({"self", "event", "exc_info"})


def level_of(code: str) -> str:
    """Return the level of a line about a call that ended with *code*, a gRPC code's name or an HTTP status."""
    if code in _WARNINGS or code in _HTTP_WARNINGS:
        return "warning"
    if code in _ERRORS or (code.isdigit() and code.startswith("5")):
        return "error"
    return "info"


def is_success(code: str) -> bool:
    """Tell whether *code* means that the call did what it was asked to."""
    return code == "OK" or (code.isdigit() and code[0] in _HTTP_SUCCESS)


class Telemetry:
    """
    Implements ports.Observer.

    A quiet method (default: VerifyToken, BatchVerifyTokens) gets a line only for an error, for a call of at least
    *slow*, and for about one in *sample_every* of the rest; any other method gets a line per call. What limits refuse
    gets none. `call` belongs to
    one event loop; events may come from any thread.
    """

    def __init__(
        self,
        *,
        logger: Logger,
        entropy: Entropy,
        slow: timedelta = timedelta(milliseconds=250),
        sample_every: int = 1000,
        quiet_methods: frozenset[str] = QUIET_METHODS,
        metrics: Metrics | None = None,
    ) -> None:
        if sample_every < 1:
            raise ValueError("sample_every counts calls from 1")
        self.metrics = Metrics() if metrics is None else metrics
        self._logger = logger
        self._entropy = entropy
        self._slow_s = slow.total_seconds()
        self._sample_every = sample_every
        self._quiet_methods = quiet_methods
        self._until_sample = self._next_sample()
        # Durations of ordinary OK calls of quiet methods that the metrics do not have yet, by method: taking them
        # over in batches spares each call three locks and some cold code. Whoever reads the metrics has them all.
        self._pending: dict[str, list[float]] = {}

    def call(self, record: CallRecord) -> None:
        """See ports.Observer.call."""
        duration_s = record.duration_s
        if record.code == "OK" and not record.reason and duration_s < self._slow_s:
            pending = self._pending.get(record.method)
            if pending is not None:
                pending.append(duration_s)
                if len(pending) >= _PENDING:
                    self._settle()
                self._until_sample -= 1
                if self._until_sample <= 0:
                    self._until_sample = self._next_sample()
                    self._write(record, why="sample")
                return
        self._call(record)

    def event(self, event: Event) -> None:
        """See ports.Observer.event."""
        self.metrics.count_event(event.name)
        if event.name == "wechat.call":
            self._count_wechat(event.fields)
        elif event.name == "limits.refused":
            self.metrics.count_refusal(str(event.fields.get("limit", "")))
        elif event.name == "process.exited":
            self.metrics.worker_restarts.inc()
        fields = {f"{name}_" if name in _RESERVED else name: value for name, value in event.fields.items()}
        self._method_of(event.level)(event.name, **fields)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """See ports.Observer.gauge."""
        self.metrics.gauge(name, read)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        self._settle()
        return self.metrics.exposition()

    @property
    def content_type(self) -> str:
        """The media type of `exposition`."""
        return self.metrics.content_type

    def _call(self, record: CallRecord) -> None:
        method = self.metrics.method(record.method)
        count = method.counts.get((record.code, record.reason)) or self.metrics.count_call(
            record.method, code=record.code, reason=record.reason
        )
        count()
        method.observe(record.duration_s)
        if record.reason == _COUNTED_ONLY:
            return
        quiet = record.method.rpartition("/")[2] in self._quiet_methods
        if not quiet:
            self._write(record)
        elif not is_success(record.code):
            self._write(record, why="error")
        elif record.duration_s >= self._slow_s:
            self._write(record, why="slow")
        else:
            if record.code == "OK" and not record.reason and ("OK", "") in method.counts:
                self._pending.setdefault(record.method, [])
            self._until_sample -= 1
            if self._until_sample <= 0:
                self._until_sample = self._next_sample()
                self._write(record, why="sample")

    def _settle(self) -> None:
        for name, pending in self._pending.items():
            method = self.metrics.method(name)
            count = method.counts["OK", ""]
            for duration_s in pending:
                count()
                method.observe(duration_s)
            pending.clear()

    def _write(self, record: CallRecord, *, why: str = "") -> None:
        fields: dict[str, Any] = {
            "method": record.method,
            "status": record.code,
            "duration_ms": round(record.duration_s * 1000, 3),
        }
        for name in ("reason", "principal", "request_id", "trace_id", "error"):
            value = getattr(record, name)
            if value:
                fields[name] = value
        if why:
            fields["logged_because"] = why
        message = f"{record.method.rpartition('/')[2]} {record.code}"
        self._method_of(level_of(record.code))("call.finished", message=message, **fields)

    def _count_wechat(self, fields: Mapping[str, str | float | bool]) -> None:
        duration_s = None
        if isinstance(spent_ms := fields.get("duration_ms"), int | float):
            duration_s = spent_ms / 1000
        elif isinstance(spent_s := fields.get("duration_s"), int | float):
            duration_s = float(spent_s)
        self.metrics.count_wechat_call(
            app_id=str(fields.get("app_id", "")),
            outcome=str(fields.get("outcome", "")),
            duration_s=duration_s,
        )

    def _method_of(self, level: str) -> Callable[..., Any]:
        match level:
            case "debug":
                return self._logger.debug
            case "warning":
                return self._logger.warning
            case "error" | "critical":
                return self._logger.error
            case _:
                return self._logger.info

    def _next_sample(self) -> int:
        # Uniform over 1 .. 2n-1: n on average, and nobody can time a call to be, or not to be, the one.
        return 1 + int(self._entropy.fraction() * (2 * self._sample_every - 1))
