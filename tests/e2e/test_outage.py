"""The outage ladder (DESIGN section 11), row by row, over real processes."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.e2e.outages import unreadable, write_locked
from tests.e2e.rows import LANGUAGES, assert_row
from tests.e2e.running import IMPATIENT, Running, dev, wait_until
from tests.e2e.serving import sandbox, serve_with_edge
from tests.e2e.wire import D1, Service, http_call, refusal


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Service]]:
    """An instance of its own, whose knowledge of revocations decides for one second only."""
    with dev(tmp_path_factory.mktemp("outage"), "--hard-bound", "1", env=IMPATIENT) as both:
        yield both


def refused_revoke(service: Service, session_id: str) -> str:
    """The reason with which Revoke refuses; it must not say OK."""
    with pytest.raises(grpc.RpcError) as caught:
        service.revoke(session_id=session_id)
    refused = refusal(caught.value)
    assert refused.code == "UNAVAILABLE"
    assert refused.retry_s
    return refused.reason


def test_while_nothing_can_be_written(fragile: tuple[Running, Service]) -> None:
    """
    Login and refresh are UNAVAILABLE with Retry-After and spend nothing, Revoke never says OK, VerifyToken goes on;
    afterwards the same code logs in and the same refresh token refreshes.
    """
    process, service = fragile
    login = service.login("writes")
    code = service.mint("writes")
    with write_locked(process.folder / "data/authsvc.db"):
        logged_in = service.try_login(code)
        in_english = service.try_login(code, headers={"Accept-Language": LANGUAGES["en"]})
        refreshed = service.refresh(login["refresh_token"])
        logged_out = service.logout(login["access_token"])
        revoke = refused_revoke(service, login["session_id"])
        verdict = service.verdict(login["access_token"])
        sent = service.arrived(code)

    assert_row(in_english, "STORE_UNAVAILABLE", "en")
    for answer in (logged_in, refreshed, logged_out):
        assert_row(answer, "STORE_UNAVAILABLE", "zh")
        assert int(answer.headers["retry-after"]) >= 1
    assert (revoke, verdict, sent) == ("STORE_UNAVAILABLE", "active", 0)
    assert service.try_login(code).status == 200
    assert service.refresh(login["refresh_token"]).status == 200
    assert service.logout(login["access_token"]).json == {"ended_sessions": 1}
    assert service.verdict(login["access_token"]) == "SESSION_REVOKED"


def test_while_nothing_can_be_read(fragile: tuple[Running, Service]) -> None:
    """
    VerifyToken decides from memory up to the hard bound, then it is UNAVAILABLE and never a verdict; forged refresh
    tokens are still told from good ones, without the record; readiness says what is missing; then all is well again.
    """
    process, service = fragile
    live, dead = service.login("reads"), service.login("reads")
    service.logout(dead["access_token"])
    forged = live["refresh_token"][:-6] + "AAAAAA"
    with unreadable(process.folder / "data/authsvc.db"):
        from_memory = service.verdict(live["access_token"]), service.verdict(dead["access_token"])
        wait_until(lambda: service.verdict(live["access_token"]) == "NOT_FRESH", what="the hard bound passes")
        with pytest.raises(grpc.RpcError) as caught:
            service.verify(live["access_token"])
        stale = refusal(caught.value)
        bearer = {"Authorization": f"Bearer {live['access_token']}"}
        edge = {
            language: service.get("/api/v1/verify", headers={**bearer, "Accept-Language": accept})
            for language, accept in LANGUAGES.items()
        }
        ready = http_call("GET", service.ops + "/readyz")
        alive = http_call("GET", service.ops + "/healthz")
        refused = service.refresh(forged)

    assert from_memory == ("active", "SESSION_REVOKED")
    assert (stale.code, stale.reason) == ("UNAVAILABLE", "NOT_FRESH")
    assert stale.retry_s
    for language, answer in edge.items():
        assert_row(answer, "NOT_FRESH", language)
    assert (ready.status, set(ready.json["missing"])) == (503, {"revocations", "store"})
    assert alive.status == 200
    assert (refused.status, refused.reason) == (401, "REFRESH_TOKEN_INVALID")
    wait_until(lambda: service.verdict(live["access_token"]) == "active", what="verdicts come back")
    assert service.verdict(dead["access_token"]) == "SESSION_REVOKED"
    wait_until(lambda: http_call("GET", service.ops + "/readyz").status == 200, what="readiness comes back")
    assert service.refresh(live["refresh_token"]).status == 200


@pytest.mark.long
def test_while_the_record_answers_nothing_at_all(fragile: tuple[Running, Service]) -> None:
    """
    A login is refused unsent and a revocation is never a false OK; both work afterwards.
    """
    process, service = fragile
    login, code = service.login("nothing"), service.mint("nothing")
    with unreadable(process.folder / "data/authsvc.db"):
        logged_in = service.try_login(code)
        revoke = refused_revoke(service, login["session_id"])
        sent = service.arrived(code)

    assert (logged_in.status, logged_in.reason, sent) == (503, "STORE_UNAVAILABLE", 0)
    assert revoke == "STORE_UNAVAILABLE"
    assert service.try_login(code).status == 200
    assert service.revoke(session_id=login["session_id"]).ended_sessions == 1


def test_while_wechat_is_gone(tmp_path: Path) -> None:
    """
    Logins are WECHAT_UNAVAILABLE, unsent; refresh, verify and logout go on.
    """
    policy = {D1: {"wechat_connect_timeout": 0.5}}
    with (
        sandbox(tmp_path / "sandbox") as (player, url),
        serve_with_edge(tmp_path, wechat=url, policy=policy) as (process, service),
    ):
        login, code = service.login(), service.mint()
        player.process.kill()
        player.process.wait(30)
        answers = [service.try_login(code) for _ in range(3)]
        refreshed = service.refresh(login["refresh_token"])

        assert {(answer.status, answer.reason) for answer in answers} == {(503, "WECHAT_UNAVAILABLE")}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert refreshed.status == 200
        assert service.verdict(refreshed.json["access_token"]) == "active"
        assert service.logout(refreshed.json["access_token"]).status == 200
        assert service.verdict(refreshed.json["access_token"]) == "SESSION_REVOKED"
        assert process.process.poll() is None
