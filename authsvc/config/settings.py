"""All settings as one frozen value, and where they come from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from authsvc.config import secrets
from authsvc.config.sections import (
    SECTIONS,
    AppSection,
    EdgeSection,
    Environment,
    GeneralSection,
    GrpcSection,
    KeySection,
    OpsSection,
    SandboxSection,
    StoreSection,
    VerifySection,
)

PREFIX = "AUTHSVC_"
CONFIG_VARIABLE = "AUTHSVC_CONFIG"
_DOTENV = Path(".env")


class ConfigProblem(ValueError):
    """Everything that is wrong with the configuration, one sentence each."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


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
    BaseSettings,
):
    """The settings of one process. Made by `load_settings`; frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    def all_complaints(self) -> list[str]:
        """Return what every section has to say against itself."""
        found: list[str] = []
        for section in SECTIONS:
            found.extend(section.complaints(self, self.env))
        return found

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


class _ElsewhereSource(PydanticBaseSettingsSource):
    """Secrets named by `AUTHSVC_X_FILE` or `AUTHSVC_X_COMMAND`."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """See PydanticBaseSettingsSource."""
        del field
        variable = PREFIX + field_name.upper()
        given = {
            variable: self._environ.get(variable),
            f"{variable}_file": self._environ.get(f"{variable}_FILE"),
            f"{variable}_command": self._environ.get(f"{variable}_COMMAND"),
        }
        return secrets.resolve(variable, given), field_name, False

    def __call__(self) -> dict[str, Any]:
        """See PydanticBaseSettingsSource."""
        found = {}
        for name in SECRET_FIELDS:
            value, _, _ = self.get_field_value(self.settings_cls.model_fields[name], name)
            if value is not None:
                found[name] = value
        return found


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
    toml = environ.get(CONFIG_VARIABLE, "")
    stage = (
        given.get("env")
        or environ.get(PREFIX + "ENV")
        or _toml_env(toml)
        or (defaults or {}).get("env", "prod")
    )
    complaints: list[str] = []
    if _DOTENV.is_file():
        if stage == Environment.PROD:
            complaints.append(".env: is refused in prod; set AUTHSVC_ENV, or remove the file")
        else:
            environ = {**_read_dotenv(), **environ}
    if toml and not Path(toml).is_file():
        complaints.append(f"{CONFIG_VARIABLE}: there is no such file")
        toml = ""
    settings: Settings | None = None
    try:
        settings = _sourced(given, environ, toml=toml, defaults=defaults or {})()
        complaints.extend(settings.all_complaints())
    except ValidationError as error:
        complaints.extend(
            f"{_where(item['loc'])}: {item['msg']}" for item in error.errors(include_input=False)
        )
    except secrets.SecretProblem as error:
        complaints.append(str(error))
    except ValueError as error:
        complaints.append(f"the configuration cannot be read: {type(error).__name__}")
    if complaints or settings is None:
        raise ConfigProblem(complaints)
    return settings


def _sourced(
    given: Mapping[str, Any], environ: Mapping[str, str], *, toml: str, defaults: Mapping[str, Any]
) -> type[Settings]:
    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, env_settings, dotenv_settings, file_secret_settings
            sources: list[PydanticBaseSettingsSource] = [
                InitSettingsSource(settings_cls, init_kwargs=dict(given)),
                _Environ(settings_cls, environ),
                _ElsewhereSource(settings_cls, environ),
            ]
            if toml:
                sources.append(TomlConfigSettingsSource(settings_cls, toml_file=toml))
            sources.append(InitSettingsSource(settings_cls, init_kwargs=dict(defaults)))
            return tuple(sources)

    return Sourced


def _read_dotenv() -> dict[str, str]:
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(_DOTENV).items() if value is not None}


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "settings"


def _toml_env(path: str) -> str:
    import tomllib

    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("env", "") if path else ""
    except (OSError, ValueError):
        return ""  # the source itself will complain
    return str(found)


class _Environ(EnvSettingsSource):
    """The environment that was handed in, so that tests and callers need not touch the process's own."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._given = environ
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        known = {PREFIX + name.upper() for name in Settings.model_fields}
        return {
            name.lower(): value
            for name, value in self._given.items()
            if name.upper() in known and value != ""
        }
