"""Limits as the world meets them: over HTTP, through a trusted proxy, in processes of their own, Redis included."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.running import running, wait_until
from tests.e2e.serving import SERVE_PORTS, prepare
from tests.e2e.wire import D1, Answer, Service, http_call
from tests.support.redis import RedisServer, redis_server

CARRIER = "203.0.113.7"
# What no client can tell us: only the proxy, whom we trust, writes the last entry.
DODGES: tuple[dict[str, str], ...] = (
    {"X-Forwarded-For": f"198.51.100.1, {CARRIER}"},
    {"X-Forwarded-For": f"::ffff:{CARRIER}"},
    {"X-Forwarded-For": f"{CARRIER}:4711"},
    {"x-forwarded-for": f" {CARRIER} "},
    {"X-Forwarded-For": CARRIER, "X-Real-IP": "198.51.100.2"},
    {"X-Forwarded-For": CARRIER, "Forwarded": "for=198.51.100.3"},
    {"X-Forwarded-For": CARRIER, "X-Client-IP": "198.51.100.4", "CF-Connecting-IP": "198.51.100.5"},
)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, wechat: str, redis: RedisServer) -> Iterator[Service]:
    """Two workers and an edge under the rules that hold by default, but for one that a test can wait for."""
    site = prepare(tmp_path_factory.mktemp("limited"), wechat_url=wechat)
    words = ("serve", "--with-edge", "--workers", "2", "--http-port", "0", *SERVE_PORTS)
    env = {
        **site.env,
        "AUTHSVC_LIMITS_WIDE": "false",
        "AUTHSVC_TRUSTED_PROXIES": "127.0.0.0/8",
        "AUTHSVC_REDIS_URL": redis.url,
        "AUTHSVC_LIMIT_LOGIN_FAILED_DEVICE": "1/h burst 5",
        "AUTHSVC_LIMIT_FORGED_IP": "1/h burst 5",
    }
    with (
        running(site.folder, *words, env=env) as process,
        Service({**process.addresses(), "sandbox": wechat}) as service,
    ):
        yield service


def log_in(service: Service, code: str, device: str, headers: dict[str, str]) -> Answer:
    content = {"app_id": D1, "code": code, "device_id": device}
    return service.post("/api/v1/login", content, headers=headers)


def made_up(number: int) -> str:
    return f"made-up-{number:026d}"


def test_an_abuser_is_stopped_and_the_good_behind_the_same_address_are_not(limited: Service) -> None:
    """
    Over two workers and one Redis five failures pass, however the address is written; everybody else logs in.
    """
    answers = []
    for number in range(4):
        answers.append(log_in(limited, made_up(number), "abuser", {"X-Forwarded-For": CARRIER}))
        for place in range(10):
            code = limited.mint(f"good-{number}-{place}")
            answer = log_in(limited, code, f"phone-{number}-{place}", {"X-Forwarded-For": CARRIER})
            assert answer.status == 200, answer.body
    answers += [
        log_in(limited, made_up(100 + number), "abuser", headers) for number, headers in enumerate(DODGES)
    ]
    assert [answer.status for answer in answers] == [400] * 5 + [429] * 6
    for answer in answers[5:]:
        assert answer.reason == "RATE_LIMITED"
        assert 1 <= int(answer.headers["retry-after"]) <= 600
        assert CARRIER not in str(answer.json)
    elsewhere = log_in(limited, made_up(200), "abuser", {"X-Forwarded-For": "203.0.113.8"})
    assert elsewhere.reason == "LOGIN_CODE_INVALID"


def test_who_is_no_proxy_of_ours_speaks_for_himself(limited: Service) -> None:
    """
    Entries left of the first stranger are the stranger's own words.
    """
    told = ("198.51.100.1, 192.0.2.66", "198.51.100.2, 192.0.2.66", "junk, 192.0.2.66", "192.0.2.66")
    answers = [
        log_in(limited, made_up(300 + number), "liar", {"X-Forwarded-For": told[number % len(told)]})
        for number in range(8)
    ]
    assert [answer.status for answer in answers] == [400] * 5 + [429] * 3


def test_forged_access_tokens_are_stopped_and_good_ones_are_not(limited: Service) -> None:
    """
    The sixth forgery is told to wait; the token of a user behind the same address is judged as ever.
    """
    code = limited.mint("verified")
    token = log_in(limited, code, "verifying-phone", {"X-Forwarded-For": CARRIER}).json["access_token"]
    head, body, _ = token.split(".")
    statuses = []
    for number in range(8):
        forged = f"{head}.{body}.{'A' * 85}{'QRSTUVWX'[number]}"
        statuses.append(check(limited, forged).status)
        assert check(limited, token).status == 200
    assert statuses == [401] * 5 + [429] * 3


def check(service: Service, token: str) -> Answer:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": CARRIER}
    return service.get("/api/v1/verify", headers=headers)


def test_without_redis_no_login_fails_and_the_operator_is_told(limited: Service, redis: RedisServer) -> None:
    """
    Killed: every worker says that it counts for itself, ready all the same; back: they share again by themselves.
    """
    redis.kill()
    for number in range(20):
        code = limited.mint("unshared")
        answer = log_in(limited, code, f"unshared-{number}", {"X-Forwarded-For": CARRIER})
        assert answer.status == 200, answer.body
    degraded = ready(limited)
    assert degraded["status"] == "ready"
    assert "per process" in json.dumps(degraded["degraded"])
    assert "authsvc_limits_shared 0.0" in metrics(limited)
    redis.start()
    wait_until(lambda: "degraded" not in ready(limited), what="the workers to share limits again")
    assert "authsvc_limits_shared 1.0" in metrics(limited)
    assert 'authsvc_limit_refusals_total{limit="login.failed_device"}' in metrics(limited)


def ready(service: Service) -> dict[str, object]:
    return dict(http_call("GET", f"{service.ops}/readyz").json)


def metrics(service: Service) -> str:
    return http_call("GET", f"{service.ops}/metrics").body.decode()
