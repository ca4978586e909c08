"""Which calls get a line, and what is counted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from authsvc.ports import CallRecord, Event, Observer
from authsvc.telemetry import Metrics, Telemetry
from authsvc.telemetry.metrics import MAX_CHILDREN
from authsvc.telemetry.observer import level_of
from tests.telemetry.conftest import Written

VERIFY = "/authapi.v1.AuthService/VerifyToken"
LOGIN = "/authapi.v1.AuthService/Login"
Samples = Callable[[str, str], dict[tuple[tuple[str, str], ...], float]]


def call(
    method: str = LOGIN, *, code: str = "OK", reason: str = "", ms: float = 3.0, **more: str
) -> CallRecord:
    return CallRecord(method=method, code=code, reason=reason, duration_s=ms / 1000, **more)


def test_it_is_an_observer(written: Written) -> None:
    """
    The core can report to it.
    """
    observer: Observer = written.telemetry()

    observer.event(Event("x.y"))
    assert len(written.lines) == 1


def test_an_ordinary_call_is_one_line(written: Written) -> None:
    """
    The line carries what is known of the call and leaves out what is not.
    """
    telemetry = written.telemetry()
    telemetry.call(call(reason="", principal="local", request_id="r", trace_id="t"))
    telemetry.call(
        call(code="UNAUTHENTICATED", reason="SESSION_ENDED", error="SessionEnded: session ended: LOGOUT")
    )

    first, second = written.lines
    assert first == {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "level": "info",
        "service": "authsvc-test",
        "event": "call.finished",
        "message": "Login OK",
        "trace_id": "t",
        "request_id": "r",
        "duration_ms": 3.0,
        "method": LOGIN,
        "status": "OK",
        "principal": "local",
    }
    assert (second["status"], second["reason"], second["error"]) == (
        "UNAUTHENTICATED",
        "SESSION_ENDED",
        "SessionEnded: session ended: LOGOUT",
    )
    assert second.keys().isdisjoint({"principal", "request_id", "trace_id", "logged_because"})


@pytest.mark.parametrize(
    ("code", "level"),
    [
        *((code, "info") for code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED",
          "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "CANCELLED", "ALREADY_EXISTS", "UNIMPLEMENTED",
          "200", "204", "302", "400", "401", "404")),
        *((code, "warning") for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "429", "502", "503", "504")),
        *((code, "error") for code in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "500", "501")),
    ],
)  # fmt: skip
def test_the_level_follows_the_status_class(written: Written, code: str, level: str) -> None:
    """
    Our faults are errors, overload and outage warnings, everything a caller did or asked for is information.
    """
    written.telemetry(level="debug").call(call(code=code))

    assert level_of(code) == level
    assert [line["level"] for line in written.lines] == [level]


@pytest.mark.parametrize("method", [VERIFY, "/authapi.v1.AuthService/BatchVerifyTokens", "VerifyToken"])
def test_quiet_methods_are_logged_for_cause_only(written: Written, method: str) -> None:
    """
    A thousand good checks leave no line; an error and a slow one (at the threshold) do, and say why.
    """
    telemetry = written.telemetry(slow=timedelta(milliseconds=100), sample_every=10**9)
    for _ in range(1000):
        telemetry.call(call(method))
        telemetry.call(call(method, reason="EXPIRED"))
    telemetry.call(call(method, code="UNAVAILABLE", reason="NOT_FRESH"))
    telemetry.call(call(method, ms=99.9))
    telemetry.call(call(method, ms=100))
    telemetry.call(call(method, ms=100, reason="EXPIRED"))

    assert [(line["logged_because"], line["level"]) for line in written.lines] == [
        ("error", "warning"),
        ("slow", "info"),
        ("slow", "info"),
    ]


@pytest.mark.parametrize("reason", ["", "EXPIRED"])
def test_quiet_methods_are_sampled(written: Written, reason: str) -> None:
    """
    About one line in `sample_every`, good or bad token alike, and no two samples further apart than twice that.
    """
    telemetry = written.telemetry(sample_every=10)
    gaps, seen = [0], 0
    for _ in range(5000):
        telemetry.call(call(VERIFY, reason=reason))
        gaps[-1] += 1
        if written.text.count("\n") > seen:
            seen += 1
            gaps.append(0)

    assert {"sample"} == {line["logged_because"] for line in written.lines}
    assert 400 < len(written.lines) < 600
    assert max(gaps) < 20


def test_a_sample_of_every_call_is_every_call(written: Written) -> None:
    """
    sample_every=1 logs all; zero is refused.
    """
    telemetry = written.telemetry(sample_every=1)
    for _ in range(10):
        telemetry.call(call(VERIFY))

    assert len(written.lines) == 10
    with pytest.raises(ValueError, match="sample_every"):
        written.telemetry(sample_every=0)


def test_calls_are_counted_by_outcome_whether_logged_or_not(written: Written, samples: Samples) -> None:
    """
    Every call is in the counter and the histogram exactly once.
    """
    telemetry = written.telemetry(sample_every=3)
    for _ in range(50):
        telemetry.call(call(VERIFY, ms=0.2))
    telemetry.call(call(VERIFY, reason="EXPIRED"))
    telemetry.call(call(VERIFY, code="UNAVAILABLE", reason="NOT_FRESH"))
    telemetry.call(call(VERIFY, ms=700))
    telemetry.call(call(LOGIN))
    text = telemetry.exposition().decode()

    assert samples(text, "authsvc_calls_total") == {
        (("code", "OK"), ("method", VERIFY), ("reason", "")): 51,
        (("code", "OK"), ("method", VERIFY), ("reason", "EXPIRED")): 1,
        (("code", "UNAVAILABLE"), ("method", VERIFY), ("reason", "NOT_FRESH")): 1,
        (("code", "OK"), ("method", LOGIN), ("reason", "")): 1,
    }
    counts = samples(text, "authsvc_call_duration_seconds_count")
    assert counts == {(("method", VERIFY),): 53, (("method", LOGIN),): 1}
    buckets = samples(text, "authsvc_call_duration_seconds_bucket")
    assert buckets[(("le", "0.0005"), ("method", VERIFY))] == 50


def test_the_usual_call_looks_up_no_label(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After the first call of a kind its children are held: no `labels()` any more.
    """
    telemetry = written.telemetry()
    kinds = [
        call(VERIFY),
        call(LOGIN),
        call(VERIFY, reason="EXPIRED"),
        call(LOGIN, code="ABORTED", reason="LOGIN_CODE_USED"),
    ]
    for record in kinds:
        telemetry.call(record)

    def no_lookup(*_: object, **__: object) -> None:
        raise AssertionError("a label was looked up")

    monkeypatch.setattr("prometheus_client.metrics.MetricWrapperBase.labels", no_lookup)
    for record in kinds:
        telemetry.call(record)


