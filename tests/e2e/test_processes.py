"""`serve`, `edge` and `sandbox` as processes of their own, and `serve --with-edge` under supervision."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.running import Running, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare, serve_with_edge
from tests.e2e.wire import Service, http_call


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wechat: str) -> Site:
    return prepare(tmp_path_factory.mktemp("site"), wechat_url=wechat)


def descendants(pid: int) -> list[int]:
    """The processes below one, at any depth, as the kernel lists them."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,stat="],  # noqa: S607 - wherever ps is
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    parents = {
        int(words[0]): int(words[1])
        for words in map(str.split, listed.splitlines())
        if not words[2].startswith("Z")
    }
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in descendants(child)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_edge_alone_serves_in_front_of_a_server_alone(site: Site, wechat: str, tmp_path: Path) -> None:
    """
    Two deployments: the edge holds no keys, works with the server, says not ready without it, and finds it again.
    """
    words = ("serve", *SERVE_PORTS)
    edge_folder = tmp_path / "edge"
    edge_folder.mkdir()
    with running(site.folder, *words, env=site.env) as server:
        target = server.addresses()["grpc"]
        env = {"AUTHSVC_ENV": "test", "AUTHSVC_GRPC_TARGET": target}
        edge_words = ("edge", "--http-port", "0", "--ops-port", "0")
        with running(edge_folder, *edge_words, env=env) as edge:
            addresses = {"grpc": target, **edge.addresses(), "sandbox": wechat}
            with Service(addresses) as service:
                login = service.login()
                assert service.verdict(login["access_token"]) == "active"
                assert service.get("/readyz").status == 200
                assert server.stop() == 0
                wait_until(lambda: service.get("/readyz").status == 503, what="the edge misses its server")
                answer = service.refresh(login["refresh_token"])
                assert (answer.status, answer.reason) == (503, "STORE_UNAVAILABLE")
                assert service.get("/healthz").status == 200
                port = target.rpartition(":")[2]
                again = ("serve", "--grpc-port", port, "--ops-port", "0")
                with running(site.folder, *again, env=site.env) as restarted:
                    restarted.addresses()
                    wait_until(lambda: service.get("/readyz").status == 200, what="the edge finds it again")
                    assert service.refresh(login["refresh_token"]).status == 200
            assert edge.stop(signal.SIGINT) == 0
            assert not edge.ready_file.exists()


def test_a_second_server_on_the_port_fails_loudly(site: Site) -> None:
    """
    No two servers share a port by accident.
    """
    with running(site.folder, "serve", *SERVE_PORTS, env=site.env) as first:
        port = first.addresses()["grpc"].rpartition(":")[2]
        other = site.folder / "other"
        other.mkdir(exist_ok=True)
        with running(other, "serve", "--grpc-port", port, "--ops-port", "0", env=site.env) as second:
            assert second.process.wait(30) == 1
            assert port in second.stderr
            assert "Traceback" not in second.stderr


def test_readiness_goes_before_the_server_does(site: Site) -> None:
    """
    While it drains, /readyz says 503 and calls are still answered.
    """
    words = ("serve", *SERVE_PORTS, "--drain-wait", "30")
    with running(site.folder, *words, env=site.env) as server:
        addresses = server.addresses()
        with Service(addresses) as service:
            server.process.send_signal(signal.SIGTERM)
            ready = addresses["ops"] + "/readyz"
            wait_until(lambda: http_call("GET", ready).status == 503, what="not ready while draining")
            assert service.verdict("junk") == "MALFORMED"
            assert not server.ready_file.exists()
            assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM


def test_a_killed_part_is_started_again_on_its_port(tmp_path: Path, wechat: str) -> None:
    """
    Edge and server, killed one after the other, come back where they were; a session goes on; each exit is logged.
    """
    with serve_with_edge(tmp_path, wechat=wechat) as (process, service):
        login = service.login()
        for number in range(2):
            (victim,) = [
                pid for pid in descendants(process.process.pid) if role(pid) == ("edge", "serve")[number]
            ]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: not alive(victim), what="the part is gone")  # type: ignore[misc]
            wait_until(lambda: works(service, login["access_token"]), what="the part is back on its port")
        wait_until(lambda: service.get("/readyz").status == 200, what="the edge finds the server again")
        assert service.refresh(login["refresh_token"]).status == 200
        assert process.stderr.count('"event":"process.exited"') == 2
        assert process.process.poll() is None


