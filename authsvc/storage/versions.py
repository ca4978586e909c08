"""
Which schema a database has, and bringing it to the present one.

The check compares the version table with constants, so a start on a current database does not import Alembic; a test
proves the constants equal to the revisions in `migrations/versions`.
"""

from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from authsvc.storage.engines import create_private, database_path, is_postgres, reading, writing_engine
from authsvc.storage.faults import DRIVER_ERRORS, unavailable

# Oldest first; the last is the schema this release works with.
REVISIONS = ("0001", "0002", "0003")
# How long a second process waits for the one that migrates.
_LOCK_TIMEOUT_S = 60.0
_MIGRATIONS = Path(__file__).parent / "migrations"
_version = table("alembic_version", column("version_num"))


class SchemaState(StrEnum):
    """How a database's schema compares with this release's."""

    EMPTY = "empty"
    OUTDATED = "outdated"
    CURRENT = "current"
    NEWER = "newer"


class SchemaNotCurrent(Exception):
    """The database's schema is not this release's; `state` says how."""

    def __init__(self, state: SchemaState) -> None:
        remedy = "upgrade authsvc" if state is SchemaState.NEWER else "run `authsvc migrate`"
        super().__init__(f"the database schema is {state.value}: {remedy}")
        self.state = state


def schema_state(url_or_path: str | Path) -> SchemaState:
    """
    Return how the database compares; a file that does not exist is empty, and is not created.

    Raises:
        StoreUnavailable: the file cannot be read as a database, or the server does not answer.

    """
    if is_postgres(url_or_path):
        from authsvc.storage import postgres_migrations

        return postgres_migrations.look(str(url_or_path), state_in)
    path = database_path(url_or_path)
    if not path.exists():
        return SchemaState.EMPTY
    with reading(path) as connection:
        return state_in(connection)


def state_in(connection: Connection) -> SchemaState:
    """Return how the database behind a connection compares."""
    if not inspect(connection).has_table(_version.name):
        return SchemaState.EMPTY
    found = connection.execute(select(_version.c.version_num)).scalars().all()
    if not found:
        return SchemaState.EMPTY
    if found == [REVISIONS[-1]]:
        return SchemaState.CURRENT
    return SchemaState.OUTDATED if set(found) <= set(REVISIONS) else SchemaState.NEWER


def check_schema(url_or_path: str | Path) -> None:
    """
    Return if the schema is current.

    Raises:
        SchemaNotCurrent: it is not.
        StoreUnavailable: the file cannot be read as a database, or the server does not answer.

    """
    state = schema_state(url_or_path)
    if state is not SchemaState.CURRENT:
        raise SchemaNotCurrent(state)


def migrate(url_or_path: str | Path) -> None:
    """
    Bring the database to the present schema, creating the file (0600) if need be; at once if it is current.

    All steps are one transaction that holds the write lock (PostgreSQL: a lock of ours) from its first statement, so
    of several processes one migrates and the others find it done.

    Raises:
        SchemaNotCurrent: a newer release migrated it.
        StoreUnavailable: the database cannot be written.

    """
    state = schema_state(url_or_path)
    if state is SchemaState.CURRENT:
        return
    if state is SchemaState.NEWER:
        raise SchemaNotCurrent(state)
    if is_postgres(url_or_path):
        from authsvc.storage import postgres_migrations

        postgres_migrations.change(
            str(url_or_path),
            needed=lambda connection: state_in(connection) in {SchemaState.EMPTY, SchemaState.OUTDATED},
            upgrade=_upgrade,
        )
        return
    path = database_path(url_or_path)
    try:
        create_private(path)
        engine = writing_engine(path, timeout_s=_LOCK_TIMEOUT_S)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                _upgrade(connection)
                connection.exec_driver_sql("COMMIT")
        finally:
            engine.dispose()
    except DRIVER_ERRORS as error:
        raise unavailable(error) from None


def _upgrade(connection: Connection) -> None:
    """Apply what is missing, inside the transaction that the connection is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
