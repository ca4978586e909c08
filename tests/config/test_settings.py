"""Where settings come from, which source wins, and that everything wrong is told at once without quoting a value."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from authsvc.cli import main
from authsvc.config import ConfigProblem, Environment, Settings, load_settings
from authsvc.config.settings import SECRET_FIELDS, is_local_target
from authsvc.domain.principals import Role

CANARY = "canary-secret-0123456789"
# For each setting a text that is not its default, and what it means.
SAMPLES: dict[str, tuple[str, Any]] = {
    "env": ("test", Environment.TEST),
    "issuer": ("https://auth.example", "https://auth.example"),
    "log_format": ("human", "human"),
    "log_level": ("warning", "warning"),
    "ready_file": ("/run/ready.json", "/run/ready.json"),
    "database_url": ("postgresql://x/y", "postgresql://x/y"),
    "database_read_url": ("postgresql://r/y", "postgresql://r/y"),
    "database_listen_url": ("postgresql://d/y", "postgresql://d/y"),
    "database_notifications": ("false", False),
    "database_pool_size": ("3", 3),
    "database_answer_within": ("1.5", 1.5),
    "session_retention": ("7", 7),
    "audit_retention": ("400", 400),
    "master_keys": (CANARY, CANARY),
    "signing_keys_dir": ("/keys", "/keys"),
    "signing_keys": (CANARY, CANARY),
    "signing_keys_passphrase": (CANARY, CANARY),
    "signing_key_rotation_days": ("90", 90),
    "apps_file": ("/apps.toml", "/apps.toml"),
    "default_app": ("wx1", "wx1"),
    "wechat_allow_hosts": ("a.example, b.example", ("a.example", "b.example")),
    "grpc_host": ("127.0.0.2", "127.0.0.2"),
    "grpc_port": ("0", 0),
    "workers": ("3", 3),
    "grpc_reflection": ("true", True),
    "drain_wait": ("0.5", 0.5),
    "stop_grace": ("3", 3.0),
    "connection_age": ("60", 60.0),
    "local_roles": ("edge,verifier", (Role.EDGE, Role.VERIFIER)),
    "accept_exposure": ("true", True),
    "hard_bound": ("10", 10.0),
    "token_cache_size": ("10", 10),
    "http_host": ("::1", "::1"),
    "http_port": ("0", 0),
    "grpc_target": ("localhost:1", "localhost:1"),
    "edge_audiences": ("shop,orders", ("shop", "orders")),
    "http_origins": ("https://m.example.com", ("https://m.example.com",)),
    "trusted_proxies": ("10.0.0.0/8,192.168.0.1", ("10.0.0.0/8", "192.168.0.1")),
    "language": ("en", "en"),
    "allow_plaintext": ("true", True),
    "ops_host": ("127.0.0.3", "127.0.0.3"),
    "ops_port": ("0", 0),
    "sandbox_host": ("127.0.0.4", "127.0.0.4"),
    "sandbox_port": ("0", 0),
    "authenticate": ("true", True),
    "principals_file": ("/principals.toml", "/principals.toml"),
    "grpc_certificate": ("/grpc.pem", "/grpc.pem"),
    "grpc_certificate_key": ("/grpc.key", "/grpc.key"),
    "grpc_client_ca": ("/clients.pem", "/clients.pem"),
    "grpc_keys_port": ("0", 0),
    "http_certificate": ("/http.pem", "/http.pem"),
    "http_certificate_key": ("/http.key", "/http.key"),
    "grpc_ca": ("/servers.pem", "/servers.pem"),
    "grpc_client_certificate": ("/me.pem", "/me.pem"),
    "grpc_client_certificate_key": ("/me.key", "/me.key"),
    "grpc_server_name": ("auth.internal", "auth.internal"),
    "service_key": (CANARY, CANARY),
    "redis_url": (CANARY, CANARY),
    "limits_wide": ("true", True),
    "limit_login_app": ("7/min burst 9", "7/min burst 9"),
    "limit_login_ip": ("7/min burst 9", "7/min burst 9"),
    "limit_login_device": ("7/min burst 9", "7/min burst 9"),
    "limit_login_user": ("7/min burst 9", "7/min burst 9"),
    "limit_login_failed_code": ("7/min burst 9", "7/min burst 9"),
    "limit_login_failed_device": ("7/min burst 9", "7/min burst 9"),
    "limit_login_failed_sender": ("7/min burst 9", "7/min burst 9"),
    "limit_login_failed_ip": ("7/min burst 9", "7/min burst 9"),
    "limit_refresh_ip": ("7/min burst 9", "7/min burst 9"),
    "limit_refresh_session": ("7/min burst 9", "7/min burst 9"),
    "limit_refresh_forged_ip": ("7/min burst 9", "7/min burst 9"),
    "limit_principal_calls": ("7/min burst 9", "7/min burst 9"),
    "limit_principal_checks": ("7/min burst 9", "7/min burst 9"),
    "limit_principal_watches": ("7/min burst 9", "7/min burst 9"),
    "limit_forged_ip": ("7/min burst 9", "7/min burst 9"),
    "watchers": ("7", 7),
    "watchers_per_principal": ("6", 6),
    "calls_in_flight": ("5", 5),
}
FIELDS = [name for name in Settings.model_fields if name in SAMPLES]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` and no file of the developer's takes part."""
    monkeypatch.chdir(tmp_path)


