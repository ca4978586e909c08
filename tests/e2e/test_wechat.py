"""Phone numbers, encrypted data and secrets over real processes, by HTTP as a mini-program and by gRPC as a service."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import grpc
import pytest

from authapi.v1 import auth_service_pb2
from authapi.v1 import wechat_service_pb2 as pb
from authsvc.sandbox.user_data import VARIANTS
from tests.e2e.running import dev, wait_until
from tests.e2e.wire import D1, D2, TIMEOUT_S, Answer, Service, http_call, refusal

SECOND_SECRET = "5a4d0000" + "e" * 24
# What the data themselves show without a key, or once they are open; what may also be a wrong key is stale.
INVALID = {"wrong-app", "short-iv", "truncated", "spaces", "percent", "not-base64"}
# Not about encryptedData at all, or not hostile.
OPENS = {"faithful", "old", "previous-key", "raw-reserialised", "raw-signature"}


def grpc_phone(service: Service, code: str, **subject: object) -> str:
    """The number, or the reason why not, by gRPC."""
    request = pb.GetPhoneNumberRequest(code=code, **subject)  # type: ignore[arg-type]
    try:
        return str(service.wechat.GetPhoneNumber(request, timeout=TIMEOUT_S).phone_number)
    except grpc.RpcError as error:
        return refusal(error).reason


def grpc_decrypt(service: Service, data: dict[str, str], token: str) -> str:
    """The text, or the reason why not, by gRPC."""
    request = pb.DecryptUserDataRequest(
        access_token=token, encrypted_data=data["encrypted_data"], iv=data["iv"]
    )
    try:
        return str(service.wechat.DecryptUserData(request, timeout=TIMEOUT_S).user_data_json)
    except grpc.RpcError as error:
        return refusal(error).reason


def finished_logins(service: Service) -> float:
    """How many logins the server has answered, as its metrics count them."""
    page = http_call("GET", service.ops + "/metrics").body.decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith('authsvc_calls_total{code="OK",method="/authapi.v1.AuthService/Login"')
    )


def outcome(answer: Answer) -> str:
    return "ok" if answer.status == 200 else answer.reason


def test_a_login_brings_the_phone_number_along(service: Service) -> None:
    """One request with both codes; without a number the login stands and says why; by gRPC just the same."""
    number = service.wechat_user("phone-login")["phone"]
    body = {
        "app_id": D1,
        "code": service.mint("phone-login"),
        "phone_code": service.mint_phone("phone-login"),
    }
    both = service.post("/api/v1/login", body).json
    assert (both["phone_number"], "phone_error" in both) == (number, False)
    body = {"app_id": D1, "code": service.mint("phone-login"), "phone_code": service.mint_phone("somebody")}
    half = service.post("/api/v1/login", body)
    assert (half.status, half.json["phone_error"], "phone_number" in half.json) == (
        200,
        "PHONE_CODE_INVALID",
        False,
    )
    assert service.verdict(half.json["access_token"]) == "active"
    response = service.grpc_login("phone-login", phone_code=service.mint_phone("phone-login"))
    assert response.phone_number == number


def test_a_phone_code_is_good_for_its_user_and_once(service: Service) -> None:
    """By either way it works once; another user's, a login code and a used one have one reason, and login stays login."""
    number, login = service.wechat_user("phone-call")["phone"], service.login("phone-call")
    token, code = login["access_token"], service.mint_phone("phone-call")
    answer = service.phone(token, code)
    assert (answer.status, answer.json["phone_number"], answer.json["bound"]) == (200, number, False)
    target = auth_service_pb2.UserTarget(user_id=login["user_id"], app_id=D1)
    assert grpc_phone(service, service.mint_phone("phone-call"), user=target) == number
    for bad in (code, service.mint_phone("another-caller"), service.mint("phone-call"), "no such code"):
        assert outcome(service.phone(token, bad)) == "PHONE_CODE_INVALID"
        assert grpc_phone(service, bad, access_token=token) == "PHONE_CODE_INVALID"
    crossed = service.mint_phone("phone-call")
    assert outcome(service.try_login(crossed)) == "LOGIN_CODE_INVALID"
    assert outcome(service.phone(token, crossed)) == "ok"
    service.logout(token)
    assert outcome(service.phone(token, service.mint_phone("phone-call"))) == "TOKEN_INVALID"


