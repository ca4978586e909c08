"""
Prometheus metrics on a registry of our own: calls, events, WeChat calls, and gauges that are read when looked at.

Children are held: a label lookup per call costs 29 µs, a held child 1-2 (pitfalls page, Speed). Label values come
from closed sets (methods, codes, reasons, event names, configured app ids); should one not, the number of children
is bounded all the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

MAX_CHILDREN = 1000
OTHER = "other"
# Seconds. A cached check takes well under a millisecond, a login waits for WeChat.
_CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Method:
    """The held children of one method; `counts` is by (code, reason)."""

    observe: Callable[[float], None]
    counts: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series each, which nobody reads
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "authsvc_calls", "Finished calls.", ("method", "code", "reason"), registry=self.registry
        )
        self._durations = Histogram(
            "authsvc_call_duration_seconds",
            "Time from the arrival of a call to its answer.",
            ("method",),
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self._events = Counter("authsvc_events", "Events, by name.", ("event",), registry=self.registry)
        self._wechat_calls = Counter(
            "authsvc_wechat_calls",
            "Calls to WeChat, by outcome.",
            ("app_id", "outcome"),
            registry=self.registry,
        )
        self._wechat_durations = Histogram(
            "authsvc_wechat_call_duration_seconds",
            "Time a call to WeChat took.",
            ("app_id",),
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "authsvc_limit_refusals",
            "What limits and overload refused, by limit.",
            ("limit",),
            registry=self.registry,
        )
        self.worker_restarts = Counter(
            "authsvc_worker_restarts",
            "Supervised processes that ended by themselves and were started again.",
            registry=self.registry,
        )
        self._gauges = _Gauges()
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)
        self._methods: dict[str, Method] = {}
        self._children = 0
        self._event_counts: dict[str, Callable[[], None]] = {}
        self._refusal_counts: dict[str, Callable[[], None]] = {}
        self._wechat: dict[tuple[str, str], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def method(self, name: str) -> Method:
        """Return the children of a method, making them at its first call; beyond the bound, those of `other`."""
        method = self._methods.get(name)
        if method is None:
            if len(self._methods) >= MAX_CHILDREN:
                name = OTHER
            method = self._methods.setdefault(name, Method(observe=self._durations.labels(name).observe))
        return method

    def count_call(self, name: str, *, code: str, reason: str) -> Callable[[], None]:
        """Return, and hold in the method, the child that counts calls with this outcome."""
        method = self.method(name)
        labels = (name if name in self._methods else OTHER, code, reason)
        if self._children >= MAX_CHILDREN:
            # Not held under its own name, so that the dictionary stays bounded too.
            child: Callable[[], None] = self._calls.labels(labels[0], code, OTHER).inc
            return child
        self._children += 1
        child = self._calls.labels(*labels).inc
        method.counts[code, reason] = child
        return child

    def count_event(self, name: str) -> None:
        """Count an event."""
        count = self._event_counts.get(name)
        if count is None:
            if len(self._event_counts) >= MAX_CHILDREN:
                name = OTHER
            count = self._event_counts.setdefault(name, self._events.labels(name).inc)
        count()

    def count_refusal(self, limit: str) -> None:
        """Count what a limit refused."""
        count = self._refusal_counts.get(limit)
        if count is None:
            if len(self._refusal_counts) >= MAX_CHILDREN:
                limit = OTHER
            count = self._refusal_counts.setdefault(limit, self._refusals.labels(limit).inc)
        count()

    def count_wechat_call(self, *, app_id: str, outcome: str, duration_s: float | None) -> None:
        """Count a call to WeChat and, where it is known, how long it took."""
        children = self._wechat.get((app_id, outcome))
        if children is None:
            if len(self._wechat) >= MAX_CHILDREN:
                app_id, outcome = OTHER, OTHER
            children = self._wechat.setdefault(
                (app_id, outcome),
                (
                    self._wechat_calls.labels(app_id, outcome).inc,
                    self._wechat_durations.labels(app_id).observe,
                ),
            )
        count, observe = children
        count()
        if duration_s is not None:
            observe(duration_s)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """
        Expose `authsvc_<name>`, read when somebody looks; a later one of the same name replaces it.

        Raises:
            ValueError: not a metric name of small letters, digits and underscores.

        """
        if not name.isascii() or not name.replace("_", "a").isalnum() or name != name.lower():
            raise ValueError(f"not a metric name: {name}")
        self._gauges.reads[f"authsvc_{name}"] = read

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    @property
    def content_type(self) -> str:
        """The media type of `exposition`."""
        return CONTENT_TYPE_LATEST


class _Gauges(Collector):
    def __init__(self) -> None:
        self.reads: dict[str, Callable[[], float]] = {}

    def collect(self) -> Iterable[Metric]:
        for name, read in list(self.reads.items()):
            try:
                value = float(read())
            except Exception:  # noqa: BLE001, S112 - one unreadable number must not hide the others; absence is alertable
                continue
            yield GaugeMetricFamily(name, f"Present value of {name.removeprefix('authsvc_')}.", value=value)
