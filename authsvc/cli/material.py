"""Key material and apps of a server, from the configuration; in dev, made on the first start."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from authsvc.app import Secrets
from authsvc.app.certificates import CertificateProblem, read_tls
from authsvc.app.channels import Credentials
from authsvc.cli.options import Misconfigured, misconfigured
from authsvc.config import AppsFileProblem, ConfigProblem, ConfiguredApp, Settings, load_apps, load_settings
from authsvc.config.principals import PrincipalsFileProblem, load_principals
from authsvc.config.settings import PREFIX
from authsvc.keys import DirectoryKeys, KeyProblem, MasterRing, generate_signing_key, write_new
from authsvc.ports import Entropy
from authsvc.storage import is_postgres
from authsvc.system import SystemClock, process_id

T = TypeVar("T")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class Configured:
    """Everything a server needs that is not a plain setting."""

    secrets: Secrets
    apps: tuple[ConfiguredApp, ...]
    database: str


def configured(settings: Settings) -> Configured:
    """
    Return keys, apps and database of a server.

    Raises:
        Misconfigured: naming everything that is missing or unusable, of all three at once.

    """
    complaints: list[str] = []
    secrets = _collect(lambda: configured_secrets(settings), complaints)
    _collect(lambda: judge_trust(settings), complaints)
    apps = _collect(lambda: configured_apps(settings), complaints)
    database = _collect(lambda: configured_database(settings), complaints)
    complaints.extend(redis_complaints(settings))
    if secrets is None or apps is None or database is None or complaints:
        raise misconfigured(complaints)
    return Configured(secrets=secrets, apps=apps, database=database)


def read_configured(given: Mapping[str, Any]) -> tuple[Settings, Configured]:
    """
    Return the settings, as `read_settings` does, and keys, apps and database.

    Raises:
        Misconfigured: naming everything that is wrong with any of them.

    """
    try:
        settings = load_settings(given)
    except ConfigProblem as problem:
        complaints = problem.complaints
        usable = problem.usable
    else:
        return settings, configured(settings)
    if usable is not None:
        told = {text.partition(":")[0].removeprefix(PREFIX).lower() for text in complaints}
        try:
            configured(usable)
        except Misconfigured as more:
            # What was refused above is not missing.
            complaints += [text for text in more.complaints if text.partition(":")[0] not in told]
    raise misconfigured(complaints)


def _collect(judge: Callable[[], T], complaints: list[str]) -> T | None:
    try:
        return judge()
    except Misconfigured as problem:
        complaints.extend(problem.complaints)
        return None


def configured_secrets(settings: Settings) -> Secrets:
    """
    Return the configured key material.

    Raises:
        Misconfigured: naming everything that is missing or unusable.

    """
    complaints: list[str] = []
    master: MasterRing | None = None
    if settings.master_keys is None:
        complaints.append("master_keys: is missing; make one with `authsvc keys generate --master`")
    else:
        try:
            master = MasterRing.parse(settings.master_keys.get_secret_value())
        except ValueError as error:
            complaints.append(f"master_keys: {error}")
    signing = _collect(lambda: configured_signing_keys(settings), complaints)
    if complaints or master is None or signing is None:
        raise misconfigured(complaints)
    return Secrets(master=master, signing=signing)


def configured_signing_keys(settings: Settings) -> DirectoryKeys:
    """
    Return the private signing keys of the directory and of the environment; at least one.

    Raises:
        Misconfigured: there is none, or one is unusable.

    """
    text = "" if settings.signing_keys is None else settings.signing_keys.get_secret_value()
    passphrase = settings.signing_keys_passphrase
    if not settings.signing_keys_dir and not text:
        raise misconfigured(
            [
                "signing_keys_dir: is missing; fill one with `authsvc keys generate --dir DIR`, or set signing_keys"
            ]
        )
    name = "signing_keys_dir" if settings.signing_keys_dir else "signing_keys"
    try:
        signing = DirectoryKeys.load(
            Path(settings.signing_keys_dir).expanduser() if settings.signing_keys_dir else None,
            text=text,
            text_read_at=SystemClock().now(),
            passphrase="" if passphrase is None else passphrase.get_secret_value(),
        )
    except KeyProblem as problem:
        raise misconfigured([f"{name}: {complaint}" for complaint in problem.complaints]) from None
    except OSError as error:
        raise misconfigured([f"{name}: {error.strerror}"]) from None
    if not signing.local_keys():
        raise misconfigured([f"{name}: holds no key; make one with `authsvc keys generate --dir DIR`"])
    return signing


def judge_trust(settings: Settings) -> None:
    """
    Return if the certificates and the principals file can be used.

    Raises:
        Misconfigured: naming everything that is missing or unusable.

    """
    complaints: list[str] = []
    own = settings.grpc_certificate
    if own or settings.grpc_certificate_key or settings.grpc_client_ca:
        complaints += _judged(
            lambda: read_tls(own, settings.grpc_certificate_key, settings.grpc_client_ca, prefix="grpc")
        )
    if settings.grpc_keys_port is not None and not settings.grpc_client_ca:
        complaints.append("grpc_keys_port: goes with grpc_client_ca; without it grpc_port takes service keys")
    if settings.principals_file:
        complaints += _judged(lambda: load_principals(settings.principals_file))
    complaints += _edge_complaints(settings)
    if complaints:
        raise misconfigured(complaints)


def judge_edge_trust(settings: Settings) -> None:
    """
    Return if the edge's certificates can be used, its own and those with which it calls.

    Raises:
        Misconfigured: naming everything that is missing or unusable, or that its service key would travel in plain text.

    """
    complaints = _edge_complaints(settings)
    if not settings.allow_plaintext:
        complaints += _judged(lambda: Credentials.of(settings).require_private(settings.grpc_target))
    if complaints:
        raise misconfigured(complaints)


def _edge_complaints(settings: Settings) -> list[str]:
    complaints: list[str] = []
    http = settings.http_certificate
    if http or settings.http_certificate_key:
        complaints += _judged(lambda: read_tls(http, settings.http_certificate_key, prefix="http"))
    complaints += _judged(Credentials.of(settings).transport)
    return complaints


def _judged(read: Callable[[], object]) -> tuple[str, ...]:
    try:
        read()
    except (CertificateProblem, PrincipalsFileProblem) as problem:
        return problem.complaints
    return ()


def configured_apps(settings: Settings) -> tuple[ConfiguredApp, ...]:
    """
    Return the configured mini-programs.

    Raises:
        Misconfigured: naming everything that is missing or unusable.

    """
    if not settings.apps_file:
        raise misconfigured(["apps_file: is missing; it lists the mini-programs (see docs/configuration.md)"])
    try:
        apps = load_apps(
            settings.apps_file, environment=settings.env, allow_hosts=settings.wechat_allow_hosts
        )
    except AppsFileProblem as problem:
        raise misconfigured(problem.complaints) from None
    if settings.default_app and settings.default_app not in {app.id for app in apps}:
        raise misconfigured(["default_app: is not in the apps file"])
    return apps


def redis_complaints(settings: Settings) -> list[str]:
    """Return what is wrong with `redis_url`; whether a Redis answers there is not asked."""
    if settings.redis_url is None:
        return []
    if not settings.redis_url.get_secret_value().startswith(_REDIS_SCHEMES):
        return ["redis_url: begins with none of redis://, rediss://, unix://"]
    if find_spec("redis") is None:
        return ["redis_url: needs the extra `redis` (redis-py)"]
    return []


def configured_database(settings: Settings) -> str:
    """
    Return the database's URL.

    Raises:
        Misconfigured: there is none, it is of neither engine, or the engine's driver is not installed.

    """
    if settings.database_url is None:
        raise misconfigured(["database_url: is missing, e.g. sqlite:///var/lib/authsvc/authsvc.db"])
    url = settings.database_url.get_secret_value()
    if is_postgres(url):
        if find_spec("asyncpg") is None:
            raise misconfigured(["database_url: PostgreSQL needs the extra `postgres` (asyncpg)"])
    elif not url.startswith("sqlite:"):
        raise misconfigured(["database_url: begins with neither sqlite:/// nor postgresql://"])
    return url


def make_dev_secrets(directory: Path, *, entropy: Entropy, now: datetime) -> Secrets:
    """
    Return the key material of a development directory, made on the first start (0600, never overwritten).

    Raises:
        click.ClickException: the directory cannot be used, or a key file in it cannot be read.

    """
    master_file, signing_dir = directory / "master.key", directory / "signing"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not master_file.exists():
            _write_whole(master_file, MasterRing.generate(entropy) + "\n")
        if not signing_dir.is_dir() or not DirectoryKeys.load(signing_dir).local_keys():
            write_new(signing_dir, generate_signing_key(), created_at=now)
            # One prepared key is always published, so that verifiers know the next key before it signs.
            write_new(signing_dir, generate_signing_key(), created_at=now)
        signing = DirectoryKeys.load(signing_dir)
        text = master_file.read_text(encoding="ascii")
    except KeyProblem as problem:
        raise misconfigured([f"{signing_dir}: {text}" for text in problem.complaints]) from None
    except UnicodeDecodeError:
        raise misconfigured([f"{master_file}: is not a key"]) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory}: {error.strerror}") from None
    try:
        return Secrets(master=MasterRing.parse(text), signing=signing)
    except ValueError as error:
        raise misconfigured([f"{master_file}: {error}"]) from None


def _write_whole(path: Path, text: str) -> None:
    """Make the file appear with all its text, unless somebody else has made it meanwhile; then theirs stays."""
    draft = path.with_name(f".{path.name}.{process_id()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