def load(
    environ: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None, **defaults: Any
) -> Settings:
    return load_settings(options, environ={"AUTHSVC_ENV": "test", **(environ or {})}, defaults=defaults)


def complaints(
    environ: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> list[str]:
    with pytest.raises(ConfigProblem) as caught:
        load(environ, options)
    return caught.value.complaints


def plain(settings: Settings, name: str) -> Any:
    value = getattr(settings, name)
    return value.get_secret_value() if name in SECRET_FIELDS else value


def test_the_samples_know_every_setting() -> None:
    """
    A new setting needs a sample here, so that the tests below cover it.
    """
    assert set(Settings.model_fields) - set(SAMPLES) == set()
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_an_environment_variable(name: str) -> None:
    """
    AUTHSVC_ and the name in capitals; an empty variable is as good as none.
    """
    text, expected = SAMPLES[name]

    assert plain(load({f"AUTHSVC_{name.upper()}": text}), name) == expected
    default = Settings.model_fields[name].default
    unset = load({f"AUTHSVC_{name.upper()}": "", "AUTHSVC_ENV": "test"})
    assert getattr(unset, name) == (Environment.TEST if name == "env" else default)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_a_toml_key(name: str, tmp_path: Path) -> None:
    """
    The same names in a TOML file, with TOML's own types.
    """
    _, expected = SAMPLES[name]
    value = [str(item) for item in expected] if isinstance(expected, tuple) else expected
    (tmp_path / "a.toml").write_text(f"{name} = {json.dumps(value)}\n")
    environ = {"AUTHSVC_CONFIG": "a.toml"} | ({"AUTHSVC_ENV": ""} if name == "env" else {})

    assert plain(load(environ), name) == expected


def options_of(*path: str) -> dict[str, click.Option]:
    found: click.Command = main
    for word in path:
        assert isinstance(found, click.Group)
        command = found.get_command(click.Context(main), word)
        assert command is not None
        found = command
    return {str(option.name): option for option in found.params if isinstance(option, click.Option)}


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in SECRET_FIELDS])
def test_every_setting_is_an_option_where_it_matters(name: str) -> None:
    """
    `config check` takes them all; each is an option of a command that runs something; the help names the variable.
    """
    running = [options_of(command) for command in ("dev", "serve", "edge", "sandbox", "doctor")]
    holders = [options for options in running if name in options]

    assert name in options_of("config", "check")
    assert name in options_of("config", "print")
    assert holders
    for options in holders:
        assert f"AUTHSVC_{name.upper()}" in (options[name].help or "")


@pytest.mark.parametrize("name", SECRET_FIELDS)
def test_no_secret_is_an_option(name: str) -> None:
    """
    A command line is visible to everybody on the machine.
    """
    for command in ("dev", "serve", "edge", "sandbox", "doctor"):
        assert name not in options_of(command)


