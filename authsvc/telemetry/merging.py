"""
The metrics of several processes as one page, whose counters never go back while the page's owner lives.

What adds up is added up: counters and histograms. What a process was last seen to have counted stays in the sums when
it is gone. Which processes there are, and how to ask them, is not here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# How gauges of all workers become one: each worker holds all facts, the page tells the worst knowledge among them.
# A gauge that is not here keeps a line per process.
_GAUGES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "authsvc_calls_in_flight": sum,
    "authsvc_limits_shared": min,
    "authsvc_overload": max,
    "authsvc_audit_unsealed_age_seconds": max,
    "authsvc_revocation_facts": max,
    "authsvc_revocation_age_seconds": max,
    "authsvc_revocation_position": min,
    "authsvc_signing_key_age_seconds": max,
    "authsvc_signing_keys_missing": max,
    "authsvc_signing_keys_prepared": min,
    "authsvc_verified_tokens": sum,
    "authsvc_watchers": sum,
    "authsvc_watchers_behind": sum,
    "authsvc_workers_serving": max,
}
_ADDED_UP = frozenset({"counter", "histogram", "summary"})
_PER_PROCESS = "process_"
LABEL = "worker"
_Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Page:
    """What one process said of itself; no two processes have the same `process`."""

    process: str
    text: bytes


@dataclass(slots=True)
class _Family:
    name: str
    type: str
    documentation: str
    samples: dict[_Series, float] = field(default_factory=dict)

    def add(self, other: "_Family") -> None:
        for series, value in other.samples.items():
            self.samples[series] = self.samples.get(series, 0.0) + value

    def metric(self) -> Metric:
        metric = Metric(self.name, self.documentation, self.type)
        for (name, labels), value in self.samples.items():
            metric.add_sample(name, dict(labels), value)
        return metric


_Families = dict[str, _Family]


class Totals:
    """The sums over processes that come and go, by name."""

    def __init__(self) -> None:
        self._last: dict[str, _Families] = {}
        self._gone: _Families = {}

    def take(self, page: Page) -> None:
        """Remember what a process says."""
        self._last[page.process] = _read(page.text)

    def settle(self, process: str) -> None:
        """Keep only the sums of a process that will say nothing more."""
        _add(self._gone, self._last.pop(process, {}))

    def merge(self, own: bytes, pages: Mapping[str, Page], *, owner: str) -> bytes:
        """
        Return one page of *own*, the owner's metrics, and of those who answered.

        Of somebody who did not answer the last known counts go on being counted, and gauges are absent.
        """
        present = {owner: _read(own)}
        for name, page in pages.items():
            self.take(page)
            present[name] = self._last[page.process]
        total: _Families = {}
        for families in (present[owner], self._gone, *self._last.values()):
            _add(total, families)
        _add_gauges(total, present)
        registry = CollectorRegistry()
        registry.register(_Given([family.metric() for family in total.values()]))
        return generate_latest(registry)


def _read(text: bytes) -> _Families:
    families: _Families = {}
    for metric in text_string_to_metric_families(text.decode()):
        family = families.setdefault(metric.name, _Family(metric.name, metric.type, metric.documentation))
        for sample in metric.samples:
            family.samples[sample.name, tuple(sample.labels.items())] = sample.value
    return families


def _add(into: _Families, families: _Families) -> None:
    for name, family in families.items():
        if family.type in _ADDED_UP and not name.startswith(_PER_PROCESS):
            into.setdefault(name, _Family(name, family.type, family.documentation)).add(family)


def _add_gauges(into: _Families, present: Mapping[str, _Families]) -> None:
    values: dict[tuple[str, _Series], list[float]] = {}
    for process, families in present.items():
        for name, family in families.items():
            if family.type in _ADDED_UP and not name.startswith(_PER_PROCESS):
                continue
            shown = into.setdefault(name, _Family(name, family.type, family.documentation))
            for (sample, labels), value in family.samples.items():
                if name in _GAUGES:
                    values.setdefault((name, (sample, labels)), []).append(value)
                else:
                    shown.samples[sample, (*labels, (LABEL, process))] = value
    for (name, series), found in values.items():
        into[name].samples[series] = _GAUGES[name](found)


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