def test_an_event_is_a_line_and_a_count(written: Written, samples: Samples) -> None:
    """
    Name, level and fields appear; the count does not depend on the level being written.
    """
    telemetry = written.telemetry()
    telemetry.event(Event("refresh.reuse", "warning", {"session_id": "s", "user_id": "u"}))
    telemetry.event(Event("cache.swept", "debug", {"count": 3}))

    (line,) = written.lines
    assert (line["event"], line["level"], line["message"], line["session_id"]) == (
        "refresh.reuse",
        "warning",
        "refresh reuse",
        "s",
    )
    assert samples(telemetry.exposition().decode(), "authsvc_events_total") == {
        (("event", "refresh.reuse"),): 1,
        (("event", "cache.swept"),): 1,
    }


@pytest.mark.parametrize(
    "name", ["self", "event", "level", "exc_info", "timestamp", "message", "logger", "method"]
)
def test_no_field_name_breaks_an_event(written: Written, name: str) -> None:
    """
    An observer never raises: fields named like the logger's own parameters are carried all the same.
    """
    written.telemetry().event(Event("x.y", "info", {name: "value"}))

    (line,) = written.lines
    assert line["event"] == "x.y"
    assert line["level"] == "info"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "nonsense"])
def test_every_level_of_an_event_is_written(written: Written, level: str) -> None:
    """
    An unknown level is information; critical is an error.
    """
    written.telemetry(level="debug").event(Event("x.y", level))

    assert [line["level"] for line in written.lines] == [
        {"critical": "error", "nonsense": "info"}.get(level, level)
    ]


