"""What operators see of a running service: metrics with the documented names, health, readiness, one line per call."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import Running, dev, wait_until
from tests.e2e.wire import D1, Service, http_call

PAGE = Path(__file__).parents[2] / "docs/operations/log-fields.md"


def metrics(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    answer = http_call("GET", service.ops + "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def documented() -> set[str]:
    """The metric names in the first column of the operators' page."""
    table = PAGE.read_text("utf-8").partition("## Metrics")[2]
    return set(re.findall(r"^\| `(authsvc_[a-z_]+)` \|", table, re.MULTILINE))


def test_metrics_are_parseable_documented_and_count(service: Service) -> None:
    """
    Every exposed name of ours is on the page; a login, a refused login and a verdict are counted where it says.
    """
    before = metrics(service)
    token = service.login("metrics")["access_token"]
    service.try_login(service.mint("metrics", fault="errcode;40029"))
    service.verify(token)
    after = metrics(service)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in after if name.startswith("authsvc_")}
    assert names <= documented()
    # Only where there are several workers, with PostgreSQL, with Redis, and once something was refused.
    assert documented() - names <= {
        "authsvc_workers_serving",
        "authsvc_database_notifications",
        "authsvc_limits_shared",
        "authsvc_limit_refusals_total",
    }
    login = "/authapi.v1.AuthService/Login"
    assert grown("authsvc_calls_total", method=login, code="OK", reason="") == 1
    assert (
        grown("authsvc_calls_total", method=login, code="INVALID_ARGUMENT", reason="LOGIN_CODE_INVALID") == 1
    )
    assert grown("authsvc_call_duration_seconds_count", method="/authapi.v1.AuthService/VerifyToken") >= 1
    assert grown("authsvc_events_total", event="session.opened") == 1
    assert grown("authsvc_wechat_calls_total", app_id=D1, outcome="ok") == 1
    assert grown("authsvc_wechat_calls_total", app_id=D1, outcome="client_fault") == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in after)
    assert 0 <= after["authsvc_revocation_age_seconds", ()] < 30


def test_health_and_readiness(service: Service) -> None:
    """
    Both listeners say that they live and that they are ready.
    """
    for base in (service.ops, service.http):
        assert http_call("GET", base + "/healthz").status == 200
        assert http_call("GET", base + "/readyz").status == 200


def test_one_line_per_call_with_the_same_id_on_edge_and_server(tmp_path: Path) -> None:
    """
    The caller's request id is on the edge's line, the server's line, and in the answer; a bad one is replaced.
    """
    with dev(tmp_path, "--log-format", "json") as (process, service):
        wait_until(lambda: service.get("/readyz").status == 200, what="the edge has found the server")
        answer = service.try_login(service.mint(), headers={"X-Request-Id": "order-4711"})
        replaced = service.try_login("x", headers={"X-Request-Id": "a b\tc" + "d" * 300})
        process.stop()
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    finished = [line for line in lines if line["event"] == "call.finished"]
    ours = [line for line in finished if line.get("request_id") == "order-4711"]

    assert answer.headers["x-request-id"] == "order-4711"
    assert {line["method"] for line in ours} == {"HTTP POST /api/v1/login", "/authapi.v1.AuthService/Login"}
    assert len({line["trace_id"] for line in ours}) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", ours[0]["trace_id"])
    assert replaced.headers["x-request-id"] != "a b\tc" + "d" * 300
    required = {"timestamp", "level", "service", "event", "message"}
    assert all(required <= set(line) for line in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"]) for line in lines)


def test_no_library_writes_past_our_logs(shared: tuple[Running, Service]) -> None:
    """
    Everything on standard error is a line of ours: no traceback, no warning of an interpreter or library.
    """
    process, _ = shared
    for line in process.stderr.splitlines():
        assert isinstance(json.loads(line), dict), line