def test_the_order_of_sources(tmp_path: Path) -> None:
    """
    Options win over the environment, that over `.env`, that over the TOML file, that over defaults.
    """
    (tmp_path / "a.toml").write_text('issuer = "toml"\nlanguage = "en"\n')
    (tmp_path / ".env").write_text("AUTHSVC_ISSUER=dotenv\n")
    toml = {"AUTHSVC_CONFIG": "a.toml"}
    environment = {**toml, "AUTHSVC_ISSUER": "environment"}

    assert load(environment, {"issuer": "option"}).issuer == "option"
    assert load(environment, {"issuer": None}).issuer == "environment"
    assert load(toml).issuer == "dotenv"
    (tmp_path / ".env").unlink()
    assert load(toml, issuer="default").issuer == "toml"
    assert load(toml).language == "en"
    assert load(issuer="default").issuer == "default"
    assert load().issuer == "authsvc"


def test_dotenv_may_name_the_toml_file(tmp_path: Path) -> None:
    """
    `.env` can say everything that the environment can.
    """
    (tmp_path / "a.toml").write_text('issuer = "toml"\n')
    (tmp_path / ".env").write_text("AUTHSVC_CONFIG=a.toml\n")

    assert load().issuer == "toml"


def test_dotenv_cannot_make_itself_production(tmp_path: Path) -> None:
    """
    A file that lies around never configures production, not even by saying that it is production.
    """
    (tmp_path / ".env").write_text(f"AUTHSVC_ENV=prod\nAUTHSVC_MASTER_KEYS={CANARY}\n")
    with pytest.raises(ConfigProblem) as caught:
        load_settings(environ={}, defaults={"env": "dev"})

    assert [text.partition(":")[0] for text in caught.value.complaints] == [".env"]


@pytest.mark.parametrize("environ", [{}, {"AUTHSVC_ENV": "prod"}])
def test_prod_is_the_default_and_refuses_dotenv(tmp_path: Path, environ: dict[str, str]) -> None:
    """
    Who forgets to say where he runs, runs in production.
    """
    assert load_settings(environ=environ).env is Environment.PROD
    (tmp_path / ".env").write_text("AUTHSVC_ISSUER=x\n")
    with pytest.raises(ConfigProblem, match=r"\.env: is refused in prod"):
        load_settings(environ=environ)


@pytest.mark.parametrize("name", SECRET_FIELDS)
def test_a_secret_may_come_from_a_file_or_a_command(tmp_path: Path, name: str) -> None:
    """
    The newline at the end is not a part of it.
    """
    variable = f"AUTHSVC_{name.upper()}"
    (tmp_path / "secret").write_text(CANARY + "\n")

    assert plain(load({f"{variable}_FILE": "secret"}), name) == CANARY
    assert plain(load({f"{variable}_COMMAND": "cat secret"}), name) == CANARY
    assert plain(load({f"{variable}_COMMAND": f"echo '{CANARY} ; $HOME'"}), name) == f"{CANARY} ; $HOME"


