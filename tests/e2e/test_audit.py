"""The audit trail of a real server: killed between rows and seal, verified, tampered with, cut, exported, followed."""

import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest

from authapi.v1 import GetJwksRequest, KeyServiceStub
from tests.e2e.running import PYTHON, Running, bare_environment, command, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare, sandbox
from tests.e2e.wire import D1, Service

# Rows wait ten seconds, and a sealer sleeps up to fifteen.
SEALED_WITHIN_S = 120.0


@contextmanager
def served(site: Site, wechat: str) -> Iterator[tuple[Running, Service]]:
    with (
        running(site.folder, "serve", *SERVE_PORTS, env=site.env) as process,
        Service({**process.addresses(), "sandbox": wechat}) as service,
    ):
        yield process, service


def audit(site: Site, *words: str, database: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = site.env if database is None else {**site.env, "AUTHSVC_DATABASE_URL": f"sqlite:///{database}"}
    return command("audit", *words, cwd=site.folder, env=env)


def lines_of(site: Site, *words: str) -> list[dict[str, object]]:
    result = audit(site, "tail", "-n", "10000", *words)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def sealed_sessions(site: Site) -> set[object]:
    return {
        row["session_id"] for row in lines_of(site, "--event", "session.opened") if row["batch"] is not None
    }


@contextmanager
def tampered(site: Site, name: str, *statements: str) -> Iterator[Path]:
    """A copy of the database with something done to it."""
    path = site.folder / f"{name}.db"
    with closing(sqlite3.connect(site.database)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        for statement in statements:
            assert copy.execute(statement).rowcount > 0, statement
        copy.commit()
    path.chmod(0o600)
    yield path
    path.unlink()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_trail_of_a_server_that_was_killed(tmp_path: Path) -> None:
    """
    Killed with -9 right after its logins, before anything was sealed: every acknowledged login has its row, the next
    process seals them, and the commands prove it, find each way of tampering, and need no server.
    """
    with sandbox(tmp_path / "wechat") as (_, wechat):
        site = prepare(tmp_path / "site", wechat_url=wechat)
        sessions = set()
        with served(site, wechat) as (process, service):
            for number in range(30):
                sessions.add(service.grpc_login(f"person-{number}").session_id)
            assert process.stop(signal.SIGKILL) == -signal.SIGKILL
        assert sealed_sessions(site) == set()
        with served(site, wechat) as (process, service):
            with pytest.raises(grpc.RpcError):
                service.grpc_refresh("wxr1.nobodys-canary")
            service.revoke(session_id=next(iter(sessions)))
            wait_until(
                lambda: sealed_sessions(site) == sessions,
                what="the rows are sealed",
                patience_s=SEALED_WITHIN_S,
            )
            wait_until(lambda: bool(lines_of(site, "--event", "refresh.refused")), what="the refusal is told")
            wait_until(lambda: "audit.checkpoint" in process.stderr, what="the checkpoint is told")
            with grpc.insecure_channel(process.addresses()["grpc"]) as channel:
                jwks = KeyServiceStub(channel).GetJwks(GetJwksRequest(), timeout=30).jwks_json
            follow_a_login(site, service)
        judge_everything(site, jwks)


def follow_a_login(site: Site, service: Service) -> None:
    """A login that happens while the trail is followed comes out, once."""
    with subprocess.Popen(  # noqa: S603 - the arguments are our own
        [PYTHON, "-m", "authsvc", "audit", "tail", "-f", "-n", "1", "--event", "session.*"],
        cwd=site.folder,
        env=bare_environment(**site.env),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["event"] == "session.opened"
            made = service.grpc_login("somebody else")
            row = json.loads(following.stdout.readline())
        finally:
            following.terminate()
        assert (row["session_id"], row["user_id"], row["app_id"]) == (made.session_id, made.user_id, D1)
        assert following.stdout.read() == ""


def judge_everything(site: Site, jwks: str) -> None:
    log, export, keys = site.folder / "stderr.txt", site.folder / "trail.jsonl", site.folder / "jwks.json"
    keys.write_text(jwks)
    kept = site.folder / "kept.log"
    shutil.copy(log, kept)
    sound = audit(site, "verify", "--checkpoints", str(kept), "--jwks", str(keys))
    assert sound.returncode == 0, sound.stderr
    told = json.loads(sound.stdout)
    assert told["ok"]
    assert told["checkpoints"] >= told["last_batch"] >= 1
    last = [json.loads(line) for line in kept.read_text().splitlines() if "audit.checkpoint" in line][-1]
    begun = audit(site, "verify", "--from-checkpoint", f"{last['batch']}:{last['chain_hash']}")
    assert begun.returncode == 0, begun.stderr
    assert audit(site, "verify", "--from-checkpoint", f"{last['batch']}:{'0' * 64}").returncode == 1

    cut = ("DELETE FROM audit WHERE batch IS NOT NULL", "DELETE FROM audit_batches")
    for name, statements, place in (
        ("changed", ("UPDATE audit SET \"by\" = 'nobody' WHERE batch = 1",), "batch 1: rows changed"),
        ("removed", ("DELETE FROM audit WHERE audit_id IN (SELECT min(audit_id) FROM audit WHERE batch = 1)",), "batch 1: rows missing"),
        ("forged", ("UPDATE audit_batches SET signature = zeroblob(64) WHERE batch = 1",), "batch 1: signature wrong"),
        ("dated", ("UPDATE audit_batches SET sealed_at = sealed_at + 1 WHERE batch = 1",), "batch 1: chain broken"),
        ("erased", ("UPDATE audit SET ip = '', reason = '', salt = NULL, commitment = zeroblob(32) WHERE batch = 1",), "batch 1: rows changed"),
    ):  # fmt: skip
        with tampered(site, name, *statements) as database:
            found = audit(site, "verify", database=database)
            assert (found.returncode, place in found.stderr) == (1, True), (name, found.stdout, found.stderr)
    with tampered(site, "cut", *cut) as database:
        found = audit(site, "verify", "--checkpoints", str(kept), database=database)
        assert found.returncode == 1
        assert "ends before a checkpoint that was kept" in found.stderr

    assert audit(site, "export", str(export)).returncode == 0
    assert export.stat().st_mode & 0o777 == 0o600
    assert audit(site, "export", str(export)).returncode == 1, "nothing is overwritten"
    offline = audit(site, "verify", "--file", str(export), "--jwks", str(keys), "--checkpoints", str(kept))
    assert offline.returncode == 0, offline.stderr
    assert lines_of(site, "--event", "audit.exported", "--since", "1h")
    whole = export.read_text()
    export.write_text(
        whole.replace('"by":"service"', '"by":"nobody"')
        .replace('"by":"login"', '"by":"nobody"')
        .replace('"by":"local"', '"by":"nobody"')
    )
    assert "rows changed" in audit(site, "verify", "--file", str(export)).stderr
    export.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    assert "the file is not whole" in audit(site, "verify", "--file", str(export)).stderr
    export.write_text("{}\n")
    assert audit(site, "verify", "--file", str(export)).returncode == 1
