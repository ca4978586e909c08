"""The schema on PostgreSQL: the same migrations, the same tables, and refusals that change nothing."""

import asyncio
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import (
    PostgresStore,
    SchemaNotCurrent,
    SchemaState,
    check_schema,
    migrate,
    postgres_migrations,
    schema_state,
)
from authsvc.storage.schema import metadata
from tests.fakes import FakeClock, SeededEntropy
from tests.support.postgres import execute, in_database


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    execute(postgres_server, "CREATE DATABASE authsvc_blank")
    yield in_database(postgres_server, "authsvc_blank")
    execute(postgres_server, "DROP DATABASE authsvc_blank WITH (FORCE)")


def tables(url: str) -> set[str]:
    return set(postgres_migrations.look(url, lambda connection: inspect(connection).get_table_names()))


def test_migrations_make_the_tables_of_the_schema(postgres_database: str) -> None:
    """Alembic finds no difference between a migrated database and schema.py, types included."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert postgres_migrations.look(postgres_database, differences) == []


def test_states(empty_database: str) -> None:
    """Empty, then current, then newer than this release; the newer one is not touched."""
    assert schema_state(empty_database) is SchemaState.EMPTY
    migrate(empty_database)
    check_schema(empty_database)
    execute(empty_database, "UPDATE alembic_version SET version_num = '9999'")
    assert schema_state(empty_database) is SchemaState.NEWER
    with pytest.raises(SchemaNotCurrent, match="upgrade authsvc"):
        migrate(empty_database)


async def test_store_refuses_another_schema(empty_database: str) -> None:
    """Opening tells what to do instead of failing somewhere later, and creates nothing."""
    with pytest.raises(SchemaNotCurrent, match="run `authsvc migrate`") as caught:
        await PostgresStore.open(empty_database, clock=FakeClock(), entropy=SeededEntropy())
    assert caught.value.state is SchemaState.EMPTY
    assert await asyncio.to_thread(tables, empty_database) == set()


def test_failed_migration_leaves_nothing(empty_database: str) -> None:
    """All steps are one transaction: an existing table in the way, and not one of the others is made."""
    execute(empty_database, "CREATE TABLE users (name TEXT)")
    with pytest.raises(StoreUnavailable, match="DuplicateTable"):
        migrate(empty_database)
    assert tables(empty_database) == {"users"}


def test_no_server_is_unavailable() -> None:
    """An address where nobody listens is StoreUnavailable, and its text does not quote the address."""
    with pytest.raises(StoreUnavailable) as caught:
        schema_state("postgresql://somebody:hunter2@127.0.0.1:1/nowhere")
    assert "hunter2" not in str(caught.value)
    assert "somebody" not in str(caught.value)