@pytest.mark.parametrize("name", SECRET_FIELDS)
def test_the_environment_outranks_dotenv_in_any_spelling(tmp_path: Path, name: str) -> None:
    """
    A secret's file named by the environment wins over a value in `.env`, without a quarrel.
    """
    variable = f"AUTHSVC_{name.upper()}"
    (tmp_path / "secret").write_text(CANARY)
    (tmp_path / ".env").write_text(f"{variable}=other\n")

    assert plain(load({f"{variable}_FILE": "secret"}), name) == CANARY


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"_FILE": "/nothing/there"}, "No such file"),
        ({"_FILE": "binary"}, "not UTF-8"),
        ({"_COMMAND": "false"}, "exit status 1"),
        ({"_COMMAND": "true"}, "printed nothing"),
        ({"_COMMAND": "/no/such/program"}, "FileNotFoundError"),
        ({"_COMMAND": "echo 'unclosed"}, "ValueError"),
        ({"_COMMAND": f"sh -c 'echo {CANARY}; echo {CANARY} >&2; exit 3'"}, "exit status 3"),
        ({"_FILE": "secret", "_COMMAND": "cat secret"}, "not several"),
        ({"": CANARY, "_FILE": "secret"}, "not several"),
    ],
    ids=str,
)
def test_a_secret_that_cannot_be_fetched_is_told_without_it(
    tmp_path: Path, given: dict[str, str], says: str
) -> None:
    """
    The complaint names the variable and the reason, never what was fetched or given.
    """
    (tmp_path / "secret").write_text(CANARY)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    environ = {f"AUTHSVC_MASTER_KEYS{suffix}": value for suffix, value in given.items()}
    (found,) = complaints(environ)

    assert found.startswith("AUTHSVC_MASTER_KEYS: ")
    assert says in found
    assert CANARY not in found


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """
    Wrong types, unknown keys, unfetchable secrets, refused combinations and missing files: one list, no value.
    """
    (tmp_path / "a.toml").write_text(f'nonsense = "{CANARY}"\nops_port = "{CANARY}"\n')
    found = complaints(
        {
            "AUTHSVC_CONFIG": "a.toml",
            "AUTHSVC_GRPC_PORT": CANARY,
            "AUTHSVC_HTTP_PORT": "70000",
            "AUTHSVC_LOG_LEVEL": CANARY,
            "AUTHSVC_HARD_BOUND": "0",
            "AUTHSVC_LOCAL_ROLES": f"edge,{CANARY}",
            "AUTHSVC_TRUSTED_PROXIES": "nowhere",
            "AUTHSVC_GRPC_HOST": "0.0.0.0",  # noqa: S104 - to be refused
            "AUTHSVC_MASTER_KEYS_COMMAND": "false",
            "AUTHSVC_DATABASE_URL_FILE": "/nothing/there",
        },
        {"language": "fr"},
    )
    subjects = {text.partition(":")[0].partition(".")[0] for text in found}

    assert subjects == {
        "nonsense", "ops_port", "grpc_port", "http_port", "log_level", "hard_bound", "local_roles", "language",
        "trusted_proxies", "grpc_host", "AUTHSVC_MASTER_KEYS", "AUTHSVC_DATABASE_URL",
    }  # fmt: skip
    assert CANARY not in str(found)


@pytest.mark.parametrize(
    "content", [f'master_keys = "{CANARY}', f"{CANARY}", f'[a\nb = "{CANARY}"', "\ufffe", f"master_keys = ['{CANARY}']"]
)  # fmt: skip
def test_a_broken_toml_file_is_told_without_its_content(tmp_path: Path, content: str) -> None:
    """
    A syntax error may stand in the middle of a secret.
    """
    (tmp_path / "a.toml").write_text(content)
    found = complaints({"AUTHSVC_CONFIG": "a.toml", "AUTHSVC_GRPC_PORT": "x"})

    assert CANARY not in str(found)
    assert len(found) == 2


def test_a_toml_file_that_is_not_there_is_told() -> None:
    """
    A misspelt path does not mean defaults.
    """
    assert complaints({"AUTHSVC_CONFIG": "nothing.toml"}) == ["AUTHSVC_CONFIG: there is no such file"]


def test_settings_are_frozen_and_masked() -> None:
    """
    Nothing changes them afterwards, and neither printing nor repr shows a secret; a password in the database URL is one.
    """
    settings = load({"AUTHSVC_MASTER_KEYS": CANARY, "AUTHSVC_DATABASE_URL": f"sqlite:///{CANARY}"})
    masked = settings.masked()

    with pytest.raises(ValueError, match="frozen"):
        settings.issuer = "x"  # type: ignore[misc]
    assert (masked["master_keys"], masked["database_url"]) == ("***", "***")
    assert load().masked()["master_keys"] is None
    assert set(masked) == set(Settings.model_fields)
    assert CANARY not in json.dumps(masked) + repr(settings) + str(settings)


PROD = {"AUTHSVC_ENV": "prod"}


