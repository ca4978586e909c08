"""`authsvc backup`: a copy of the database, taken while the server runs."""

import json
from pathlib import Path
from typing import Any

import click

from authsvc.cli.material import configured_database
from authsvc.cli.options import read_settings, settings_options
from authsvc.storage import database_path, is_postgres
from authsvc.storage.backup import BackupProblem, back_up
from authsvc.system import SystemEntropy


def sqlite_file(database: str, *, instead: str) -> Path:
    """
    Return the file behind the database's URL.

    Raises:
        click.ClickException: it is PostgreSQL, which has tools of its own; *instead* says which.

    """
    if is_postgres(database):
        raise click.ClickException(
            f"this command is for SQLite; for PostgreSQL {instead} (docs/operations/backup.md, PostgreSQL)"
        )
    try:
        return database_path(database)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@click.command("backup")
@click.argument("path", type=click.Path(path_type=Path))
@settings_options("env")
def command(*, path: Path, **given: Any) -> None:
    """
    Copy the database (AUTHSVC_DATABASE_URL) to PATH, which must not exist; servers go on.

    The copy is of one moment, checked, complete in one file, and readable by its owner only. Prints what it holds.
    """
    source = sqlite_file(
        configured_database(read_settings(given)), instead="use pg_basebackup with WAL archiving, or pg_dump"
    )
    try:
        made = back_up(source, path, entropy=SystemEntropy())
    except BackupProblem as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(
        json.dumps(
            {
                "bytes": made.size,
                "schema": made.schema.value,
                "position": None if made.head is None else made.head.position,
            }
        )
    )
