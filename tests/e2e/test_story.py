"""The whole story, as a user and as a script see it: the demo, the printed walk-through, one session's life."""

import json
import re
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from authapi.v1 import types_pb2
from tests.e2e.running import Running, bare_environment, command, dev
from tests.e2e.wire import D1, D2, D3, Service, refusal

LOGOUT = types_pb2.SESSION_END_REASON_LOGOUT
BASH = shutil.which("bash")
CURL = shutil.which("curl")


def test_the_demo_plays_the_whole_story_and_exits_0(tmp_path: Path) -> None:
    """
    Every step's check is shown as met; nothing is logged as an error and nothing is left in the folder.
    """
    done = command("demo", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\d+\. ", done.stdout, re.MULTILINE)) == 9
    assert "✗" not in done.stdout
    assert "SESSION_REVOKED" in done.stdout
    assert "That is the whole story" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not (BASH and CURL), reason="SKIPPED LOUDLY: the walk-through needs bash and curl")
def test_the_printed_walk_through_works_as_pasted(shared: tuple[Running, Service]) -> None:
    """
    Line by line in one bash: a login, a phone number, active, a refresh, ended, session revoked by logout, refresh refused.
    """
    process, _ = shared
    lines = process.stdout.partition("Paste these, line by line")[2].splitlines()[1:]
    script = [line for line in lines if line]
    marked = "\n".join(f"{line}\necho; echo =={number}==" for number, line in enumerate(script))
    assert BASH
    done = subprocess.run(  # noqa: S603 - what the product itself printed
        [BASH], input=marked, cwd=process.folder, env=bare_environment(), text=True, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    pieces = re.split(r"==\d+==", done.stdout)
    shown = [
        json.loads(piece)
        for line, piece in zip(script, pieces, strict=False)
        if piece.strip() and not line.startswith("#")
    ]

    assert done.stderr == ""
    login, phone, active, refreshed, logout, dead, refused = shown
    assert phone["phone_number"]
    assert active["active"]["user_id"] == login["user_id"]
    assert refreshed["session_id"] == login["session_id"]
    assert refreshed["refresh_token"] != login["refresh_token"]
    assert logout == {"ended_sessions": 1}
    assert dead["inactive"] == {
        "reason": "INACTIVE_REASON_SESSION_REVOKED",
        "session_end_reason": "SESSION_END_REASON_LOGOUT",
    }
    assert refused["error"]["end_reason"] == "LOGOUT"


def test_a_session_lives_is_verified_refreshed_and_revoked(service: Service) -> None:
    """
    Login → active with user, session, app, openid, scopes and expiry → refresh → Revoke → inactive(session revoked);
    the refresh token is dead too, over gRPC and over HTTP.
    """
    login = service.login("story")
    before = datetime.now(UTC)  # noqa: TID251 - compared with an expiry the real service chose, hours apart
    active = service.verify(login["access_token"]).active

    assert active.user_id == login["user_id"]
    assert active.session_id == login["session_id"]
    assert active.app_id == D1
    assert active.openid == login["openid"]
    assert list(active.scopes) == ["profile"]
    assert list(active.audiences) == [D1]
    assert timedelta(hours=1.8) < active.expires_at.ToDatetime(UTC) - before < timedelta(hours=2, seconds=10)
    edge = service.edge_verify(login["access_token"])
    assert (edge.status, edge.body) == (200, b"")
    assert edge.headers["x-auth-user"] == login["user_id"]
    assert edge.headers["x-auth-session"] == login["session_id"]
    assert edge.headers["x-auth-app"] == D1
    assert edge.headers["x-auth-scopes"] == "profile"

    refreshed = service.grpc_refresh(login["refresh_token"])
    assert (refreshed.user_id, refreshed.session_id) == (login["user_id"], login["session_id"])
    assert service.verdict(refreshed.tokens.access_token) == "active"

    revoked = service.revoke(session_id=login["session_id"], reason=LOGOUT)
    assert revoked.ended_sessions == 1
    for token in (login["access_token"], refreshed.tokens.access_token):
        response = service.verify(token)
        assert response.inactive.reason == types_pb2.INACTIVE_REASON_SESSION_REVOKED
        assert response.inactive.session_end_reason == LOGOUT
        assert (service.edge_verify(token).status, service.edge_verify(token).reason) == (
            401,
            "TOKEN_INVALID",
        )
    assert_dead(service, refreshed.tokens.refresh_token, end_reason="LOGOUT")


def assert_dead(service: Service, refresh_token: str, *, end_reason: str) -> None:
    """The refresh token is refused on both transports for the same stated reason."""
    answer = service.refresh(refresh_token)
    assert (answer.status, answer.reason, answer.json["error"]["end_reason"]) == (
        401,
        "SESSION_ENDED",
        end_reason,
    )
    with pytest.raises(grpc.RpcError) as caught:
        service.grpc_refresh(refresh_token)
    refused = refusal(caught.value)
    assert (refused.code, refused.reason, refused.metadata["end_reason"]) == (
        "UNAUTHENTICATED",
        "SESSION_ENDED",
        end_reason,
    )


def test_users_sessions_verdicts_and_openids_survive_a_restart(tmp_path: Path) -> None:
    """
    After Ctrl-C and a second start: the live session goes on, the ended one stays ended for its reason, users and
    sandbox openids are the same, keys were not touched, and everything private is 0600.
    """
    with dev(tmp_path) as (first, service):
        live, ended = service.login("alice"), service.login("bob")
        elsewhere = {app: service.login("carol", app) for app in (D1, D2, D3)}
        assert service.logout(ended["access_token"]).status == 200
        kept = private_files(tmp_path / "data")
        assert first.stop(signal.SIGINT) == 0
        assert not first.ready_file.exists()
        assert "stopping" in first.stdout

    assert elsewhere[D1]["user_id"] == elsewhere[D2]["user_id"] != elsewhere[D3]["user_id"]
    assert elsewhere[D1]["unionid"] == elsewhere[D2]["unionid"]
    assert "unionid" not in elsewhere[D3]
    with dev(tmp_path) as (second, service):
        assert service.verdict(live["access_token"]) == "active"
        assert service.edge_verify(live["access_token"]).headers["x-auth-user"] == live["user_id"]
        assert service.refresh(live["refresh_token"]).status == 200
        assert service.verdict(ended["access_token"]) == "SESSION_REVOKED"
        assert service.edge_verify(ended["access_token"]).status == 401
        assert_dead(service, ended["refresh_token"], end_reason="LOGOUT")
        for app in (D1, D2, D3):
            again = service.login("carol", app)
            assert again["user_id"] == elsewhere[app]["user_id"]
            assert again["openid"] == elsewhere[app]["openid"]
            assert again["is_new_user"] is False
        assert private_files(tmp_path / "data") == kept
        assert second.stop(signal.SIGTERM) == 0


def private_files(data: Path) -> dict[str, bytes]:
    """The key files by name with their content; everything in the directory must be private."""
    for path in [data, *data.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    keys = [data / "master.key", *sorted((data / "signing").iterdir())]
    assert len(keys) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in keys)
    return {path.name: path.read_bytes() for path in keys}
