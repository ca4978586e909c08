"""`authsvc db`: look at the database, or say that it was restored by other means."""

import hashlib
import json
from typing import Any, TypeVar

import click

from authsvc.cli.material import configured_database
from authsvc.cli.options import read_settings, settings_options
from authsvc.cli.record import with_store
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import LogHead
from authsvc.ports import Store
from authsvc.storage import SchemaState, schema_state

T = TypeVar("T")


@click.group("db")
def command() -> None:
    """Look at the database, or mark it as restored."""


@command.command("status")
@settings_options("env")
def status(**given: Any) -> None:
    """Print schema, place of the log and number of rows as JSON; exit 1 unless the schema is current."""
    database = configured_database(read_settings(given))
    try:
        state = schema_state(database)
    except (StoreUnavailable, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if state is not SchemaState.CURRENT:
        click.echo(json.dumps({"schema": state.value}))
        raise SystemExit(1)

    async def look(store: Store) -> dict[str, object]:
        return {**_place(await store.read_head()), "rows": dict(await store.count_rows())}

    click.echo(json.dumps({"schema": state.value, **with_store(database, look)}))


@command.command("mark-restored")
@click.option(
    "--above",
    type=click.IntRange(0),
    default=0,
    help="The largest position known of the database that was lost (metric authsvc_revocation_position)",
)
@settings_options("env")
def mark_restored(*, above: int, **given: Any) -> None:
    """
    Begin a new incarnation of the revocation log, after a restore or promotion by other means.

    Servers may run: they take it up by themselves. Cursors of before are refused, and watchers take a snapshot.
    """
    database = configured_database(read_settings(given))

    async def mark(store: Store) -> dict[str, object]:
        return _place(await store.begin_incarnation(above=above))

    click.echo(json.dumps(with_store(database, mark)))


def _place(head: LogHead) -> dict[str, object]:
    """Return where the log stands; of the incarnation only what tells two apart, as cursors are made with it."""
    return {
        "incarnation": hashlib.sha256(head.incarnation).hexdigest()[:8],
        "position": head.position,
        "compacted_through": head.compacted_through,
    }
