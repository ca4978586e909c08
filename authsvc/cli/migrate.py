"""`authsvc migrate`: bring the database to this release's schema."""

from typing import Any

import click

from authsvc.cli.material import configured_database
from authsvc.cli.options import read_settings, settings_options
from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import SchemaNotCurrent, migrate, schema_state


@click.command("migrate")
@click.option(
    "--check", is_flag=True, help="Only say what the schema's state is; exit 1 unless it is current"
)
@settings_options("env")
def command(*, check: bool, **given: Any) -> None:
    """Bring the database (AUTHSVC_DATABASE_URL) to this release's schema. Safe to run from every replica at once."""
    database = configured_database(read_settings(given))
    try:
        before = schema_state(database)
        if check:
            click.echo(before.value)
            raise SystemExit(0 if before.value == "current" else 1)
        migrate(database)
    except (SchemaNotCurrent, StoreUnavailable, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{before.value} -> {schema_state(database).value}")
