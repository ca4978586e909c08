"""Settings as command-line options: one option per field, made from the field itself."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from authsvc.config import ConfigProblem, Settings, load_settings
from authsvc.config.settings import PREFIX, SECRET_FIELDS

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(*names: str, **defaults: Any) -> Callable[[F], F]:
    """
    Add the options for these settings; their values arrive as keyword arguments, None where not given.

    *defaults* are shown in the help in place of the settings' own. Secrets are never options: a command line is
    visible to every user of the machine.
    """

    def decorate(command: F) -> F:
        for name in reversed(names):
            field = Settings.model_fields[name]
            if name in SECRET_FIELDS:
                raise ValueError(f"{name} is a secret")
            default = defaults.get(name, field.default)
            shown = f"  [env: {PREFIX}{name.upper()}; default: {_shown(default)}]"
            flag, text = f"--{name.replace('_', '-')}", (field.description or "") + shown
            if field.annotation in (bool, bool | None):
                # A switch may stand alone (`--accept-exposure`) or with its value, as in the environment.
                option = click.option(flag, name, is_flag=False, flag_value="true", help=text)
            else:
                option = click.option(flag, name, help=text)
            command = option(command)
        return command

    return decorate


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default) or "none"
    return "none" if default in ("", None) else str(default)


def read_settings(given: dict[str, Any], **defaults: Any) -> Settings:
    """
    Return the settings: options, then environment and files, then *defaults* of this command.

    Raises:
        click.ClickException: with every complaint; exit status 78 (configuration error, sysexits.h).

    """
    try:
        return load_settings(given, defaults=defaults)
    except ConfigProblem as problem:
        raise misconfigured(problem.complaints) from None


class Misconfigured(click.ClickException):
    """The configuration cannot be used; every complaint is told."""

    exit_code = 78

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__(
            "the configuration cannot be used:\n" + "\n".join(f"  - {text}" for text in complaints)
        )
        self.complaints = tuple(complaints)


def misconfigured(complaints: Sequence[str]) -> Misconfigured:
    """Return the exception that lists every complaint."""
    return Misconfigured(complaints)
