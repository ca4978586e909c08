"""`authsvc keys status|rotate|activate|withdraw`: what they print, refuse and write down."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from authsvc.keys import DirectoryKeys
from authsvc.storage import open_store
from authsvc.system import SystemClock, SystemEntropy
from tests.cli.conftest import Run

URL = "sqlite:///authsvc.db"


class Site:
    """A database with the keys of a directory registered, as a server that started there would."""

    def __init__(self, run: Run, folder: Path, *, keys: int) -> None:
        self._run = run
        self.folder = folder
        self.env = {"AUTHSVC_DATABASE_URL": URL, "AUTHSVC_SIGNING_KEYS_DIR": "keys"}
        for _ in range(keys):
            assert run("keys", "generate", "--dir", "keys").exit_code == 0
        assert run("migrate", **self.env).exit_code == 0
        self.kids = self.register()

    def register(self) -> Sequence[str]:
        records = DirectoryKeys.load(self.folder / "keys").local_keys()

        async def work() -> None:
            store = await open_store(URL, clock=SystemClock(), entropy=SystemEntropy())
            for record in records:
                await store.add_signing_key(record)
            await store.activate_first_key()
            await store.close()

        asyncio.run(work())
        return [record.kid for record in records]

    def keys(self, *words: str, stdin: str | None = None, **env: str) -> Any:
        return self._run("keys", *words, stdin=stdin, **{**self.env, **env})

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.keys("status").stdout.splitlines()]

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "authsvc.db")) as connection, connection:
            return connection.execute(statement).fetchall()

    def grow_old(self) -> None:
        """Let every key have been published for an hour."""
        self.execute("UPDATE signing_keys SET published_at = published_at - 3600000000")


@pytest.fixture
def site(run: Run, tmp_path: Path) -> Site:
    return Site(run, tmp_path, keys=2)


def test_status_says_what_is_known_and_what_is_not(site: Site) -> None:
    """
    A line of JSON per key, oldest first: state, ages, whether it may follow; held_here only where keys are configured.
    """
    active, prepared = site.rows()

    assert [active["kid"], prepared["kid"]] == site.kids
    assert (active["state"], prepared["state"]) == ("active", "prepared")
    assert (active["held_here"], prepared["held_here"], prepared["may_follow"]) == (True, True, False)
    assert datetime.fromisoformat(prepared["published_at"]).tzinfo is not None
    site.grow_old()
    assert site.rows()[1]["may_follow"] is True
    elsewhere = site.keys("status", AUTHSVC_SIGNING_KEYS_DIR="")
    assert [json.loads(line)["held_here"] for line in elsewhere.stdout.splitlines()] == [None, None]


def test_rotate_waits_for_the_longest_cache(site: Site) -> None:
    """
    Too young: exit 1 with how long to wait, and nothing changed. Old enough: the next is active, this one retired; then
    none is prepared, which `status` and a further `rotate` say.
    """
    refused = site.keys("rotate")
    assert (refused.exit_code, "360 s" in refused.stderr or "359 s" in refused.stderr) == (1, True)
    assert site.states() == ["active", "prepared"]
    site.grow_old()
    done = site.keys("rotate")

    assert json.loads(done.stdout) == {"active": site.kids[1], "retired": [site.kids[0]]}
    assert site.states() == ["retired", "active"]
    assert "no key is prepared" in site.keys("rotate").stderr
    assert "no key is prepared" in site.keys("status").stderr


def test_now_overrules_the_wait(site: Site) -> None:
    """
    Whoever says so takes the risk; a key of this state by name works too, others are refused by their state.
    """
    assert site.keys("activate", "nobody", "--now", "--held-elsewhere").exit_code == 1
    assert site.keys("activate", site.kids[0], "--now").exit_code == 1
    assert site.keys("activate", site.kids[1], "--now").exit_code == 0
    assert site.states() == ["retired", "active"]


def test_a_key_that_is_not_configured_here_needs_a_word(site: Site) -> None:
    """
    A command beside the servers' keys would see that they cannot sign; without configured keys nothing is known.
    """
    newest = max((site.folder / "keys").iterdir())
    newest.rename(site.folder / "away.pem")
    refused = site.keys("rotate", "--now")
    assert (refused.exit_code, "--held-elsewhere" in refused.stderr) == (1, True)
    assert site.states() == ["active", "prepared"]
    assert site.keys("rotate", "--now", "--held-elsewhere").exit_code == 0
    assert site.states() == ["retired", "active"]


def test_a_time_is_noted_and_taken_back(site: Site) -> None:
    """
    `--at` changes nothing now; `--not-by-itself` forgets it; only prepared keys have one.
    """
    assert site.keys("activate", site.kids[1], "--at", "2099-01-31T04:00:00+0000").exit_code == 0
    assert site.rows()[1]["activate_at"] == "2099-01-31T04:00:00+00:00"
    assert site.states() == ["active", "prepared"]
    assert site.keys("activate", site.kids[1], "--not-by-itself").exit_code == 0
    assert "activate_at" not in site.rows()[1]
    assert site.keys("activate", site.kids[0], "--at", "2099-01-31T04:00:00+0000").exit_code == 1


def test_withdraw_asks_and_hands_over(site: Site) -> None:
    """
    No is no; yes withdraws for ever, and the prepared key signs. Everything is in the audit trail, by whom.
    """
    assert site.keys("withdraw", site.kids[0], stdin="n\n").exit_code == 1
    assert site.states() == ["active", "prepared"]
    done = site.keys("withdraw", site.kids[0], stdin="y\n")
    answer = json.loads(done.stdout.splitlines()[-1])

    assert (answer["withdrawn"], answer["active"]) == tuple(site.kids)
    assert site.states() == ["withdrawn", "active"]
    assert site.keys("activate", site.kids[0], "--now").exit_code == 1
    trail = site.execute('SELECT event, "by", details FROM audit ORDER BY at')
    told = [(event, json.loads(details)["kid"]) for event, _, details in trail]
    assert ("key.withdrawn", site.kids[0]) in told
    assert ("key.activated", site.kids[1]) in told
    assert all(by.startswith("cli") for event, by, _ in trail if event == "key.withdrawn")


def test_the_last_key_is_not_withdrawn_by_accident(run: Run, tmp_path: Path) -> None:
    """
    Without a successor even --yes is refused; --stop-issuing says that logins shall stop. An unknown key is told.
    """
    site = Site(run, tmp_path, keys=1)
    assert "no such key" in site.keys("withdraw", "nobody", "--yes").stderr
    refused = site.keys("withdraw", site.kids[0], "--yes")
    assert (refused.exit_code, "--stop-issuing" in refused.stderr) == (1, True)
    done = site.keys("withdraw", site.kids[0], "--yes", "--stop-issuing")
    assert json.loads(done.stdout)["active"] is None
    assert "no key is active" in site.keys("status").stderr


def test_generate_encrypts_where_there_is_a_passphrase(run: Run, tmp_path: Path) -> None:
    """
    The file holds no open key; `list` reads it with the passphrase, from wherever it is said to be, and not without.
    """
    (tmp_path / "passphrase").write_text("correct horse\n")
    by_file = {"AUTHSVC_SIGNING_KEYS_PASSPHRASE_FILE": "passphrase"}
    path = run("keys", "generate", "--dir", "keys", **by_file).stdout.strip()

    assert "BEGIN ENCRYPTED PRIVATE KEY" in Path(path).read_text()
    assert len(run("keys", "list", "--dir", "keys", **by_file).stdout.splitlines()) == 1
    refused = run("keys", "list", "--dir", "keys")
    assert (refused.exit_code, "signing_keys_passphrase" in refused.stderr) == (1, True)
    both = run("keys", "list", "--dir", "keys", AUTHSVC_SIGNING_KEYS_PASSPHRASE="x", **by_file)
    assert "not several" in both.stderr


def test_keys_of_the_environment_need_no_directory(site: Site, run: Run) -> None:
    """
    PEM blocks in a secret: `config check` is content with them alone, and names what is wrong without quoting it.
    """
    pems = "\n".join(path.read_text() for path in sorted((site.folder / "keys").iterdir()))
    status = site.keys("status", AUTHSVC_SIGNING_KEYS_DIR="", AUTHSVC_SIGNING_KEYS=pems)
    assert [json.loads(line)["held_here"] for line in status.stdout.splitlines()] == [True, True]
    broken = site.keys("status", AUTHSVC_SIGNING_KEYS_DIR="", AUTHSVC_SIGNING_KEYS="canary0123456789")
    assert broken.exit_code == 78
    assert "signing_keys" in broken.stderr
    assert "canary" not in broken.output


def finding(site: Site, run: Run) -> str:
    """What doctor says of the signing keys."""
    said = run("doctor", "--no-wechat", "--no-service", **site.env).stdout.splitlines()
    (line,) = [line for line in said if " signing keys: " in line]
    return line


def test_doctor_tells_what_is_missing_before_it_hurts(site: Site, run: Run) -> None:
    """
    A next key that is not here, none at all, an active key that is not here, none active: each by its own sentence.
    """
    assert finding(site, run).startswith("ok ")
    newest = max((site.folder / "keys").iterdir())
    newest.rename(site.folder / "away.pem")
    assert finding(site, run).startswith("BAD ")
    assert "copy its file" in finding(site, run)
    site.keys("rotate", "--now", "--held-elsewhere")
    assert "does not issue" in finding(site, run)
    (site.folder / "away.pem").rename(newest)
    assert "no key is prepared" in finding(site, run)
    site.keys("withdraw", site.kids[1], "--yes", "--stop-issuing")
    assert "no key is active" in finding(site, run)
