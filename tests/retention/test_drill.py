"""The restore drill: real processes, under load, from the backup to the first calls after the restore."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import revocation_service_pb2, types_pb2
from authapi.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tests.e2e.running import Running, command, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare, sandbox
from tests.e2e.wire import D1, TIMEOUT_S, Refusal, Service, refusal

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
THREADS = 4
ENOUGH = 40  # acknowledged steps of each stretch of load
# The stretches: before the backup, while it is taken (a step may be in it or not), after it.
BEFORE, UNSURE, AFTER = range(3)


@dataclass(slots=True)
class Line:
    """One login: its newest tokens, and in which stretch of load it began, was last refreshed, was revoked."""

    access: str
    refresh: str
    session: str
    began: int
    refreshed: int = -1  # never
    revoked: int = -1  # never


@dataclass(slots=True)
class Ledger:
    """What was acknowledged; a line is in it only once the call that changed it has been answered."""

    stretch: int = BEFORE
    lines: list[Line] = field(default_factory=list)
    cursors: list[bytes] = field(default_factory=list)
    steps: int = 0
    errors: list[str] = field(default_factory=list)

    def since(self, began: int) -> int:
        """The stretch of a call that began in *began* and is over now; UNSURE if it reached into another."""
        return began if self.stretch == began else UNSURE


def log_in(service: Service, user: str) -> pb.LoginResponse:
    request = pb.LoginRequest(app_id=D1, mini_program_code=service.mint(user))
    response: pb.LoginResponse = service.auth.Login(request, timeout=TIMEOUT_S)
    return response


@contextmanager
def load(service: Service, ledger: Ledger, *, name: str) -> Iterator[None]:
    """Logins, refreshes and revokes by several threads while the block runs; no call may fail."""
    over = threading.Event()

    def work(thread: int) -> None:
        mine: list[Line] = []
        turn, touched = 0, 0
        try:
            while not over.is_set():
                began = ledger.stretch
                made = log_in(service, f"{name}-{thread}-{turn}")
                line = Line(
                    made.tokens.access_token, made.tokens.refresh_token, made.session_id, ledger.since(began)
                )
                mine.append(line)
                ledger.lines.append(line)
                if turn % 2:
                    began = ledger.stretch
                    # While the backup is taken lines of before are left for afterwards.
                    older = line if began == UNSURE else mine[touched]
                    touched += began != UNSURE
                    if older.revoked >= BEFORE or older.refreshed >= BEFORE:
                        pass
                    elif turn % 4 == 1:
                        tokens = service.grpc_refresh(older.refresh).tokens
                        older.access, older.refresh = tokens.access_token, tokens.refresh_token
                        older.refreshed = ledger.since(began)
                    else:
                        ledger.cursors.append(service.revoke(session_id=older.session).cursor.value)
                        older.revoked = ledger.since(began)
                turn += 1
                ledger.steps += 1
        except (grpc.RpcError, AssertionError) as error:
            ledger.errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert ledger.errors == []


def go_on(ledger: Ledger) -> None:
    """Return when the load has done enough in this stretch."""
    wanted = ledger.steps + ENOUGH
    wait_until(lambda: ledger.steps >= wanted or bool(ledger.errors), what="enough load")


@contextmanager
def serve(site: Site, wechat: str, *more: str) -> Iterator[tuple[Running, Service]]:
    with (
        running(site.folder, "serve", *SERVE_PORTS, *more, env=site.env) as process,
        Service({**process.addresses(), "sandbox": wechat}) as service,
    ):
        yield process, service


def refused_refresh(service: Service, token: str) -> Refusal:
    try:
        service.grpc_refresh(token)
    except grpc.RpcError as error:
        return refusal(error)
    raise AssertionError("it was refreshed")


def ending(service: Service, token: str) -> str:
    """The reason for which a refresh says that the session is over."""
    refused = refused_refresh(service, token)
    assert (refused.code, refused.reason) == ("UNAUTHENTICATED", "SESSION_ENDED")
    return refused.metadata["end_reason"].removeprefix("SESSION_END_REASON_")


def refused_cursor(service: Service, line: Line, cursor: bytes) -> tuple[str, str, str]:
    """How VerifyToken and WatchRevocations refuse a cursor: code and reason of the latter, reason of the former."""
    request = pb.VerifyTokenRequest(
        access_token=line.access, audience=D1, at_least=types_pb2.Cursor(value=cursor)
    )
    watch = revocation_service_pb2.WatchRevocationsRequest(resume_from=types_pb2.Cursor(value=cursor))
    reasons = []
    for call in (
        lambda: service.auth.VerifyToken(request, timeout=TIMEOUT_S),
        lambda: list(RevocationServiceStub(service.channel).WatchRevocations(watch, timeout=TIMEOUT_S)),
    ):
        try:
            call()
        except grpc.RpcError as error:
            reasons.append(refusal(error))
    verify, watched = reasons
    return watched.code, watched.reason, verify.reason


def test_a_restore_under_load_breaks_no_promise(tmp_path: Path) -> None:
    """
    What the backup holds goes on; what is newer than it ends as STORE_RESTORED and never as reuse; cursors of before
    are expired. What a restore loses is what the page says, and `--revoke-all` takes even that back.
    """
    with sandbox(tmp_path / "sandbox") as (_, wechat):
        site = prepare(tmp_path / "site", wechat_url=wechat)
        backup, ledger = tmp_path / "backup.db", Ledger()
        with serve(site, wechat) as (process, service):
            with load(service, ledger, name="load"):
                go_on(ledger)
                ledger.stretch = UNSURE
                made = command("backup", str(backup), cwd=site.folder, env=site.env)
                assert made.returncode == 0, made.stderr
                ledger.stretch = AFTER
                go_on(ledger)
                while_open = command("restore", str(backup), cwd=site.folder, env=site.env)
            assert (while_open.returncode, "stop every server" in while_open.stderr) == (1, True)
            assert process.stop() == 0
        done = command("restore", str(backup), cwd=site.folder, env=site.env)
        assert done.returncode == 0, done.stderr
        with serve(site, wechat) as (process, service):
            check_plain(service, ledger)
            assert process.stop() == 0
        done = command("restore", str(backup), "--revoke-all", cwd=site.folder, env=site.env)
        assert json.loads(done.stdout)["revoked_apps"] == [D1]
        with serve(site, wechat) as (process, service):
            for line in ledger.lines:
                assert service.verdict(line.access) in {"APP_REVOKED", "SESSION_REVOKED"}
                assert ending(service, line.refresh) in {"STORE_RESTORED", "ADMIN"}
            assert service.verdict(log_in(service, "load-0-0").tokens.access_token) == "active"


def check_plain(service: Service, ledger: Ledger) -> None:
    """Judge every line by what the backup surely holds or surely does not; none of it is called reuse."""
    seen = {"kept": 0, "ahead": 0, "unknown": 0, "dead": 0, "forgotten": 0}
    for line in ledger.lines:
        if UNSURE in {line.began, line.refreshed, line.revoked}:
            continue
        if line.began == AFTER:
            kind, verdict, refreshed = "unknown", "active", "STORE_RESTORED"
        elif line.revoked == BEFORE:
            kind, verdict, refreshed = "dead", "SESSION_REVOKED", "ADMIN"
        elif line.refreshed == AFTER:
            kind, verdict, refreshed = "ahead", "active", "STORE_RESTORED"
        elif line.revoked == AFTER:
            # What docs/operations/backup.md says is lost: the session lives again.
            kind, verdict, refreshed = "forgotten", "active", ""
        else:
            kind, verdict, refreshed = "kept", "active", ""
        seen[kind] += 1
        assert service.verdict(line.access) == verdict, line
        if refreshed:
            assert ending(service, line.refresh) == refreshed, line
        else:
            assert service.grpc_refresh(line.refresh).session_id == line.session
    assert min(seen.values()) > 0, seen
    for cursor in (ledger.cursors[0], ledger.cursors[-1]):
        assert refused_cursor(service, ledger.lines[0], cursor) == (
            "OUT_OF_RANGE",
            "CURSOR_EXPIRED",
            "CURSOR_EXPIRED",
        )


def test_a_file_exchanged_under_a_running_server_is_not_served(tmp_path: Path) -> None:
    """
    Nothing is acknowledged from then on; verdicts come from what was known, up to the hard bound, then none; what
    had been revoked is never called active; after the proper way of doing it all is well.
    """
    with sandbox(tmp_path / "sandbox") as (_, wechat):
        site = prepare(tmp_path / "site", wechat_url=wechat)
        backup, copy = tmp_path / "backup.db", tmp_path / "copy.db"
        with serve(site, wechat, "--hard-bound", "1") as (process, service):
            assert command("backup", str(backup), cwd=site.folder, env=site.env).returncode == 0
            dead = log_in(service, "dead")
            alive = log_in(service, "alive")
            service.revoke(session_id=dead.session_id)
            copy.write_bytes(backup.read_bytes())
            copy.rename(site.database)
            refused = [refused_refresh(service, login.tokens.refresh_token).reason for login in (dead, alive)]
            assert refused == ["STORE_UNAVAILABLE"] * 2
            verdicts = set()

            def undecided() -> bool:
                verdicts.add(service.verdict(dead.tokens.access_token))
                return service.verdict(alive.tokens.access_token) == "NOT_FRESH"

            wait_until(undecided, what="the hard bound")
            assert "active" not in verdicts
            process.stop()
        assert command("restore", str(backup), cwd=site.folder, env=site.env).returncode == 0
        with serve(site, wechat) as (process, service):
            assert ending(service, alive.tokens.refresh_token) == "STORE_RESTORED"
            assert service.verdict(log_in(service, "alive").tokens.access_token) == "active"