def test_encrypted_data_follow_the_key(service: Service) -> None:
    """They open under the key of the login; after a login elsewhere they are stale until the user logs in here again."""
    login = service.login("walker")
    token, data = login["access_token"], service.encrypted("walker", kind="run")
    answer = service.decrypt(token, data)
    assert answer.json["user_data"]["stepInfoList"][0]["step"] == 8848
    assert answer.json["user_data"] == json.loads(grpc_decrypt(service, data, token))
    service.replace_session_key("walker")
    newer = service.encrypted("walker", kind="run")
    assert (service.decrypt(token, newer).status, outcome(service.decrypt(token, newer))) == (
        409,
        "SESSION_KEY_STALE",
    )
    assert grpc_decrypt(service, newer, token) == "SESSION_KEY_STALE"
    again = service.login("walker")
    for each in (newer, data):  # the latest key, and the one before
        assert service.decrypt(again["access_token"], each).status == 200


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_hostile_variant_has_its_one_reason(service: Service, variant: str) -> None:
    """The same documented reason over HTTP and gRPC, and nothing of the data in the answer."""
    user = f"hostile-{variant}"
    service.login(user)
    service.replace_session_key(user)
    token = service.login(user)["access_token"]
    data = service.encrypted(user, variant=variant)
    answer = service.decrypt(token, data)
    if variant in OPENS:
        assert answer.status == 200
        assert grpc_decrypt(service, data, token).startswith("{")
        return
    expected = "USER_DATA_INVALID" if variant in INVALID else "SESSION_KEY_STALE"
    expected = "INVALID_FIELD" if variant == "empty" else expected
    assert (outcome(answer), grpc_decrypt(service, data, token)) == (expected, expected)
    shown = answer.body.decode()
    assert len(data["iv"]) < 8 or data["iv"] not in shown
    assert set(answer.json["error"]) <= {"code", "reason", "message", "request_id", "fields"}


def test_a_signature_is_checked_over_the_very_text(service: Service) -> None:
    """The rawData that WeChat gave passes; written anew, or signed by somebody else, it does not."""
    user = auth_service_pb2.UserTarget(user_id=service.login("signer")["user_id"], app_id=D1)
    for variant, valid in (("faithful", True), ("raw-reserialised", False), ("raw-signature", False)):
        data = service.encrypted("signer", variant=variant)
        request = pb.CheckUserDataSignatureRequest(
            user=user, raw_data=data["raw_data"], signature=data["signature"]
        )
        assert service.wechat.CheckUserDataSignature(request, timeout=TIMEOUT_S).valid is valid


def test_a_session_key_is_checked_and_reset(service: Service) -> None:
    """Valid after a login, no more after one elsewhere; a reset gives another key, under which data open."""
    user = auth_service_pb2.UserTarget(user_id=service.login("keys")["user_id"], app_id=D1)
    assert service.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(user=user), timeout=TIMEOUT_S).valid
    before = service.wechat_user("keys")["session_key"]
    service.wechat.ResetSessionKey(pb.ResetSessionKeyRequest(user=user), timeout=TIMEOUT_S)
    assert service.wechat_user("keys")["session_key"] != before
    data = service.encrypted("keys")
    request = pb.DecryptUserDataRequest(user=user, encrypted_data=data["encrypted_data"], iv=data["iv"])
    assert service.wechat.DecryptUserData(request, timeout=TIMEOUT_S).user_data_json
    service.replace_session_key("keys")
    assert not service.wechat.CheckSessionKey(pb.CheckSessionKeyRequest(user=user), timeout=TIMEOUT_S).valid