def role(pid: int) -> str:
    """Which command a process runs."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[words.index(b"authsvc") + 1].decode()


def works(service: Service, token: str) -> bool:
    try:
        return service.edge_verify(token).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "twice", "SIGKILL"])
def test_no_part_outlives_its_supervisor(tmp_path: Path, wechat: str, how: str) -> None:
    """
    Asked politely it stops all and exits 0; told twice, or killed, it leaves nobody behind either.
    """
    more = ("--drain-wait", "300") if how == "twice" else ()
    with serve_with_edge(tmp_path, *more, wechat=wechat) as (process, _):
        below = descendants(process.process.pid)
        assert {role(pid) for pid in below} == {"serve", "edge"}
        if how == "SIGKILL":
            process.process.kill()
            process.process.wait(30)
        elif how == "twice":
            process.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not process.ready_file.exists(), what="it begins to stop")
            assert process.stop() == 128 + signal.SIGTERM
        else:
            assert process.stop(signal.Signals[how]) == 0
            assert not process.ready_file.exists()
            assert not any(alive(pid) for pid in below)
        wait_until(lambda: not any(alive(pid) for pid in below), what="all parts end")


def test_supervision_tells_a_child_that_cannot_start(site: Site, tmp_path: Path) -> None:
    """
    A taken HTTP port ends the whole start with a sentence and a status, and leaves nothing running.
    """
    with running(tmp_path, "sandbox", "--sandbox-port", "0") as other:
        port = other.addresses()["sandbox"].rpartition(":")[2]
        words = ("serve", "--with-edge", "--http-port", port, *SERVE_PORTS)
        with running(site.folder, *words, env=site.env) as process:
            assert process.process.wait(60) == 1
            assert port in process.stderr
            assert not process.ready_file.exists()


@pytest.mark.parametrize("part", ["http", "ops", "sandbox"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "127.0.0.1, evil.example"]
)  # fmt: skip
def test_a_foreign_host_header_is_refused(shared: tuple[Running, Service], part: str, host: str) -> None:
    """
    A web page that rebinds its name to this machine reads nothing from sandbox, operations or the dev edge.
    """
    url = shared[1].addresses[part]
    path = {"http": "/healthz", "ops": "/metrics", "sandbox": "/sandbox/v1/apps"}[part]
    answer = http_call("GET", url + path, headers={"Host": host})

    assert answer.status in {400, 403, 421}
    assert b"wx0000" not in answer.body
    assert b"authsvc_" not in answer.body


@pytest.mark.parametrize("part", ["http", "ops", "sandbox"])
def test_local_names_are_served(shared: tuple[Running, Service], part: str) -> None:
    """
    With and without a port, in any case.
    """
    url = shared[1].addresses[part]
    path = {"http": "/healthz", "ops": "/metrics", "sandbox": "/sandbox/v1/apps"}[part]
    for host in ("localhost", "127.0.0.1:1", "LOCALHOST:8080", "[::1]:80"):
        assert http_call("GET", url + path, headers={"Host": host}).status == 200, host


def test_the_sandbox_alone(wechat: str) -> None:
    """
    Any team can use it: codes are minted and exchanged, and every answer carries the marker.
    """
    app = "wx00000000000000d3"
    code = http_call("POST", wechat + "/sandbox/v1/codes", {"app_id": app, "user": "zoe"}).json["code"]
    query = (
        f"appid={app}&secret=5a4d00000000000000000000000000d3&js_code={code}&grant_type=authorization_code"
    )
    first = http_call("GET", f"{wechat}/sns/jscode2session?{query}")
    second = http_call("GET", f"{wechat}/sns/jscode2session?{query}")

    assert set(first.json) == {"openid", "session_key"}
    assert second.json["errcode"] == 40163
    assert first.headers["content-type"].startswith("text/plain")
