"""SIGHUP: other apps without a restart, on real processes; what cannot be used changes nothing."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from authapi.v1 import auth_service_pb2 as pb
from tests.e2e.key_load import published
from tests.e2e.running import FREE_PORTS, PATIENCE_S, PYTHON, Running, bare_environment, command, dev, running
from tests.e2e.running import wait_until as wait
from tests.e2e.serving import SERVE_PORTS, Site, prepare, serve_with_edge, write_apps
from tests.e2e.wire import D1, D2, D3, Service, http_call, refusal
from tests.workers.fleet import fleet, ground


def events(process: Running, name: str) -> list[dict[str, Any]]:
    """The log lines of this event."""
    lines = (line for line in process.stderr.splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, lines) if line["event"] == name]


def hang_up(process: Running, *, until: str, times: int = 1) -> dict[str, Any]:
    """Send SIGHUP and return the event that it led to, once there are *times* of it."""
    process.process.send_signal(signal.SIGHUP)
    wait(lambda: len(events(process, until)) >= times, what=until)
    return events(process, until)[-1]


def login_outcome(service: Service, app_id: str, user: str = "alice") -> str:
    """`ok`, or the reason of the refusal, of a login by gRPC."""
    try:
        service.auth.Login(
            pb.LoginRequest(app_id=app_id, mini_program_code=service.mint(user, app_id)), timeout=PATIENCE_S
        )
    except grpc.RpcError as error:
        return refusal(error).reason
    return "ok"


@contextmanager
def plain_server(folder: Path, wechat: str) -> Iterator[tuple[Running, Service, Site]]:
    """`authsvc serve` of the apps d1 and d2."""
    site = prepare(folder / "site", wechat_url=wechat)
    write_apps(site, wechat_url=wechat, only=(D1, D2))
    with (
        running(site.folder, "serve", *SERVE_PORTS, env=site.env) as process,
        Service({**process.addresses(), "sandbox": wechat}) as service,
    ):
        yield process, service, site


def test_a_plain_server_takes_other_apps_without_a_restart(tmp_path: Path, wechat: str) -> None:
    """
    An app comes, one goes, one changes: calls before and after are answered by the same process, the old session goes
    on under the new rules, and the event says what happened, by app id.
    """
    with plain_server(tmp_path, wechat) as (process, service, site):
        assert [login_outcome(service, app_id) for app_id in (D1, D2, D3)] == ["ok", "ok", "UNKNOWN_APP"]
        session = service.grpc_login("kept")
        write_apps(site, wechat_url=wechat, only=(D1, D3), policy={D1: {"audiences": ["elsewhere"]}})
        told = hang_up(process, until="apps.reloaded")

        assert (told["added"], told["removed"], told["changed"], told["apps"]) == (D3, D2, D1, 2)
        assert (told["level"], told["needs_restart"]) == ("info", "")
        assert [login_outcome(service, app_id) for app_id in (D1, D2, D3)] == ["ok", "UNKNOWN_APP", "ok"]
        renewed = service.grpc_refresh(session.tokens.refresh_token)
        assert service.verify(renewed.tokens.access_token, audience="elsewhere").HasField("active")
        metrics = http_call("GET", service.ops + "/metrics").body.decode()
        assert 'authsvc_events_total{event="apps.reloaded"} 1.0' in metrics
        assert process.process.poll() is None


def test_what_cannot_be_used_changes_nothing_and_is_told_whole(tmp_path: Path, wechat: str) -> None:
    """
    Every complaint at once in one event, without a secret; the old apps stay; the next good file is taken.
    """
    with plain_server(tmp_path, wechat) as (process, service, site):
        file = site.folder / "apps.toml"
        good = file.read_text()
        file.write_text(good.replace('scopes = ["profile"]', "grace = 301", 1) + '[[apps]]\nid = "x"\n')
        told = hang_up(process, until="apps.not_reloaded")

        assert "apps[1].grace" in told["error"]
        assert "apps[3].secret" in told["error"]
        assert [login_outcome(service, app_id) for app_id in (D1, D2)] == ["ok", "ok"]
        file.write_text(good)
        assert hang_up(process, until="apps.reloaded")["changed"] == ""


def test_a_plain_server_says_what_a_reload_cannot_change(tmp_path: Path, wechat: str) -> None:
    """
    A master key that was added meanwhile needs a restart: the apps are taken, and the event warns, naming the setting.
    """
    with plain_server(tmp_path, wechat) as (process, _, site):
        done = command("keys", "generate", "--master", cwd=site.folder)
        assert done.returncode == 0, done.stderr
        with (site.folder / "master.key").open("a") as file:
            file.write("," + done.stdout)
        told = hang_up(process, until="apps.reloaded")

        assert (told["level"], told["needs_restart"]) == ("warning", "master_keys")


def test_a_new_signing_key_is_published_without_a_restart(tmp_path: Path, wechat: str) -> None:
    """
    A key file that was added meanwhile is taken at SIGHUP: told by its id, in the published set, and nobody restarts.
    """
    with plain_server(tmp_path, wechat) as (process, service, site):
        before = published(service.addresses["grpc"])
        done = command("keys", "generate", "--dir", str(site.folder / "keys"), cwd=site.folder)
        assert done.returncode == 0, done.stderr
        told = hang_up(process, until="keys.reread")

        assert published(service.addresses["grpc"]) == before | {told["added"]}
        assert process.process.poll() is None


def test_all_workers_take_other_apps_and_stay(tmp_path: Path) -> None:
    """
    The supervisor hands the order on: the same processes serve the new apps, each of them; a file that cannot be used
    costs no worker and no app.
    """
    with ground(tmp_path / "ground") as base, fleet(tmp_path, base) as one:
        workers, connections = one.pids, one.reach_all()
        write_apps(one.site, wechat_url=base.wechat, policy={D1: {"enabled": False}})
        hang_up(one.process, until="apps.reloaded", times=len(workers))

        assert {line["service"] for line in one.events("apps.reloaded")} == {"worker-0", "worker-1"}
        assert {connection.login(one.service.mint()) for connection in connections} == {"APP_DISABLED"}
        assert one.pids == workers
        assert one.metric("authsvc_events_total", event="apps.reloaded") == len(workers)
        (one.site.folder / "apps.toml").write_text("nothing = 1\n")
        assert "apps_file" in hang_up(one.process, until="workers.not_renewed")["error"]
        assert {connection.login(one.service.mint()) for connection in connections} == {"APP_DISABLED"}
        assert one.pids == workers


def test_the_server_behind_an_edge_takes_other_apps(tmp_path: Path, wechat: str) -> None:
    """
    `serve --with-edge` is told by its supervisor as well; the edge goes on.
    """
    with serve_with_edge(tmp_path, wechat=wechat) as (process, service):
        write_apps(Site(process.folder), wechat_url=wechat, policy={D2: {"enabled": False}})
        hang_up(process, until="apps.reloaded")

        assert service.try_login(service.mint("alice", D2), D2).reason == "APP_DISABLED"
        assert service.try_login(service.mint("alice", D1), D1).status == 200


def test_dev_takes_an_apps_file_and_reads_it_again(tmp_path: Path) -> None:
    """
    A table changes what a built-in app says, and a hangup brings the next change; the others stay as they are.
    """
    file = tmp_path / "apps.toml"
    file.write_text(f'[[apps]]\nid = "{D1}"\naudiences = ["mine"]\n')
    with dev(tmp_path, "--apps-from", str(file), "--log-format", "json") as (process, service):
        assert service.verify(service.login()["access_token"], audience="mine").HasField("active")
        file.write_text(f'[[apps]]\nid = "{D1}"\nenabled = false\n')
        told = hang_up(process, until="apps.reloaded")

        assert told["changed"] == D1
        assert service.try_login(service.mint()).reason == "APP_DISABLED"
        assert service.try_login(service.mint("alice", D2), D2).status == 200


def test_a_terminal_that_closes_still_ends_what_it_started(tmp_path: Path) -> None:
    """
    SIGHUP because the terminal is gone is no order to read a file: nothing goes on without anybody to stop it.
    """
    ready = tmp_path / "ready.json"
    leader, follower = pty.openpty()
    # A session of its own whose terminal is the follower: opening it without NOCTTY makes it so.
    with subprocess.Popen(  # noqa: S603 - the arguments are our own
        [
            PYTHON, "-c",
            "import os, sys; os.setsid(); os.close(os.open(sys.argv[1], os.O_RDWR)); os.execv(sys.argv[2], sys.argv[2:])",
            os.ttyname(follower), PYTHON, "-m", "authsvc", "dev", *FREE_PORTS,
            "--data-dir", str(tmp_path / "data"), "--ready-file", str(ready),
        ],
        cwd=tmp_path, env=bare_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            wait(ready.exists, what="it serves")
            os.close(follower)
            os.close(leader)
            assert process.wait(PATIENCE_S) == 0
            assert not ready.exists()
        finally:
            if process.poll() is None:
                process.kill()