def test_a_secret_that_changes_under_load_costs_one_new_code_at_most(tmp_path: Path) -> None:
    """
    The app's secret is reset at WeChat while users log in all the time, with the next one configured: whoever meets the
    change is told LOGIN_CODE_SPENT, and their next code works; phone numbers work before and after.
    """
    file = tmp_path / "apps.toml"
    file.write_text(f'[[apps]]\nid = "{D1}"\nnext_secret = "{SECOND_SECRET}"\n')
    with dev(tmp_path, "--apps-from", str(file)) as (process, service):
        token = service.login("caller")["access_token"]
        assert service.phone(token, service.mint_phone("caller")).status == 200
        changed, rounds = Event(), 30

        def log_in(number: int) -> list[str]:
            """The outcomes of one user who logs in with new codes until one works."""
            found = [outcome(service.try_login(service.mint(f"user-{number}")))]
            while found[-1] != "ok" and len(found) < 5:
                found.append(outcome(service.try_login(service.mint(f"user-{number}"))))
            return found

        def client(number: int) -> list[list[str]]:
            before = [log_in(number) for _ in range(rounds)]
            changed.wait(TIMEOUT_S)
            return before + [log_in(number) for _ in range(rounds)]

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(client, number) for number in range(8)]
            wait_until(lambda: finished_logins(service) > 40, what="logins run")
            service.reset_secret(D1, SECOND_SECRET)
            changed.set()
            logins = [one for done in clients for one in done.result()]
        counts = Counter(tuple(one) for one in logins)

        assert set(counts) <= {("ok",), ("LOGIN_CODE_SPENT", "ok")}, counts
        assert counts["ok",] >= rounds * 8
        assert ("LOGIN_CODE_SPENT", "ok") in counts, "nobody met the change"
        assert service.phone(token, service.mint_phone("caller")).status == 200
        assert SECOND_SECRET not in process.stdout + process.stderr


def test_a_hanging_wechat_of_one_app_is_nobody_elses_trouble(tmp_path: Path) -> None:
    """
    With all of its slots hanging, an app's logins fail by deadline and its breaker opens; meanwhile and afterwards the
    other app's logins and phone numbers are answered as ever.
    """
    file = tmp_path / "apps.toml"
    file.write_text(
        f'[[apps]]\nid = "{D2}"\nwechat_deadline = 4\nwechat_concurrency = 3\nwechat_breaker_faults = 3\n'
        "wechat_breaker_cool_off = 600\n"
    )
    with dev(tmp_path, "--apps-from", str(file), "--log-format", "json") as (process, service):
        codes = [service.mint(f"stuck-{number}", D2, fault="delay;60") for number in range(6)]
        with ThreadPoolExecutor(len(codes)) as pool:
            stuck = [pool.submit(service.try_login, code, D2) for code in codes]
            wait_until(lambda: sum(service.arrived(code) for code in codes) >= 3, what="all slots hang")
            for number in range(5):
                login = service.login(f"free-{number}")
                assert (
                    service.phone(login["access_token"], service.mint_phone(f"free-{number}")).status == 200
                )
            outcomes = {outcome(one.result()) for one in stuck}
        assert outcomes <= {"LOGIN_CODE_SPENT", "WECHAT_UNAVAILABLE"}
        assert "LOGIN_CODE_SPENT" in outcomes
        wait_until(lambda: "wechat.breaker_opened" in process.stderr, what="the breaker opens")
        opened = [json.loads(line) for line in process.stderr.splitlines() if "wechat.breaker_opened" in line]
        assert {line["app_id"] for line in opened} == {D2}
        code = service.mint("late", D2)
        assert (outcome(service.try_login(code, D2)), service.arrived(code)) == ("WECHAT_UNAVAILABLE", 0)
        assert service.try_login(service.mint("free")).status == 200
