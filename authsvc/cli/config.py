"""`authsvc config`: what the configuration is, and whether a server could start with it."""

import json
from typing import Any

import click

from authsvc.cli.material import read_configured
from authsvc.cli.options import read_settings, settings_options
from authsvc.config import Settings
from authsvc.config.settings import SECRET_FIELDS

_ALL = tuple(name for name in Settings.model_fields if name not in SECRET_FIELDS)


@click.group("config")
def command() -> None:
    """Check or print the configuration."""


@command.command("check")
@settings_options(*_ALL)
def check(**given: Any) -> None:
    """Judge everything `authsvc serve` needs and print every complaint at once; exit 78 if there is one."""
    read_configured(given)
    click.echo("the configuration is good")


@command.command("print")
@settings_options(*_ALL)
def print_settings(**given: Any) -> None:
    """Print the settings as JSON, secrets masked."""
    click.echo(json.dumps(read_settings(given).masked(), indent=2, ensure_ascii=False, sort_keys=True))
