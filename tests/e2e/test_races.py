"""Fifty at once: one successor, one send; and what becomes of a refresh token that comes late or twice too old."""

import time
from collections.abc import Iterator

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from tests.e2e.serving import Policy, serve_with_edge
from tests.e2e.wire import D1, Service, at_once, refusal

FIFTY = 50
GRACE_S = 1


def test_50_parallel_refreshes_over_http_have_one_successor(service: Service) -> None:
    """
    All 50 answers carry the same new refresh token and the session stays alive.
    """
    login = service.login("race-http")
    answers = at_once(FIFTY, lambda: service.refresh(login["refresh_token"]))

    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    assert answers[0].json["refresh_token"] != login["refresh_token"]
    assert {service.verdict(answer.json["access_token"]) for answer in answers} == {"active"}
    assert service.refresh(answers[0].json["refresh_token"]).status == 200


def test_50_parallel_refreshes_over_grpc_have_one_successor(service: Service) -> None:
    """
    The same for an internal caller of the contract.
    """
    login = service.login("race-grpc")
    answers = at_once(FIFTY, lambda: service.grpc_refresh(login["refresh_token"]))

    assert len({answer.tokens.refresh_token for answer in answers}) == 1
    assert {answer.session_id for answer in answers} == {login["session_id"]}
    assert service.verdict(answers[-1].tokens.access_token) == "active"
    assert service.refresh(answers[0].tokens.refresh_token).status == 200


def test_a_token_two_steps_behind_is_reuse_and_ends_the_session(service: Service) -> None:
    """
    Refresh reuse is told on both transports, and the newest token is dead with it.
    """
    login = service.login("reuse")
    first = service.refresh(login["refresh_token"]).json
    second = service.refresh(first["refresh_token"]).json
    answer = service.refresh(login["refresh_token"])

    assert (answer.status, answer.reason) == (401, "SESSION_ENDED")
    assert answer.json["error"]["end_reason"] == "REFRESH_REUSE"
    with pytest.raises(grpc.RpcError) as caught:
        service.grpc_refresh(second["refresh_token"])
    assert refusal(caught.value).metadata["end_reason"] == "REFRESH_REUSE"
    assert service.verdict(second["access_token"]) == "SESSION_REVOKED"


@pytest.fixture(scope="module")
def short_grace(tmp_path_factory: pytest.TempPathFactory, wechat: str) -> Iterator[Service]:
    policy: Policy = {D1: {"grace": GRACE_S}}
    with serve_with_edge(tmp_path_factory.mktemp("grace"), wechat=wechat, policy=policy) as (_, service):
        yield service


def test_the_same_token_after_the_grace_window_is_stale(short_grace: Service) -> None:
    """
    Within the window the same successor comes again; after it the session ends as refresh stale.
    """
    service = short_grace
    login = service.login("stale")
    began = time.monotonic()  # noqa: TID251 - the real service's window can only be waited for
    first = service.refresh(login["refresh_token"]).json
    again = service.refresh(login["refresh_token"])
    within = time.monotonic() - began < GRACE_S * 0.9  # noqa: TID251 - as above
    time.sleep(GRACE_S + 0.2)  # noqa: TID251 - as above; 0.2 s for the rotation's own instant
    answer = service.refresh(login["refresh_token"])

    if within:  # a stalled machine may have missed the window; then only the second half can be judged
        assert (again.status, again.json["refresh_token"]) == (200, first["refresh_token"])
    assert (answer.status, answer.reason) == (401, "SESSION_ENDED")
    assert answer.json["error"]["end_reason"] == "REFRESH_STALE"
    dead = service.refresh(first["refresh_token"])
    assert dead.json["error"]["end_reason"] == "REFRESH_STALE"
    assert service.verdict(first["access_token"]) == "SESSION_REVOKED"


def test_50_parallel_logins_with_one_code_reach_wechat_once(service: Service) -> None:
    """
    The sandbox saw exactly one request; those who got an answer got the same session, the others are told that the
    code is used.
    """
    code = service.mint("race-login")
    answers = at_once(FIFTY, lambda: service.try_login(code))

    assert service.arrived(code) == 1
    good = [answer for answer in answers if answer.status == 200]
    assert good
    assert len({answer.json["session_id"] for answer in good}) == 1
    assert {(a.status, a.reason) for a in answers if a.status != 200} <= {(409, "LOGIN_CODE_USED")}
    assert service.verdict(good[0].json["access_token"]) == "active"


def test_50_parallel_logins_over_grpc_reach_wechat_once(service: Service) -> None:
    """
    The same for callers of the contract.
    """
    code = service.mint("race-login-grpc")

    def login() -> str:
        try:
            request = pb.LoginRequest(app_id=D1, mini_program_code=code)
            response: pb.LoginResponse = service.auth.Login(request, timeout=30)
        except grpc.RpcError as error:
            return refusal(error).reason
        return response.session_id

    outcomes = set(at_once(FIFTY, login))

    assert service.arrived(code) == 1
    assert len(outcomes - {"LOGIN_CODE_USED"}) == 1


@pytest.mark.parametrize("fault", ["drop", "drop-consumed", "cut-body"])
def test_a_dropped_answer_spends_the_code_after_one_send(service: Service, fault: str) -> None:
    """
    50 parallel logins whose connection is dropped after reading: one send, and everybody is told to get a new code.
    """
    code = service.mint("race-drop", fault=fault, fault_times=None)
    answers = at_once(FIFTY, lambda: service.try_login(code))

    assert service.arrived(code) == 1
    told = {(answer.status, answer.reason) for answer in answers}
    assert (409, "LOGIN_CODE_SPENT") in told
    assert told <= {(409, "LOGIN_CODE_SPENT"), (409, "LOGIN_CODE_USED")}
    again = service.try_login(code)
    assert (again.status, again.reason) == (409, "LOGIN_CODE_USED")
    assert service.arrived(code) == 1
