"""`authsvc restore`: put a backup in the database's place, and let everybody know that it is one."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from authsvc.cli.backup import sqlite_file
from authsvc.cli.material import configured_database
from authsvc.cli.options import read_settings, settings_options
from authsvc.storage import SchemaNotCurrent
from authsvc.storage.backup import BackupProblem, restore
from authsvc.system import SystemClock, SystemEntropy

# No app may have a longer access_lifetime (config), so no access token outlives a revocation that lasts as long.
LONGEST_ACCESS_LIFETIME = timedelta(days=1)


@click.command("restore")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--revoke-all",
    is_flag=True,
    help="Also end every session of every app, so that no revocation made after the backup is undone;"
    " mini-programs log in again silently",
)
@settings_options("env")
def command(*, path: Path, revoke_all: bool, **given: Any) -> None:
    """
    Put the backup PATH in the place of the database (AUTHSVC_DATABASE_URL).

    Refuses while any process has the database open. What it replaces is kept beside it under another name. The
    result has this release's schema and a new incarnation of the revocation log.
    """
    target = sqlite_file(
        configured_database(read_settings(given)),
        instead="restore with its own tools, then run `authsvc db mark-restored`",
    )
    try:
        done = restore(
            path,
            target,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            revoke_for=LONGEST_ACCESS_LIFETIME if revoke_all else None,
        )
    except (BackupProblem, SchemaNotCurrent) as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(
        json.dumps(
            {
                "position": done.head.position,
                "replaced": None if done.kept_aside is None else str(done.kept_aside),
                "revoked_apps": list(done.revoked_apps),
            }
        )
    )
