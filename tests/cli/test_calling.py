"""`sessions`, `token` and `doctor` against a running service, with the exit statuses that scripts rely on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.e2e.running import dev
from tests.e2e.wire import D1, D2, Service

NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with dev(tmp_path_factory.mktemp("dev")) as (_, running):
        yield running


def listed(run: Run, service: Service, *words: str) -> list[dict[str, object]]:
    result = run("sessions", "list", "--grpc-target", service.addresses["grpc"], *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_token_verify_says_active_inactive_or_cannot_know(run: Run, service: Service) -> None:
    """
    Exit status 0, 1 and 2; the verdict is JSON; the token may come as an argument, on standard input or from the
    environment.
    """
    token = service.login("cli-token")["access_token"]
    target = ("--grpc-target", service.addresses["grpc"])
    active = run("token", "verify", *target, token)
    inactive = run("token", "verify", *target, "--audience", "other", token)
    unknown = run("token", "verify", "--grpc-target", NOBODY, token)

    assert (active.exit_code, inactive.exit_code, unknown.exit_code) == (0, 1, 2)
    assert json.loads(active.stdout)["active"]["app_id"] == D1
    assert json.loads(inactive.stdout)["inactive"]["reason"] == "INACTIVE_REASON_WRONG_AUDIENCE"
    assert "UNAVAILABLE" in unknown.stderr
    assert run("token", "verify", *target, "-", stdin=f"{token}\n").exit_code == 0
    assert run("token", "verify", AUTHSVC_TOKEN=token, AUTHSVC_GRPC_TARGET=target[1]).exit_code == 0
    assert run("token", "verify", *target, "--scope", "profile", token).exit_code == 0
    assert run("token", "verify", *target, "--scope", "profile", "--scope", "no", token).exit_code == 1
    assert run("token", "verify", *target, "--role", "admin", token).exit_code == 1
    assert run("token", "verify", *target, "junk").exit_code == 1
    assert run("token", "verify", *target).exit_code == 2
    assert token not in inactive.output + unknown.output


def test_sessions_are_listed_and_revoked(run: Run, service: Service) -> None:
    """
    By user, app and number, across pages; ended ones only when asked for; revoking tells how many ended now.
    """
    logins = [service.login("cli-list", app) for app in (D1, D1, D2)]
    user = str(logins[0]["user_id"])
    target = ("--grpc-target", service.addresses["grpc"])

    def revoke(*words: str) -> int:
        result = run("sessions", "revoke", *target, *words)
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["ended_sessions"])

    assert {str(one["session_id"]) for one in listed(run, service, "--user", user)} == {
        login["session_id"] for login in logins
    }
    assert len(listed(run, service, "--user", user, "--app", D2)) == 1
    assert len(listed(run, service, "--user", user, "--limit", "2")) == 2
    assert revoke("--session", logins[0]["session_id"], "--logout") == 1
    assert revoke("--session", logins[0]["session_id"]) == 0
    assert len(listed(run, service, "--user", user)) == 2
    ended = [one for one in listed(run, service, "--user", user, "--all") if not one.get("live")]
    assert [one["end_reason"] for one in ended] == ["SESSION_END_REASON_LOGOUT"]
    assert revoke("--user", user, "--app", D1) == 1
    assert service.verdict(logins[1]["access_token"]) == "USER_REVOKED"
    assert service.verify(logins[2]["access_token"], D2).HasField("active")
    assert revoke("--user", user) == 1
    assert listed(run, service, "--user", user) == []
    assert service.refresh(logins[2]["refresh_token"]).json["error"]["end_reason"] == "ADMIN"
    assert not any(login[token] in str(ended) for login in logins for token in ("access_token", "openid"))


def test_a_whole_app_can_be_revoked(run: Run, service: Service) -> None:
    """
    Every session of the app is over, for reason admin; logging in again works.
    """
    login = service.login("cli-app", D2)
    result = run("sessions", "revoke", "--app", D2, "--grpc-target", service.addresses["grpc"])

    assert result.exit_code == 0
    assert service.refresh(login["refresh_token"]).json["error"]["end_reason"] == "ADMIN"
    assert service.try_login(service.mint("cli-app", D2), D2).status == 200


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("sessions", "list", "--grpc-target", NOBODY), 1),
        (("sessions", "revoke", "--session", "x", "--grpc-target", NOBODY), 1),
        (("sessions", "revoke"), 2),
        (("sessions", "revoke", "--session", "x", "--user", "y"), 2),
        (("sessions", "list", "--limit", "0"), 2),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_a_sentence(run: Run, words: tuple[str, ...], status: int) -> None:
    """
    Nobody there: 1; a question that makes no sense: 2.
    """
    result = run(*words)

    assert (result.exit_code, type(result.exception)) == (status, SystemExit)
    assert "Error: " in result.stderr


def test_the_services_refusal_is_shown_with_its_reason(run: Run, service: Service) -> None:
    """
    Code, reason and the service's own text.
    """
    words = ("sessions", "revoke", "--session", "A" * 22, "--grpc-target", service.addresses["grpc"])
    result = run(*words)

    assert result.exit_code == 1
    assert "NOT_FOUND (NOT_FOUND): " in result.stderr


def test_doctor_finds_what_is_wrong(run: Run, service: Service, tmp_path: Path) -> None:
    """
    Every check has a line; exit status 1 with anything bad, 0 when all is well; no secret is shown.
    """
    bad = run("doctor", "--grpc-target", NOBODY)
    good_env = complete(run, tmp_path, wechat=service.sandbox)
    good = run("doctor", "--grpc-target", service.addresses["grpc"], **good_env)
    unreachable = run("doctor", "--no-service", **complete(run, tmp_path, wechat="http://127.0.0.1:1"))

    assert bad.exit_code == 1
    assert [line.split(":")[0] for line in bad.stdout.splitlines()] == [
        "BAD  keys", "BAD  apps", "BAD  database", f"BAD  service at {NOBODY.partition(':')[0]}",
    ]  # fmt: skip
    assert (good.exit_code, "BAD" in good.stdout) == (0, False), good.output
    assert unreachable.exit_code == 1
    assert "BAD  WeChat host 127.0.0.1: cannot be reached" in unreachable.stdout
    assert not any(good_env["AUTHSVC_MASTER_KEYS"] in one.output for one in (good, unreachable))


def complete(run: Run, folder: Path, *, wechat: str) -> dict[str, str]:
    """The environment of a site with everything in place."""
    env = {
        "AUTHSVC_ENV": "test",
        "AUTHSVC_MASTER_KEYS": run("keys", "generate", "--master").stdout.strip(),
        "AUTHSVC_SIGNING_KEYS_DIR": "keys",
        "AUTHSVC_APPS_FILE": "apps.toml",
        "AUTHSVC_DATABASE_URL": "sqlite:///authsvc.db",
    }
    run("keys", "generate", "--dir", "keys")
    run("migrate", **env)
    (folder / "apps.toml").write_text(f'[[apps]]\nid = "wx2"\nsecret = "s"\nwechat_url = "{wechat}"\n')
    return env