def test_secrets_in_events_and_calls_do_not_come_out(written: Written) -> None:
    """
    Neither lines nor metrics show what a mistaken reporter put into fields.
    """
    token = "wxr1." + "A" * 98
    telemetry = written.telemetry()
    telemetry.event(Event("x.y", "info", {"openid": "canary", "note": token}))
    telemetry.call(call(error=f"SomeError: refresh token {token}"))

    assert "canary" not in written.text + telemetry.exposition().decode()
    assert token not in written.text + telemetry.exposition().decode()


def test_wechat_calls_have_their_own_metrics(written: Written, samples: Samples) -> None:
    """
    Event `wechat.call` feeds a counter by app and outcome, and a duration in seconds from either unit.
    """
    telemetry = written.telemetry()
    app = "wx00000000000000d1"
    telemetry.event(Event("wechat.call", "info", {"app_id": app, "outcome": "ok", "duration_ms": 200.0}))
    telemetry.event(Event("wechat.call", "info", {"app_id": app, "outcome": "ok", "duration_s": 0.3}))
    telemetry.event(Event("wechat.call", "warning", {"app_id": app, "outcome": "unavailable"}))
    text = telemetry.exposition().decode()

    assert samples(text, "authsvc_wechat_calls_total") == {
        (("app_id", app), ("outcome", "ok")): 2,
        (("app_id", app), ("outcome", "unavailable")): 1,
    }
    assert samples(text, "authsvc_wechat_call_duration_seconds_count") == {(("app_id", app),): 2}
    assert samples(text, "authsvc_wechat_call_duration_seconds_sum")[(("app_id", app),)] == pytest.approx(0.5)
    assert samples(text, "authsvc_events_total") == {(("event", "wechat.call"),): 3}


def test_gauges_are_read_when_somebody_looks(written: Written, samples: Samples) -> None:
    """
    A later gauge of a name replaces the first; one that fails is absent and hides no other.
    """
    telemetry, value = written.telemetry(), [1.0]

    def fails() -> float:
        raise RuntimeError("canary")

    telemetry.gauge("knowledge_age_seconds", lambda: -1)
    telemetry.gauge("knowledge_age_seconds", lambda: value[0])
    telemetry.gauge("broken", fails)
    telemetry.gauge("last", lambda: 7)
    value[0] = 2.5
    text = telemetry.exposition().decode()

    assert samples(text, "authsvc_knowledge_age_seconds") == {(): 2.5}
    assert samples(text, "authsvc_last") == {(): 7}
    assert samples(text, "authsvc_broken") == {}
    assert "canary" not in text


@pytest.mark.parametrize("name", ["", "With Space", "UPPER", "new\nline", "ünï"])
def test_a_gauge_needs_a_metric_name(written: Written, name: str) -> None:
    """
    A name that would break the exposition is refused where it is registered, at start.
    """
    with pytest.raises(ValueError, match="not a metric name"):
        written.telemetry().gauge(name, lambda: 1)


def test_the_number_of_children_is_bounded(samples: Samples) -> None:
    """
    Names from outside, should they ever arrive, cannot fill the memory: the rest is `other`.
    """
    metrics = Metrics()
    for number in range(MAX_CHILDREN + 50):
        metrics.count_call(f"method{number}", code="OK", reason=f"r{number}")()
        metrics.count_event(f"event{number}")
        metrics.count_wechat_call(app_id=f"app{number}", outcome="ok", duration_s=0.1)
    text = metrics.exposition().decode()

    assert (
        samples(text, "authsvc_calls_total")[(("code", "OK"), ("method", "other"), ("reason", "other"))] == 50
    )
    assert samples(text, "authsvc_events_total")[(("event", "other"),)] == 50
    assert samples(text, "authsvc_wechat_calls_total")[(("app_id", "other"), ("outcome", "other"))] == 50


def test_registries_are_separate_and_typed(written: Written) -> None:
    """
    Two services in one process do not share numbers; the exposition names its format and carries process metrics.
    """
    first, second = written.telemetry(), written.telemetry()
    first.call(call())

    assert LOGIN in first.exposition().decode()
    assert LOGIN not in second.exposition().decode()
    assert first.content_type.startswith("text/plain")
    assert "process_resident_memory_bytes" in first.exposition().decode()


def test_metrics_can_be_shared(written: Written) -> None:
    """
    An edge and a server in one process may report into one registry.
    """
    metrics = Metrics()
    one: Any = written.telemetry(metrics=metrics)

    assert isinstance(one, Telemetry)
    assert one.metrics is metrics
