"""What becomes of workers: crashed, frozen, renewed, told to stop, or left alone by their supervisor."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from tests.e2e.running import command, running, wait_until
from tests.e2e.serving import SERVE_PORTS
from tests.workers.fleet import VERIFY, Fleet, Ground, Steady, fleet, is_alive

# "No worker remains after 3 s": a worker ends as soon as it is scheduled, so a passing test never uses this up.
ORPHAN_LIMIT_S = 3.0


def everybody_is_back(one: Fleet, *, but: set[int]) -> bool:
    """All workers serve, none of them being one of those."""
    return not one.missing() and not but & set(one.pids)


def add_key(one: Fleet) -> None:
    """Give the site one more master key: a change that running workers cannot take."""
    done = command("keys", "generate", "--master", cwd=one.site.folder)
    assert done.returncode == 0, done.stderr
    with (one.site.folder / "master.key").open("a") as file:
        file.write("," + done.stdout)


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_killed_worker_is_missed_by_nobody_and_comes_back(shared: Fleet) -> None:
    """
    Killed with -9: the connections of the others go on without one error, `/readyz` names the dead one until its
    successor serves, the restart is counted and told, counters do not go back, a second crash waits longer.
    """
    connections = shared.reach_all()
    token = shared.login("survivor").tokens.access_token
    restarts = shared.metric("authsvc_worker_restarts_total")
    counted = shared.metric("authsvc_calls_total", method=VERIFY)
    for turn in (1, 2):
        victim = shared.pids[1]
        others = [pid for pid in shared.pids if pid != victim]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "worker-1" in shared.missing(), what="worker-1 is named")
        verdicts = [one.verdict(token) for one in connections]

        assert verdicts.count("active") >= len(others)
        assert set(verdicts) <= {"active", "UNAVAILABLE"}
        assert {one.verdict(token) for one in connections} == {"active"}, "not found again elsewhere"
        wait_until(lambda victim=victim: everybody_is_back(shared, but={victim}), what="its successor")  # type: ignore[misc]
        assert [pid for pid in shared.pids if pid in others] == others
        assert shared.metric("authsvc_worker_restarts_total") == restarts + turn
        assert shared.metric("authsvc_calls_total", method=VERIFY) >= counted
    told = shared.events("process.exited")[-2:]

    assert [line["process"] for line in told] == ["worker-1", "worker-1"]
    assert [line["status"] for line in told] == [-signal.SIGKILL, -signal.SIGKILL]
    assert told[0]["restart_in_s"] < told[1]["restart_in_s"]
    assert len(shared.reach_all()) >= 3


def test_a_frozen_worker_is_named_and_the_page_still_there(shared: Fleet) -> None:
    """
    SIGSTOP: `/readyz` says who does not answer, `/metrics` comes without it and its counts are not lost.
    """
    counted = shared.metric("authsvc_calls_total")
    frozen = shared.pids[2]
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert set(shared.missing()) == {"worker-2"}
        assert shared.metric("process_open_fds", worker="worker-1") > 0
        assert shared.metric("process_open_fds", worker="worker-2") == 0
        assert shared.metric("authsvc_calls_total") >= counted
    finally:
        os.kill(frozen, signal.SIGCONT)
    wait_until(lambda: not shared.missing(), what="it answers again")


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "with workers"])
def test_a_second_start_on_the_port_fails_loudly(shared: Fleet, more: tuple[str, ...]) -> None:
    """
    Whether or not it would share: exit status not 0, one sentence with the address, and the first goes on.
    """
    address = shared.addresses["grpc"]
    port = address.rpartition(":")[2]
    words = ("serve", "--grpc-port", port, "--ops-port", "0", "--ready-file", "second.json", *more)
    done = command(*words, cwd=shared.site.folder, env=shared.site.env)

    assert done.returncode == 1
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert address in told
    assert "Traceback" not in done.stderr
    assert not (shared.site.folder / "second.json").exists()
    assert not shared.missing()


def test_workers_beside_a_server_alone_fail_loudly(tmp_path: Path, base: Ground) -> None:
    """
    The other way round: a plain `serve` has the port, workers are refused it before any of them starts. And a taken
    operations port is told by the supervisor.
    """
    site = base.copy(tmp_path / "site")
    with running(site.folder, "serve", *SERVE_PORTS, env=site.env) as first:
        addresses = first.addresses()
        port = addresses["grpc"].rpartition(":")[2]
        ops_port = str(urlsplit(addresses["ops"]).port)
        words = ("serve", "--workers", "2", "--grpc-port", port, "--ops-port", "0")
        done = command(*words, cwd=site.folder, env=site.env)
        assert (done.returncode, addresses["grpc"] in done.stderr) == (1, True)
        words = ("serve", "--workers", "2", "--grpc-port", "0", "--ops-port", ops_port)
        done = command(*words, cwd=site.folder, env=site.env)
        assert (done.returncode, ops_port in done.stderr) == (1, True)
        assert "operations" in done.stderr


def test_a_worker_that_cannot_start_stops_them_all(tmp_path: Path, base: Ground) -> None:
    """
    A database of no schema: exit status 1, the reason is told, nothing stays behind.
    """
    site = base.copy(tmp_path / "site")
    site.database.unlink()
    done = command("serve", *SERVE_PORTS, "--workers", "2", cwd=site.folder, env=site.env)

    assert done.returncode == 1
    assert "authsvc migrate" in done.stderr
    assert "did not become ready" in done.stderr
    assert "process.exited" not in done.stderr


def test_orphans_end_by_themselves(tmp_path: Path, base: Ground) -> None:
    """
    The supervisor is killed with -9: no worker and no edge remains, and all ports are free at once for the next
    start.
    """
    with fleet(tmp_path, base, "--with-edge", "--http-port", "0") as one:
        workers = one.pids
        assert one.service.login("orphan")["user_id"]
        one.process.process.send_signal(signal.SIGKILL)
        one.process.process.wait(10)
        wait_until(
            lambda: not any(map(is_alive, workers)), what="the workers' end", patience_s=ORPHAN_LIMIT_S
        )
        port, http = one.addresses["grpc"].rpartition(":")[2], urlsplit(one.addresses["http"]).port
        assert http is not None
        wait_until(lambda: is_refused(http), what="the edge's end", patience_s=ORPHAN_LIMIT_S)
        again = ("serve", "--grpc-port", port, "--ops-port", "0")
        with running(one.site.folder, *again, env=one.site.env) as next_one:
            assert next_one.addresses()["grpc"] == one.addresses["grpc"]


def test_the_first_signal_drains(tmp_path: Path, base: Ground) -> None:
    """
    A login that WeChat is still thinking about is answered; then everybody has ended, with status 0.
    """
    with fleet(tmp_path, base) as one:
        workers = one.pids
        code = one.service.mint("slow", fault="delay;1.0")
        outcome: list[str] = []
        connection = one.connect()
        thread = Thread(target=lambda: outcome.append(connection.login(code)))
        thread.start()
        wait_until(lambda: one.service.arrived(code) == 1, what="WeChat has the code")

        assert one.process.stop(signal.SIGTERM) == 0
        thread.join()
        assert outcome[0] not in {"", "LOGIN_CODE_SPENT", "STORE_UNAVAILABLE", "UNAVAILABLE"}
        assert len(outcome[0]) == 22, "not a session's id"
        assert not any(map(is_alive, workers))
        assert not one.process.ready_file.exists()
        assert not one.events("process.exited")


def test_the_second_signal_stops_at_once(tmp_path: Path, base: Ground) -> None:
    """
    While all drain (for 300 s here) `/readyz` says so; a second signal ends supervisor and workers, also a frozen one,
    which could not see by itself that its supervisor is gone.
    """
    with fleet(tmp_path, base, "--drain-wait", "300") as one:
        workers = one.pids
        one.process.process.send_signal(signal.SIGINT)
        wait_until(lambda: not one.process.ready_file.exists(), what="the ready file goes first")
        wait_until(lambda: set(one.missing()) == {"worker-0", "worker-1"}, what="not ready")

        assert all(map(is_alive, workers))
        os.kill(workers[0], signal.SIGSTOP)
        assert one.process.stop(signal.SIGINT) == 128 + signal.SIGINT
        wait_until(lambda: not any(map(is_alive, workers)), what="their end", patience_s=ORPHAN_LIMIT_S)


def test_a_hangup_renews_one_after_the_other(tmp_path: Path, base: Ground) -> None:
    """
    After SIGHUP with other keys all workers are others; a client with one connection saw nothing of it, as there was
    always somebody to serve; what the old ones had counted to their last call is in the sums; and that is no crash.
    With a configuration that cannot be used nobody goes.
    """
    # An idle synchronous Python client does not read that a server goes away, which costs the whole grace. The long
    # announcement is for stops; a renewal that waited for it would not be done in time.
    with fleet(tmp_path, base, "--stop-grace", "0.5", "--drain-wait", "300") as one:
        old = set(one.pids)
        token = one.login("renewed").tokens.access_token
        connections = one.reach_all()
        counted = one.metric("authsvc_calls_total", method=VERIFY, code="OK")
        for (
            connection
        ) in connections:  # nobody looks at the metrics between these and the end of the old workers
            connection.verdict(token)
        add_key(one)
        with Steady(one.addresses["grpc"], token) as steady:
            one.process.process.send_signal(signal.SIGHUP)

            def renewed() -> bool:
                assert not one.missing()
                return not old & set(one.pids) and not any(map(is_alive, old))

            wait_until(renewed, what="all are new")
        assert set(steady.outcomes) == {"active"}
        expected = counted + len(connections) + len(steady.outcomes)
        # A retried call may have been answered twice.
        assert one.metric("authsvc_calls_total", method=VERIFY, code="OK") >= expected
        assert one.metric("authsvc_worker_restarts_total") == 0
        assert not one.events("process.exited")
        new = one.pids
        (one.site.folder / "apps.toml").write_text("nothing = 1\n")
        one.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(one.events("workers.not_renewed")), what="the refusal")
        assert one.pids == new
        assert not one.missing()


def test_a_stop_in_the_middle_of_a_renewal_still_drains(tmp_path: Path, base: Ground) -> None:
    """
    A worker that has been told to leave and is then stopped with all others answers its running calls first.
    """
    with fleet(tmp_path, base) as one:
        old = one.pids
        # Eight connections: the worker that leaves first has one of them.
        logins = [(one.connect(), one.service.mint(f"slow-{n}", fault="delay;4.0")) for n in range(8)]
        with ThreadPoolExecutor(len(logins)) as pool:
            outcomes = [pool.submit(connection.login, code) for connection, code in logins]
            wait_until(
                lambda: all(one.service.arrived(code) for _, code in logins), what="WeChat has the codes"
            )
            add_key(one)
            one.process.process.send_signal(signal.SIGHUP)
            wait_until(lambda: one.pids != old, what="a successor serves")
            assert one.process.stop(signal.SIGTERM) == 0

        assert [len(outcome.result()) for outcome in outcomes] == [22] * len(logins)
