"""All settings as one frozen value, and where they come from."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from authsvc.config import secrets
from authsvc.config.limits import LimitSection
from authsvc.config.sections import (
    AppSection,
    EdgeSection,
    Environment,
    GeneralSection,
    GrpcSection,
    KeySection,
    OpsSection,
    SandboxSection,
    Section,
    StoreSection,
    VerifySection,
    is_loopback,
)
from authsvc.config.trust import TrustSection

SECTIONS: tuple[type[Section], ...] = (
    GeneralSection,
    StoreSection,
    KeySection,
    AppSection,
    GrpcSection,
    VerifySection,
    EdgeSection,
    OpsSection,
    SandboxSection,
    LimitSection,
    TrustSection,
)
PREFIX = "AUTHSVC_"
CONFIG_VARIABLE = "AUTHSVC_CONFIG"
_DOTENV = Path(".env")
_DOTENV_REFUSED = ".env: is refused in prod; set AUTHSVC_ENV, or remove the file"


class ConfigProblem(ValueError):
    """
    Everything that is wrong with the configuration, one sentence each.

    `usable` is what is left without the bad values, so that whoever judges more than settings can go on.
    """

    def __init__(self, complaints: list[str], *, usable: "Settings | None" = None) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints
        self.usable = usable


class Settings(
    GeneralSection,
    StoreSection,
    KeySection,
    AppSection,
    GrpcSection,
    VerifySection,
    EdgeSection,
    OpsSection,
    SandboxSection,
    LimitSection,
    TrustSection,
    BaseSettings,
):
    """The settings of one process. Made by `load_settings`; frozen. By itself it reads nothing from anywhere."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See BaseSettings: only what is handed in counts."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def all_complaints(self) -> list[str]:
        """Return what every section has to say against itself, and what concerns several of them."""
        found: list[str] = []
        for section in SECTIONS:
            found.extend(section.complaints(self, self.env))
        found.extend(self._plaintext())
        return found

    def _plaintext(self) -> Iterator[str]:
        if self.env is Environment.DEV and self.accept_exposure:
            return
        if not is_loopback(self.grpc_host):
            if not self.asks_callers:
                yield (
                    "grpc_host: without a caller authenticator the gRPC server binds loopback only; "
                    "anybody who reaches it may do anything; set authenticate, principals_file or grpc_client_ca"
                )
            elif not self.grpc_certificate and not self.allow_plaintext:
                yield (
                    "grpc_host: service keys and tokens in plain text beyond loopback; set grpc_certificate, "
                    "or allow_plaintext on a private network"
                )
        if self.env is not Environment.PROD or self.allow_plaintext:
            return
        if not is_loopback(self.http_host) and not self.http_certificate:
            yield (
                "http_host: plain HTTP beyond loopback is refused in prod; set http_certificate, "
                "or allow_plaintext behind a TLS proxy"
            )
        if not is_loopback(self.ops_host):
            yield "ops_host: plain HTTP beyond loopback is refused in prod; set allow_plaintext on a private network"
        if not is_local_target(self.grpc_target) and not self.grpc_ca:
            yield (
                "grpc_target: tokens and codes in plain text beyond loopback are refused in prod; set grpc_ca, "
                "or allow_plaintext on a private network"
            )

    def masked(self) -> dict[str, Any]:
        """Return the settings for printing: secrets are `***`, unset ones None."""
        return {
            name: ("***" if value.get_secret_value() else "")
            if isinstance(value, SecretStr)
            else _plain(value)
            for name, value in ((name, getattr(self, name)) for name in type(self).model_fields)
        }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Environment) else value


SECRET_FIELDS = tuple(
    name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
)


