"""Signing keys of real processes under load: rotated, withdrawn, rotated on a schedule; by the commands an operator has."""

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from tests.e2e.key_load import Load, jwks, kid_of, published
from tests.e2e.running import Running, command, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare
from tests.e2e.wire import D1, TIMEOUT_S, Service, http_call, refusal
from tests.faults import real
from tests.faults.history import Interval
from tests.support import postgres

# What the promise is: refused by servers and watchers within a second of the command's answer.
PROMISE_S = 1.0
WORDS = ("serve", *SERVE_PORTS, "--workers", "2")


@dataclass(slots=True)
class Cluster:
    """Servers on one record: two workers on SQLite, or two replicas on PostgreSQL, with one directory of keys."""

    site: Site
    env: dict[str, str]
    processes: list[Running]
    service: Service

    @property
    def targets(self) -> list[str]:
        return [process.addresses()["grpc"] for process in self.processes]

    def keys(self, *words: str) -> str:
        """What `authsvc keys …` prints."""
        done = command("keys", *words, cwd=self.site.folder, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self) -> dict[str, str]:
        return {row["kid"]: row["state"] for row in map(json.loads, self.keys("status").splitlines())}

    def kid(self, state: str) -> str:
        """The id of the one key in this state."""
        return self.kids(state)[0]

    def kids(self, *states: str) -> tuple[str, ...]:
        """The ids of the keys in these states, one each."""
        by_state = {state: kid for kid, state in self.states().items()}
        return tuple(by_state[state] for state in states)

    def execute(self, statement: str) -> None:
        """Change the record behind everybody's back."""
        if self.env["AUTHSVC_DATABASE_URL"].startswith("sqlite"):
            with (
                contextlib.closing(sqlite3.connect(self.site.database, timeout=30)) as connection,
                connection,
            ):
                connection.execute(statement)
        else:
            postgres.execute(self.env["AUTHSVC_DATABASE_URL"], statement)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event, of all servers."""
        lines = [line for process in self.processes for line in process.stderr.splitlines()]
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line["event"] == name]


@contextmanager
def cluster(folder: Path, wechat: str, *, database: str = "", **env: str) -> Iterator[Cluster]:
    """Start it, with one active key and one that is prepared."""
    site = prepare(folder / "site", wechat_url=wechat)
    done = command("keys", "generate", "--dir", str(site.folder / "keys"), cwd=site.folder)
    assert done.returncode == 0, done.stderr
    own = {**site.env, "AUTHSVC_LIMITS_WIDE": "true", **env}
    if database:
        own["AUTHSVC_DATABASE_URL"] = database
    lines: Sequence[tuple[str, ...]] = [(), ()] if database else [("--workers", "2")]
    with ExitStack() as stack:
        processes = []
        for number, more in enumerate(lines):
            its_folder = folder / f"replica-{number}"
            its_folder.mkdir()
            processes.append(stack.enter_context(running(its_folder, "serve", *SERVE_PORTS, *more, env=own)))
        addresses = processes[0].addresses()
        service = stack.enter_context(Service({**addresses, "sandbox": wechat}))
        yield Cluster(site, own, processes, service)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, str]]:
    """PostgreSQL, and the name of a migrated database to copy."""
    with postgres.any_server() as url:
        yield url, postgres.migrated_template(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path, wechat: str) -> Iterator[Cluster]:
    if request.param == "sqlite":
        with cluster(tmp_path, wechat) as one:
            yield one
        return
    url, template = request.getfixturevalue("server")
    with (
        postgres.fresh_database(url, template=template) as database,
        cluster(tmp_path, wechat, database=database) as one,
    ):
        yield one


async def test_a_rotation_under_load_refuses_no_good_token(site: Cluster) -> None:
    """
    Clients verify and refresh over every server and with the client library while the prepared key takes over: every
    verdict is `active`, on tokens of the old key as of the new, and all come to have tokens of the new one.
    """
    old, new = site.kids("active", "prepared")
    refused = command("keys", "rotate", cwd=site.site.folder, env=site.env)
    assert (refused.returncode, "wait" in refused.stderr) == (1, True)
    async with Load(site.targets, connections=3).running(site.service, clients=8) as load:
        kept = load.clients[0].access
        await load.more(100)
        load.refreshing = True
        changed = json.loads(await asyncio.to_thread(site.keys, "rotate", "--now"))
        assert changed == {"active": new, "retired": [old]}
        await load.until_all_use(new)
        await load.more(200)
    assert {one.outcome for one in load.seen} == {"active"}
    assert {one.kid for one in load.seen} == {old, new}
    assert [client.refusals for client in load.clients] == [[]] * len(load.clients)
    # A token of the retired key is good until it expires.
    assert kid_of(kept) == old
    assert site.service.verdict(kept) == "active"
    for target in site.targets:
        assert published(target) == {old, new}


async def withdrawn_under_load(site: Cluster) -> tuple[Load, float, str]:
    """Withdraw the active key while clients work; return the load, when the command had answered, and the key."""
    old, new = site.kids("active", "prepared")
    async with Load(site.targets, connections=3).running(site.service, clients=8) as load:
        kept = load.clients[0].access
        await load.more(100)
        answer = json.loads(await asyncio.to_thread(site.keys, "withdraw", old, "--yes"))
        done_at = load.clock.elapsed()
        assert (answer["withdrawn"], answer["active"]) == (old, new)
        await load.until_all_use(new)
        await load.more(200)
    assert kid_of(kept) == old
    assert site.service.verdict(kept) == "KEY_WITHDRAWN"
    return load, done_at, old


async def test_a_withdrawal_under_load_ends_tokens_and_no_session(site: Cluster) -> None:
    """
    Servers and verifiers refuse the key's tokens, each from some moment on for good; every client refreshes in its
    session, and every verdict on a token of the new key is `active`. The set is without the withdrawn key.
    """
    load, _, old = await withdrawn_under_load(site)
    new = site.kid("active")
    assert {one.outcome for one in load.seen if one.kid == new} == {"active"}
    assert {one.outcome for one in load.seen if one.kid == old} == {"active", "KEY_WITHDRAWN"}
    for door in {one.door for one in load.seen}:
        outcomes = [one.outcome for one in load.seen if (one.door, one.kid) == (door, old)]
        refused_from = outcomes.index("KEY_WITHDRAWN") if "KEY_WITHDRAWN" in outcomes else len(outcomes)
        # A few calls may have been on their way beside each other, one per client.
        assert "active" not in outcomes[refused_from + len(load.clients) :]
    assert [client.refusals for client in load.clients] == [[]] * len(load.clients)
    for target in site.targets:
        assert published(target) == {new}
        assert list(jwks(target).withdrawn_key_ids) == [old]


@pytest.mark.long
async def test_a_withdrawal_is_known_within_a_second(site: Cluster) -> None:
    """
    The promise in real seconds, the machine's own stalls subtracted: a second after the command's answer nobody accepts
    a token of that key any more.
    """
    stalls: list[Interval] = []
    with real.Stalls(stalls):
        began = real.now()
        load, done_at, old = await withdrawn_under_load(site)
        lost_s = sum(one.end - one.start for one in stalls if one.end > began)
    last = max(one.at for one in load.seen if (one.kid, one.outcome) == (old, "active"))
    assert last - done_at <= PROMISE_S + lost_s


def make_due(site: Cluster) -> None:
    """Let the active key be two days old, and the other one published since then."""
    site.execute(
        "UPDATE signing_keys SET activated_at = activated_at - 172800000000, published_at = published_at - 172800000000"
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def scheduled(request: pytest.FixtureRequest, tmp_path: Path, wechat: str) -> Iterator[Cluster]:
    schedule = {"AUTHSVC_SIGNING_KEY_ROTATION_DAYS": "1"}
    if request.param == "sqlite":
        with cluster(tmp_path, wechat, **schedule) as one:
            yield one
        return
    url, template = request.getfixturevalue("server")
    with (
        postgres.fresh_database(url, template=template) as database,
        cluster(tmp_path, wechat, database=database, **schedule) as one,
    ):
        yield one


def test_of_two_servers_one_keeps_the_schedule(scheduled: Cluster) -> None:
    """
    The active key comes of age while both run: one of them rotates and tells, both sign with the new key.
    """
    old, new = scheduled.kids("active", "prepared")
    make_due(scheduled)
    wait_until(lambda: scheduled.states() == {old: "retired", new: "active"}, what="the rotation")

    def all_sign_with_it() -> bool:
        told = scheduled.events("key.active")
        return [line["kid"] for line in told].count(new) == 2

    wait_until(all_sign_with_it, what="both to know")
    (rotated,) = scheduled.events("key.rotated")
    assert (rotated["kid"], rotated["retired"]) == (new, old)
    assert kid_of(scheduled.service.grpc_login("late").tokens.access_token) == new


def test_a_server_without_the_active_key_verifies_and_says_that_it_does_not_issue(
    tmp_path: Path, wechat: str
) -> None:
    """
    A key that only the record knows is made active: logins and refreshes are UNAVAILABLE, tokens are judged as ever,
    `/readyz` is 200 and says so; the file arrives, and at the next look everything goes on.
    """
    with cluster(tmp_path, wechat) as one:
        session = one.service.grpc_login("kept")
        away = tmp_path / "away.pem"
        directory = one.site.folder / "keys"
        prepared = next(path for path in directory.iterdir() if one.kid("prepared")[:12] in path.name)
        prepared.rename(away)
        one.processes[0].stop()
        process = one.processes[0] = Running(one.processes[0].folder, WORDS, env=one.env)
        try:
            assert "configured here" in command("keys", "rotate", "--now", cwd=tmp_path, env=one.env).stderr
            one.keys("rotate", "--now", "--held-elsewhere")
            addresses = process.addresses()
            wait_until(lambda: len(one.events("key.missing")) == 2, what="both workers to say so")
            ready = http_call("GET", addresses["ops"] + "/readyz")
            assert (ready.status, "logins" in json.dumps(ready.json["degraded"])) == (200, True)
            with Service({**addresses, "sandbox": wechat}) as service:
                assert service.verdict(session.tokens.access_token) == "active"
                code = service.mint("later")
                login = pb.LoginRequest(app_id=D1, mini_program_code=code)
                with pytest.raises(grpc.RpcError) as no_login:
                    service.auth.Login(login, timeout=TIMEOUT_S)
                with pytest.raises(grpc.RpcError) as no_refresh:
                    service.grpc_refresh(session.tokens.refresh_token)
                for error in (no_login.value, no_refresh.value):
                    assert (refusal(error).code, refusal(error).reason) == (
                        "UNAVAILABLE",
                        "STORE_UNAVAILABLE",
                    )
                away.rename(prepared)
                process.process.send_signal(signal.SIGHUP)
                wait_until(lambda: len(one.events("key.found")) == 2, what="both workers to sign")
                assert service.arrived(code) == 0
                assert service.auth.Login(login, timeout=TIMEOUT_S).tokens.access_token
                assert service.grpc_refresh(session.tokens.refresh_token).session_id == session.session_id
        finally:
            process.end()
