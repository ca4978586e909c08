"""Operators and persons: the `users` commands against a running service, and a new sealing key while it runs."""

import csv
import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
from click.testing import CliRunner

from authsvc.cli import main
from authsvc.keys import MasterRing
from authsvc.system import SystemEntropy
from tests.e2e.running import command, running
from tests.e2e.serving import SERVE_PORTS, prepare
from tests.e2e.wire import D1, D2, Service


class Users:
    """`authsvc users` against one service."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        self._env = {"AUTHSVC_GRPC_TARGET": target}

    def ask(self, *words: str, status: int = 0, stdin: str | None = None) -> str:
        """What the command says, run in this process: half a second each for a start would add up."""
        done = CliRunner().invoke(main, ["users", *words], env=self._env, input=stdin)
        assert done.exit_code == status, (words, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stdout + done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.ask(*words))


@pytest.fixture
def users(service: Service, tmp_path: Path) -> Users:
    return Users(tmp_path, service.addresses["grpc"])


def test_an_operator_finds_blocks_and_lets_go(service: Service, users: Users) -> None:
    """A person is found by what a back end knows, blocked with all sessions, and unblocked."""
    login = service.login("operators-case")
    [found] = [
        json.loads(line)
        for line in users.ask("find", "--app", D1, "--openid", login["openid"]).split("\n")
        if line
    ]
    assert found["user_id"] == login["user_id"]
    assert users.json("block", login["user_id"], "--reason", "fraud", "--for", "2h") == {"ended_sessions": 1}
    assert users.json("show", login["user_id"])["block"]["reason"] == "fraud"
    users.ask("unblock", login["user_id"])
    assert "block" not in users.json("show", login["user_id"])
    assert users.json("roles", login["user_id"], "vip", "admin")["roles"] == ["vip", "admin"]
    assert users.json("external-id", login["user_id"], "crm-e2e")["external_id"] == "crm-e2e"
    assert users.json("find", "--external-id", "crm-e2e")["user_id"] == login["user_id"]
    assert "NOT_FOUND" in users.ask("show", "A" * 22, status=1)
    users.ask("block", login["user_id"], "--for", "soon", status=2)


def test_two_become_one_and_two_again(service: Service, users: Users) -> None:
    """Merge and split by hand, told by both ids."""
    one, other = service.login("merge-one")["user_id"], service.login("merge-other")["user_id"]
    merged = users.json("merge", one, other, "--reason", "phoned in")
    assert merged["previous_user_ids"] == [other]
    assert users.json("show", other)["user_id"] == one
    assert users.json("split", other)["user_id"] == other
    assert users.json("show", other)["user_id"] == other
    assert users.json("split", other)["user_id"] == other
    assert "MERGE_IMPOSSIBLE" in users.ask("split", one, status=1)
    assert users.ask("pending") == ""


def test_an_import_is_repeated_and_gone_on_with(service: Service, users: Users) -> None:
    """CSV and JSONL, over several calls; a second run changes nothing; a bad row stops it and says where."""
    rows = [
        {"app_id": D1, "openid": f"o-import-{n}", "unionid": "", "external_id": f"crm-{n}"}
        for n in range(2500)
    ]
    table = users.folder / "users.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert users.json("import", str(table)) == {"rows": 2500, "created": 2500}
    lines = users.folder / "users.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert users.json("import", str(lines), "--from-row", "2001") == {"rows": 2500, "unchanged": 500}
    login = service.login("import-meets-nobody")
    assert users.json("find", "--external-id", "crm-77")["identities"][0]["openid"] == "o-import-77"
    assert login["is_new_user"]

    conflict = {"app_id": D1, "openid": "o-import-5", "external_id": "crm-6"}
    sibling = {"app_id": D2, "openid": "o-import-s", "external_id": "crm-5"}
    lines.write_text("".join(json.dumps(row) + "\n" for row in (conflict, sibling, {"app_id": D1})))
    rejects = users.folder / "rejects.jsonl"
    told = users.ask("import", str(lines), "--rejects", str(rejects), status=1)
    assert "go on with --from-row 3" in told
    assert "row 3 lacks app_id or openid" in told
    assert [json.loads(line) for line in rejects.read_text().splitlines()] == [conflict]
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert "o-import-s" in users.ask("show", users.json("find", "--external-id", "crm-5")["user_id"])
    table.write_text(f'app_id,openid\n{D1},o-import-5\n{D1},"o-secret\n')
    told = users.ask("import", str(table), status=1)
    assert "go on with --from-row 2" in told
    assert "row 2 is not CSV" in told
    assert "o-secret" not in told


def test_why_an_operator_did_it_is_in_the_trail(service: Service, users: Users) -> None:
    """Whatever is written in it; without one there is none, and one that is too long is refused before the call."""
    person = str(service.login("reasons")["user_id"])
    users.ask("roles", person, "vip", "--reason", "工单 7: 50% off, \u2603 & more")
    users.ask("roles", person, "--none")
    users.ask("external-id", person, "crm-why", "--reason", "ticket 8")
    users.ask("roles", person, "late", "--reason", "x" * 1001, status=2)
    trail = users.json("export", person, "--reason", "asked by letter")["audit"]
    told = [(row["event"], row["reason"]) for row in trail if row["event"] != "session.opened"]
    assert told == [
        ("user.roles_set", "工单 7: 50% off, \u2603 & more"),
        ("user.roles_set", ""),
        ("user.external_id_set", "ticket 8"),
    ]
    again = users.json("export", person)["audit"]
    assert [row["reason"] for row in again if row["event"] == "user.exported"] == ["asked by letter"]


def test_a_person_is_handed_out_and_erased(service: Service, users: Users) -> None:
    """The export names everything; after the erasure nobody is found, and the next login is somebody new."""
    login = service.login("to-be-erased")
    export = users.json("export", login["user_id"])
    assert [each["openid"] for each in export["identities"]] == [login["openid"]]
    assert len(export["sessions"]) == 1
    users.ask("erase", login["user_id"], status=1, stdin="n\n")
    assert users.json("show", login["user_id"])["user_id"] == login["user_id"]
    assert users.json("erase", login["user_id"], "--yes") == {"ended_sessions": 1}
    assert "NOT_FOUND" in users.ask("show", login["user_id"], status=1)
    again = service.login("to-be-erased")
    assert again["is_new_user"]
    assert again["user_id"] != login["user_id"]


@pytest.fixture
def two_keys(tmp_path: Path, wechat: str) -> Iterator[tuple[Path, dict[str, str]]]:
    site = prepare(tmp_path / "site", wechat_url=wechat)
    yield site.folder, site.env


def test_a_new_sealing_key_while_servers_run(two_keys: tuple[Path, dict[str, str]], wechat: str) -> None:
    """
    With the new key in front, one pass brings what is sealed over; a second one finds nothing to do; a ring without the
    right key leaves everything as it is and says so.
    """
    folder, env = two_keys
    old = (folder / "master.key").read_text().strip()
    with (
        running(folder, "serve", *SERVE_PORTS, env=env) as server,
        Service({**server.addresses(), "sandbox": wechat}) as service,
    ):
        service.grpc_login("sealed")
        server.stop()
    new = MasterRing.generate(SystemEntropy())
    (folder / "master.key").write_text(f"{new},{old}\n")
    assert sealing_ids(folder) == {MasterRing.parse(old).ids()[0]}
    with running(folder, "serve", *SERVE_PORTS, env=env) as server:
        server.addresses()
        done = command("keys", "rotate-sealing", cwd=folder, env=env)
        assert json.loads(done.stdout) == {"resealed": 1, "unopenable": 0}, done.stderr
        assert sealing_ids(folder) == {MasterRing.parse(new).ids()[0]}
        again = command("keys", "rotate-sealing", cwd=folder, env=env)
        assert json.loads(again.stdout) == {"resealed": 0, "unopenable": 0}
    lost = MasterRing.generate(SystemEntropy())
    (folder / "master.key").write_text(f"{lost}\n")
    broken = command("keys", "rotate-sealing", cwd=folder, env=env)
    assert (broken.returncode, json.loads(broken.stdout)) == (1, {"resealed": 0, "unopenable": 1})


def sealing_ids(folder: Path) -> set[str]:
    """The ids of the master keys under which session keys are sealed in the database now."""
    with closing(connect(folder / "authsvc.db")) as connection:
        rows = connection.execute("select session_key, previous_session_key from identities").fetchall()
    return {blob[1:5].hex() for row in rows for blob in row if blob}