def load_settings(
    options: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """
    Read the settings: options first, then environment (with `*_FILE`, `*_COMMAND`), `.env`, the TOML file.

    *defaults* take the place of the fields' own.
    The TOML file is named by AUTHSVC_CONFIG. `.env` of the working directory is read outside prod only: a file that
    lies around must not configure production.

    Raises:
        ConfigProblem: with every complaint at once; values are never quoted.

    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (options or {}).items() if value is not None}
    complaints: list[str] = []
    from_dotenv = False
    if _DOTENV.is_file():
        if _stage(given, environ, defaults or {}) == Environment.PROD:
            complaints.append(_DOTENV_REFUSED)
        else:
            from_dotenv = True
            environ = _beneath(environ, _read_dotenv())
    toml = _read_toml(environ.get(CONFIG_VARIABLE, ""), complaints)
    # The lowest first: each is overruled by those behind it.
    values = {**(defaults or {}), **toml, **_fetched(environ, complaints), **_Environ(environ)(), **given}
    try:
        settings: Settings | None = Settings(**values)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        complaints.extend(f"{_where(item['loc'])}: {item['msg']}" for item in problems)
        settings = _without(values, {item["loc"][0] for item in problems if item["loc"]})
    if settings is not None:
        complaints.extend(settings.all_complaints())
        if from_dotenv and settings.env is Environment.PROD:
            complaints.append(_DOTENV_REFUSED)
    if complaints or settings is None:
        raise ConfigProblem(complaints, usable=settings)
    return settings


def _stage(given: Mapping[str, Any], environ: Mapping[str, str], defaults: Mapping[str, Any]) -> str:
    """Return where we run, as far as anything but `.env` says."""
    toml = _read_toml(environ.get(CONFIG_VARIABLE, ""), [])
    return str(
        given.get("env") or environ.get(PREFIX + "ENV") or toml.get("env") or defaults.get("env", "prod")
    )


def _beneath(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, str]:
    """Return both, the environment on top; a secret that it names in any way hides every way of `.env`."""
    hidden = {
        variable
        for spellings in map(_spellings, SECRET_FIELDS)
        if any(environ.get(variable) for variable in spellings)
        for variable in spellings
    }
    return {**{name: value for name, value in dotenv.items() if name not in hidden}, **environ}


def _spellings(name: str) -> tuple[str, str, str]:
    variable = PREFIX + name.upper()
    return variable, f"{variable}_FILE", f"{variable}_COMMAND"


def _fetched(environ: Mapping[str, str], complaints: list[str]) -> dict[str, str]:
    """Return the secrets of the environment, from wherever it says they are."""
    found = {}
    for name in SECRET_FIELDS:
        variable, file, command = _spellings(name)
        given = {
            variable: environ.get(variable),
            f"{variable}_file": environ.get(file),
            f"{variable}_command": environ.get(command),
        }
        try:
            value = secrets.resolve(variable, given)
        except secrets.SecretProblem as problem:
            complaints.append(str(problem))
        else:
            if value is not None:
                found[name] = value
    return found


def _without(values: Mapping[str, Any], bad: set[int | str]) -> Settings | None:
    """Return the settings without the bad values, so that a typo in one does not hide what is wrong with the rest."""
    try:
        return Settings(**{name: value for name, value in values.items() if name not in bad})
    except ValidationError:
        return None


def _read_dotenv() -> dict[str, str]:
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(_DOTENV).items() if value is not None}


def _read_toml(path: str, complaints: list[str]) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        complaints.append(f"{CONFIG_VARIABLE}: there is no such file")
    except OSError as error:
        complaints.append(f"{CONFIG_VARIABLE}: cannot be read: {error.strerror}")
    except ValueError:
        # A TOML error may quote the line it stumbled on, and that line may hold a secret.
        complaints.append(f"{CONFIG_VARIABLE}: is not valid TOML")
    return {}


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "settings"


def is_local_target(target: str) -> bool:
    """
    Tell whether a gRPC target (gRPC Name Resolution: `scheme:address`, `dns://server/address`) stays on this machine.

    One that somebody else resolves does not, whatever name it asks for.
    """
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    scheme, colon, rest = target.partition(":")
    address = rest.removeprefix("///") if colon and scheme in ("dns", "ipv4", "ipv6") else target
    if "/" in address:
        return False
    host = address.rpartition(":")[0] if ":" in address else address
    return is_loopback(host.removeprefix("[").removesuffix("]"))


class _Environ(EnvSettingsSource):
    """The environment that was handed in, so that tests and callers need not touch the process's own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._given = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        known = {PREFIX + name.upper() for name in Settings.model_fields if name not in SECRET_FIELDS}
        return {
            name.lower(): value
            for name, value in self._given.items()
            if name.upper() in known and value != ""
        }