@pytest.mark.parametrize(
    ("environ", "subject"),
    [
        ({"AUTHSVC_LOG_LEVEL": "debug"}, "log_level"),
        ({"AUTHSVC_HTTP_HOST": "0.0.0.0"}, "http_host"),  # noqa: S104 - to be refused
        ({"AUTHSVC_OPS_HOST": "0.0.0.0"}, "ops_host"),  # noqa: S104 - to be refused
        ({"AUTHSVC_HTTP_HOST": "::"}, "http_host"),
        ({"AUTHSVC_HTTP_HOST": "auth.example"}, "http_host"),
        ({"AUTHSVC_GRPC_TARGET": "10.0.0.1:50051"}, "grpc_target"),
        ({"AUTHSVC_GRPC_TARGET": "dns:///auth.example:50051"}, "grpc_target"),
        ({"AUTHSVC_GRPC_HOST": "0.0.0.0"}, "grpc_host"),  # noqa: S104 - to be refused
        ({"AUTHSVC_GRPC_HOST": "0.0.0.0", "AUTHSVC_ACCEPT_EXPOSURE": "true"}, "grpc_host"),  # noqa: S104 - as above
    ],
)
def test_what_prod_refuses(environ: dict[str, str], subject: str) -> None:
    """
    Debug, plaintext beyond loopback, and a gRPC server that asks nobody who he is.
    """
    assert [text.partition(":")[0] for text in complaints({**PROD, **environ})] == [subject]


@pytest.mark.parametrize(
    "environ",
    [
        {"AUTHSVC_HTTP_HOST": "0.0.0.0", "AUTHSVC_ALLOW_PLAINTEXT": "true"},  # noqa: S104 - allowed by name
        {"AUTHSVC_OPS_HOST": "0.0.0.0", "AUTHSVC_ALLOW_PLAINTEXT": "true"},  # noqa: S104 - as above
        {"AUTHSVC_GRPC_TARGET": "10.0.0.1:1", "AUTHSVC_ALLOW_PLAINTEXT": "true"},
        {"AUTHSVC_HTTP_HOST": "127.0.0.5", "AUTHSVC_GRPC_TARGET": "localhost:1", "AUTHSVC_OPS_HOST": "::1"},
        {"AUTHSVC_GRPC_TARGET": "[::1]:50051"},
        {"AUTHSVC_GRPC_TARGET": "unix:/run/authsvc.sock"},
        {"AUTHSVC_GRPC_TARGET": "dns:///localhost:1"},
    ],
)
def test_what_prod_accepts(environ: dict[str, str]) -> None:
    """
    Loopback, and what was allowed by name.
    """
    assert load({**PROD, **environ}).env is Environment.PROD


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_a_grpc_server_that_knows_no_callers_binds_loopback_only(environment: str) -> None:
    """
    Exposure can be accepted in dev and nowhere else.
    """
    environ = {"AUTHSVC_GRPC_HOST": "192.0.2.1", "AUTHSVC_ACCEPT_EXPOSURE": "true"}

    assert len(complaints({**environ, "AUTHSVC_ENV": environment})) == 1
    assert load({**environ, "AUTHSVC_ENV": "dev"}).grpc_host == "192.0.2.1"
    with pytest.raises(ConfigProblem):
        load({"AUTHSVC_GRPC_HOST": "192.0.2.1", "AUTHSVC_ENV": "dev"})


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "localhost", "dns:localhost:1", "dns:///127.0.0.1:1",
        "ipv4:127.0.0.1:1", "ipv4:///127.0.0.1:1", "ipv6:[::1]:1", "unix:/run/a.sock", "unix:///run/a.sock",
        "unix-abstract:a",
    ],
)  # fmt: skip
def test_what_stays_on_this_machine(target: str) -> None:
    """A service key may go there in plain text, and the operator's key of `authsvc dev` goes nowhere else."""
    assert is_local_target(target)


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.5:1", "authsvc:1", "127.0.0.1.evil.example:1", "localhost.evil.example:1", "0.0.0.0:1", "[::]:1", "",
        "ipv4:127.0.0.1:1,10.0.0.5:1", "ipv4:10.0.0.5:1,127.0.0.1:1", "dns:///127.0.0.1:1,10.0.0.5:1",
        "dns://10.0.0.5/localhost:1", "evil.example/127.0.0.1:1", "evil.example:1/localhost:2",
        "xds:///localhost:1", "passthrough:///localhost:1", "127.0.0.1:1@evil.example:2", "dns:evil.example:1",
    ],
)  # fmt: skip
def test_what_may_leave_this_machine(target: str) -> None:
    """Also where somebody else's resolver says what `localhost` is, and where only one of several is here."""
    assert not is_local_target(target)
