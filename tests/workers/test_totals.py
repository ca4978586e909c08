"""Metrics of several processes as one page."""

from prometheus_client.parser import text_string_to_metric_families

from authsvc.telemetry import Metrics, Page, Totals

EMPTY = Metrics().exposition()


def page(process: str, *, calls: int = 0, age_s: float = 0.0, position: int = 0) -> Page:
    """What a process says after so many calls."""
    metrics = Metrics()
    for _ in range(calls):
        metrics.count_call("/a/B", code="OK", reason="")()
        metrics.method("/a/B").observe(0.003)
    metrics.gauge("revocation_age_seconds", lambda: age_s)
    metrics.gauge("revocation_position", lambda: float(position))
    metrics.gauge("something_new", lambda: float(position))
    return Page(process=process, text=metrics.exposition())


def read(text: bytes, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of this name by their labels."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    }


def calls(text: bytes) -> float:
    return sum(read(text, "authsvc_calls_total").values())


def test_counters_and_histograms_add_up() -> None:
    """
    Over processes, series by series; our own count too.
    """
    merged = Totals().merge(
        page("own", calls=1).text, {"a": page("1", calls=2), "b": page("2", calls=3)}, owner="supervisor"
    )

    assert read(merged, "authsvc_calls_total") == {(("code", "OK"), ("method", "/a/B"), ("reason", "")): 6.0}
    assert read(merged, "authsvc_call_duration_seconds_count") == {(("method", "/a/B"),): 6.0}
    buckets = read(merged, "authsvc_call_duration_seconds_bucket")
    assert buckets[("le", "0.0025"), ("method", "/a/B")] == 0.0
    assert buckets[("le", "0.005"), ("method", "/a/B")] == 6.0
    assert round(sum(read(merged, "authsvc_call_duration_seconds_sum").values()), 6) == 0.018


def test_counters_never_go_back() -> None:
    """
    Not while a process does not answer, not when another one has taken its name, however often it is looked at.
    """
    totals = Totals()
    seen = [
        calls(totals.merge(EMPTY, pages, owner="supervisor"))
        for pages in (
            {"a": page("1", calls=5), "b": page("2", calls=1)},
            {"b": page("2", calls=2)},  # a is down
            {"a": page("3", calls=0), "b": page("2", calls=2)},  # a is another one
            {"a": page("3", calls=4), "b": page("2", calls=2)},
            {"a": page("3", calls=4), "b": page("2", calls=2)},
            {},
        )
    ]

    assert seen == [6.0, 7.0, 7.0, 11.0, 11.0, 11.0]


def test_last_words_are_counted_once() -> None:
    """
    What a process says at its end replaces what it had said before, also after its successor has its name; settled,
    it stays in the sums.
    """
    totals = Totals()
    totals.merge(EMPTY, {"a": page("1", calls=5)}, owner="supervisor")
    totals.merge(EMPTY, {"a": page("2", calls=1)}, owner="supervisor")
    totals.take(page("1", calls=8))

    assert calls(totals.merge(EMPTY, {"a": page("2", calls=1)}, owner="supervisor")) == 9.0
    totals.settle("1")
    totals.settle("nobody")
    assert calls(totals.merge(EMPTY, {"a": page("2", calls=1)}, owner="supervisor")) == 9.0


def test_gauges_tell_the_worst_knowledge() -> None:
    """
    The oldest age and the lowest position; an unknown gauge keeps a line per process; who is silent has none.
    """
    totals = Totals()
    pages = {"a": page("1", age_s=0.1, position=9), "b": page("2", age_s=7.0, position=4)}
    merged = totals.merge(EMPTY, pages, owner="supervisor")

    assert read(merged, "authsvc_revocation_age_seconds") == {(): 7.0}
    assert read(merged, "authsvc_revocation_position") == {(): 4.0}
    assert read(merged, "authsvc_something_new") == {(("worker", "a"),): 9.0, (("worker", "b"),): 4.0}
    alone = totals.merge(EMPTY, {"a": pages["a"]}, owner="supervisor")
    assert read(alone, "authsvc_revocation_age_seconds") == {(): 0.1}
    assert read(alone, "authsvc_something_new") == {(("worker", "a"),): 9.0}


def test_label_values_survive() -> None:
    """
    Quotes, backslashes and line ends in a label's value come out as they went in.
    """
    odd = 'a"b\\c\nd\\n'
    metrics = Metrics()
    metrics.count_event(odd)
    merged = Totals().merge(EMPTY, {"a": Page("1", metrics.exposition())}, owner="supervisor")

    assert read(merged, "authsvc_events_total") == {(("event", odd),): 1.0}
