"""Several workers behave as one service: revocation, codes, refresh, metrics."""

import statistics
import threading
import time
from typing import Self

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from tests.e2e.running import wait_until
from tests.e2e.wire import D1, TIMEOUT_S, at_once, refusal
from tests.workers.fleet import VERIFY, Connection, Fleet

FIFTY = 50


def test_what_one_worker_revoked_all_refuse(shared: Fleet) -> None:
    """
    All workers take the token first. After the acknowledged revoke nobody who is asked with its cursor takes it, at
    once; asked without, everybody refuses soon, and no worker takes it again.
    """
    connections = shared.reach_all()
    login = shared.login("revoked")
    token = login.tokens.access_token
    assert {one.verdict(token) for one in connections} == {"active"}
    revoked = connections[0].auth.Revoke(pb.RevokeRequest(access_token=token), timeout=TIMEOUT_S)

    assert {one.verdict(token, at_least=revoked.cursor) for one in connections} == {"SESSION_REVOKED"}
    assert {one.verdict(token) for one in connections} == {"SESSION_REVOKED"}


def test_without_a_cursor_all_workers_refuse_by_themselves(shared: Fleet) -> None:
    """
    Nobody asks for the position: each worker's own reading of the log brings the revocation there.
    """
    connections = shared.reach_all()
    token = shared.login("revoked-quietly").tokens.access_token
    connections[0].auth.Revoke(pb.RevokeRequest(access_token=token), timeout=TIMEOUT_S)
    refused: set[Connection] = set()

    def by_all() -> bool:
        for one in connections:
            verdict = one.verdict(token)
            assert verdict == "SESSION_REVOKED" or one not in refused, "taken again"
            if verdict == "SESSION_REVOKED":
                refused.add(one)
        return len(refused) == len(connections)

    wait_until(by_all, what="a refusal by every worker")


@pytest.mark.long
def test_a_revocation_is_everywhere_within_a_second(shared: Fleet) -> None:
    """
    Invariant I1: 40 revokes over changing workers; the last VerifyToken that was started after the acknowledgement
    and still said active started less than 1 s after it, not counting what this machine itself stood still.
    """
    connections = shared.reach_all()
    lags: list[float] = []
    for turn in range(40):
        token = shared.login(f"lag-{turn}").tokens.access_token
        asked = connections[turn % len(connections)]
        with _Stalls() as stalls:
            asked.auth.Revoke(pb.RevokeRequest(access_token=token), timeout=TIMEOUT_S)
            acknowledged = time.monotonic()  # noqa: TID251 - measures real processes
            late = 0.0
            waiting = list(connections)
            while waiting:
                for one in tuple(waiting):
                    began = time.monotonic()  # noqa: TID251 - as above
                    if one.verdict(token) == "active":
                        late = began - acknowledged
                    else:
                        waiting.remove(one)
        lags.append(late - stalls.seconds)

    assert max(lags) < 1.0, f"median {statistics.median(lags):.3f} s, all: {lags}"


def test_50_parallel_logins_with_one_code_reach_wechat_once(shared: Fleet) -> None:
    """
    Over connections to all workers: the sandbox saw one request, one session came of it, everybody else was told
    that the code is used.
    """
    connections = shared.reach_all()
    code = shared.service.mint("race-workers")
    turn = iter(connections * FIFTY)
    outcomes = at_once(FIFTY, lambda: next(turn).login(code))

    assert shared.service.arrived(code) == 1
    assert len(set(outcomes) - {"LOGIN_CODE_USED"}) == 1
    assert len(set(outcomes)) == 2, "all 50 came to one worker"


def test_one_refresh_token_at_all_workers_has_one_successor(shared: Fleet) -> None:
    """
    50 parallel refreshes over connections to all workers: the same new refresh token for all, every access token
    active, and the successor works.
    """
    connections = shared.reach_all()
    login = shared.login("race-refresh")
    turn = iter(connections * FIFTY)

    def refresh() -> pb.RefreshTokenResponse:
        request = pb.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
        response: pb.RefreshTokenResponse = next(turn).auth.RefreshToken(request, timeout=TIMEOUT_S)
        return response

    answers = at_once(FIFTY, refresh)
    (successor,) = {answer.tokens.refresh_token for answer in answers}

    assert successor != login.tokens.refresh_token
    assert {answer.session_id for answer in answers} == {login.session_id}
    assert {connections[0].verdict(answer.tokens.access_token) for answer in answers} == {"active"}
    assert shared.service.grpc_refresh(successor).tokens.refresh_token != successor


def test_metrics_add_up_over_workers(shared: Fleet) -> None:
    """
    A known number of calls, spread over all workers, is counted exactly, in the counter and in the histogram; each
    process has its own `process_*`; the view's gauges are one number.
    """
    connections = shared.reach_all()
    token = shared.login("counted").tokens.access_token
    counted = shared.metric("authsvc_calls_total", method=VERIFY, code="OK")
    timed = shared.metric("authsvc_call_duration_seconds_count", method=VERIFY)
    in_buckets = shared.metric("authsvc_call_duration_seconds_bucket", method=VERIFY, le="+Inf")
    for one in connections * 3:
        one.verdict(token)
    calls = 3 * len(connections)

    assert shared.metric("authsvc_calls_total", method=VERIFY, code="OK") == counted + calls
    assert shared.metric("authsvc_call_duration_seconds_count", method=VERIFY) == timed + calls
    assert (
        shared.metric("authsvc_call_duration_seconds_bucket", method=VERIFY, le="+Inf") == in_buckets + calls
    )
    for worker in ("supervisor", "worker-0", "worker-1", "worker-2"):
        assert shared.metric("process_resident_memory_bytes", worker=worker) > 0
    assert shared.metric("authsvc_workers_serving") == 3
    assert shared.metric("authsvc_revocation_position", worker="worker-0") == 0
    assert shared.metric("authsvc_revocation_position") > 0


def test_a_taken_code_is_told_the_same_by_every_worker(shared: Fleet) -> None:
    """
    After one worker has used a code, each of them says so; WeChat is not asked again.
    """
    connections = shared.reach_all()
    code = shared.service.mint("taken")
    connections[0].login(code)

    for one in connections:
        with pytest.raises(grpc.RpcError) as caught:
            one.auth.Login(pb.LoginRequest(app_id=D1, mini_program_code=code), timeout=TIMEOUT_S)
        assert refusal(caught.value).reason == "LOGIN_CODE_USED"
    assert shared.service.arrived(code) == 1


class _Stalls:
    """How long this machine did nothing for us while we wanted to run."""

    STEP_S = 0.005

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()  # noqa: TID251 - measures the real machine
            self._over.wait(self.STEP_S)
            late = time.monotonic() - began - self.STEP_S  # noqa: TID251 - as above
            if late > 10 * self.STEP_S:
                self.seconds += late
