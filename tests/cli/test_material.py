"""Keys, apps, database: made, listed, judged and migrated from the command line."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from authsvc.keys import MasterRing
from authsvc.sandbox import SANDBOX_APPS
from tests.cli.conftest import Run

CANARY = "canary0123456789canary0123456789"
APP = f'[[apps]]\nid = "wx2222222222222222"\nsecret = "{CANARY}"\n'


def set_up(run: Run, folder: Path, *, apps: str = APP) -> dict[str, str]:
    """The environment of a complete site in *folder*."""
    master = run("keys", "generate", "--master").stdout
    assert run("keys", "generate", "--dir", "keys").exit_code == 0
    (folder / "apps.toml").write_text(apps)
    return {
        "AUTHSVC_MASTER_KEYS": master.strip(),
        "AUTHSVC_SIGNING_KEYS_DIR": "keys",
        "AUTHSVC_APPS_FILE": "apps.toml",
        "AUTHSVC_DATABASE_URL": "sqlite:///authsvc.db",
    }


@pytest.mark.parametrize("command", [("serve",), ("config", "check"), ("serve", "--with-edge")])
def test_everything_missing_is_named_at_once(run: Run, command: tuple[str, ...]) -> None:
    """
    A server without keys, apps and database refuses to start with exit status 78 and says what each lacks.
    """
    result = run(*command)

    assert result.exit_code == 78
    for name in ("master_keys", "signing_keys_dir", "apps_file", "database_url"):
        assert f"  - {name}: is missing" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "config check"])
def test_settings_keys_apps_and_database_are_judged_in_one_go(run: Run, tmp_path: Path, command: str) -> None:
    """
    A bad port hides neither a missing key nor a wrong app; what was refused is not called missing as well.
    """
    (tmp_path / "apps.toml").write_text('[[apps]]\nid = "wx1"\n')
    env = {"AUTHSVC_APPS_FILE": "apps.toml", "AUTHSVC_GRPC_PORT": "x", "AUTHSVC_MASTER_KEYS_COMMAND": "false"}
    result = run(*command.split(), "--http-host", "203.0.113.1", **env)
    subjects = [line[4:].partition(":")[0] for line in result.stderr.splitlines() if line.startswith("  - ")]

    assert result.exit_code == 78
    assert sorted(subjects) == [
        "AUTHSVC_MASTER_KEYS", "apps[1].secret", "database_url", "grpc_port", "http_host", "signing_keys_dir",
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["MASTER_KEYS", "SIGNING_KEYS_DIR", "APPS_FILE", "DATABASE_URL"])
def test_each_missing_part_is_named_alone(run: Run, tmp_path: Path, missing: str) -> None:
    """
    With everything there the configuration is good; without one part exactly that is named.
    """
    env = set_up(run, tmp_path)
    assert run("config", "check", **env).exit_code == 0
    del env[f"AUTHSVC_{missing}"]
    result = run("config", "check", **env)

    assert result.exit_code == 78
    assert [line for line in result.stderr.splitlines() if line.startswith("  - ")] == [
        line for line in result.stderr.splitlines() if f"{missing.lower()}: is missing" in line
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"AUTHSVC_MASTER_KEYS": CANARY}, "master_keys: "),
        ({"AUTHSVC_MASTER_KEYS": "AAAA," + CANARY}, "master_keys: "),
        ({"AUTHSVC_SIGNING_KEYS_DIR": "nowhere"}, "signing_keys_dir: "),
        ({"AUTHSVC_SIGNING_KEYS_DIR": "broken"}, "signing_keys_dir: "),
        ({"AUTHSVC_SIGNING_KEYS_DIR": "empty"}, "signing_keys_dir: holds no key"),
        ({"AUTHSVC_APPS_FILE": "nowhere.toml"}, "apps_file: cannot be read"),
        ({"AUTHSVC_APPS_FILE": "broken.toml"}, "apps_file: is not valid TOML"),
        ({"AUTHSVC_DEFAULT_APP": "wx3333333333333333"}, "default_app: is not in the apps file"),
        ({"AUTHSVC_DATABASE_URL": f"mysql://u:{CANARY}@h/d"}, "database_url: "),
        ({"AUTHSVC_GRPC_PORT": CANARY}, "grpc_port: "),
        ({"AUTHSVC_CONFIG": "broken.toml"}, "AUTHSVC_CONFIG: "),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_told_without_its_value(
    run: Run, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    """
    Unusable parts have their own complaint; no secret is quoted, wherever it stands.
    """
    env = set_up(run, tmp_path) | changes
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/key.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.toml").write_text(f'[[apps]]\nsecret = "{CANARY}')
    result = run("config", "check", **env)

    assert result.exit_code == 78
    assert says in result.stderr
    assert CANARY not in result.output
    assert "Traceback" not in result.output


def test_settings_are_printed_masked(run: Run, tmp_path: Path) -> None:
    """
    As JSON, with options applied and secrets as stars.
    """
    env = set_up(run, tmp_path)
    result = run("config", "print", "--grpc-port", "7", "--accept-exposure", **env)
    printed = json.loads(result.stdout)

    assert (printed["grpc_port"], printed["accept_exposure"]) == (7, True)
    assert (printed["master_keys"], printed["database_url"]) == ("***", "***")
    assert env["AUTHSVC_MASTER_KEYS"] not in result.output


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_keys_are_generated_privately_and_never_overwritten(run: Run, tmp_path: Path, alg: str) -> None:
    """
    Each call makes one more file, 0600, in a directory only we can enter; the earlier ones are untouched.
    """
    first = Path(run("keys", "generate", "--dir", "keys", "--alg", alg).stdout.strip())
    content = first.read_bytes()
    second = Path(run("keys", "generate", AUTHSVC_SIGNING_KEYS_DIR="keys").stdout.strip())
    listed = run("keys", "list", "--dir", "keys")
    rows = [json.loads(line) for line in listed.stdout.splitlines()]

    assert first != second
    assert first.read_bytes() == content
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "keys").iterdir())
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert sorted(row["alg"] for row in rows) == sorted([alg, "ES256"])
    assert all(set(row) == {"kid", "alg", "created_at"} for row in rows)
    assert content.decode().splitlines()[1] not in listed.output


def test_master_keys_are_printed_and_differ(run: Run) -> None:
    """
    A master key goes to standard output only, for whatever keeps the secrets.
    """
    made = {run("keys", "generate", "--master").stdout for _ in range(3)}

    assert len(made) == 3
    assert all(len(MasterRing.parse(text.strip()).ids()) == 1 for text in made)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("keys", "generate"), 2),
        (("keys", "list"), 2),
        (("keys", "list", "--dir", "nowhere"), 1),
        (("keys", "list", "--dir", "broken"), 1),
        (("keys", "generate", "--dir", "a-file/keys"), 1),
        (("migrate",), 78),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    run: Run, tmp_path: Path, words: tuple[str, ...], status: int
) -> None:
    """
    A message and an exit status, no traceback, nothing of the files' content.
    """
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/x.pem").write_text(CANARY)
    (tmp_path / "a-file").touch()
    result = run(*words)

    assert (result.exit_code, type(result.exception)) == (status, SystemExit)
    assert "Error: " in result.stderr
    assert CANARY not in result.output


def test_migrate_from_empty_to_current(run: Run, tmp_path: Path) -> None:
    """
    `--check` only looks (1 until current, then 0) and creates nothing; a second run changes nothing.
    """
    env = {"AUTHSVC_DATABASE_URL": "sqlite:///authsvc.db"}
    before = run("migrate", "--check", **env)
    assert not (tmp_path / "authsvc.db").exists()
    first, second = run("migrate", **env), run("migrate", **env)
    after = run("migrate", "--check", **env)

    assert (before.exit_code, after.exit_code, after.stdout) == (1, 0, "current\n")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.endswith("-> current\n")
    assert second.stdout == "current -> current\n"
    assert (tmp_path / "authsvc.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "command", [("migrate",), ("migrate", "--check"), ("serve",), ("doctor", "--no-service", "--no-wechat")]
)
def test_a_newer_database_is_refused_and_left_alone(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """
    An older release must not touch what a newer one has made of the record.
    """
    env = set_up(run, tmp_path)
    run("migrate", **env)
    with closing(sqlite3.connect("authsvc.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    result = run(*command, **env, AUTHSVC_GRPC_PORT="0", AUTHSVC_OPS_PORT="0")

    assert result.exit_code == 1
    assert "newer" in result.output
    assert "Traceback" not in result.output
    with closing(sqlite3.connect("authsvc.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_serve_wants_a_migrated_database(run: Run, tmp_path: Path) -> None:
    """
    It does not migrate by itself; it says what to run.
    """
    env = set_up(run, tmp_path)
    result = run("serve", **env, AUTHSVC_GRPC_PORT="0", AUTHSVC_OPS_PORT="0")

    assert result.exit_code == 1
    assert "authsvc migrate" in result.stderr


def test_a_file_that_is_no_database(run: Run, tmp_path: Path) -> None:
    """
    It is told in a sentence and left as it is.
    """
    (tmp_path / "authsvc.db").write_text(CANARY * 200)
    result = run("migrate", AUTHSVC_DATABASE_URL="sqlite:///authsvc.db")

    assert (result.exit_code, "Error: " in result.stderr, CANARY in result.output) == (1, True, False)
    assert (tmp_path / "authsvc.db").read_text() == CANARY * 200


@pytest.mark.parametrize("app", SANDBOX_APPS, ids=lambda app: app.app_id)
def test_prod_refuses_sandbox_apps(run: Run, tmp_path: Path, app: object) -> None:
    """
    Neither by name nor by where they are sent; each problem is told.
    """
    apps = (
        f'{APP}[[apps]]\nid = "{app.app_id}"\nsecret = "{app.secret}"\nwechat_url = "http://127.0.0.1:8090"\n'  # type: ignore[attr-defined]
    )
    env = set_up(run, tmp_path, apps=apps)
    result = run("config", "check", **env)

    assert result.exit_code == 78
    assert "is a sandbox app" in result.stderr
    assert "a WeChat host is not official" in result.stderr
    assert run("config", "check", **env, AUTHSVC_ENV="test").exit_code == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://api.weixin.qq.com",
        "https://weixin.example",
        "https://api.weixin.qq.com:8443",
        "https://api.weixin.qq.com.evil.example",
    ],
)
def test_prod_knows_wechats_hosts(run: Run, tmp_path: Path, url: str) -> None:
    """
    Another host, port or scheme must be allowed by name.
    """
    env = set_up(run, tmp_path, apps=f'{APP}wechat_url = "{url}"\nwechat_backup_urls = []\n')
    host = url.partition("//")[2].partition(":")[0]

    assert "a WeChat host is not official" in run("config", "check", **env).stderr
    assert run("config", "check", "--wechat-allow-hosts", host, **env).exit_code == 0
