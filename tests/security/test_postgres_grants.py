"""PostgreSQL with the least that works: the conformance suite as a role that may do what docs/operations/postgresql.md grants."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.storage.conformance import (  # noqa: F401 - classes that are collected here
    TestAuditRetention,
    TestCompaction,
    TestRefreshes,
    TestSessionEndings,
)
from tests.storage.conftest import (  # noqa: F401 - fixtures of the suite
    postgres_database,
    postgres_server,
    postgres_template,
    world,
)
from tests.storage.postgres_backend import PostgresBackend

ROLE = "authsvc_service"
# What the page tells operators; the record of migrations is read only.
GRANTS = (
    f"GRANT USAGE ON SCHEMA public TO {ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
    f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {ROLE}",
)
FORBIDDEN = [
    "CREATE TABLE planted (id integer)", "CREATE TEMPORARY TABLE planted (id integer)", "DROP TABLE sessions",
    "ALTER TABLE users ADD COLUMN planted text", "TRUNCATE audit", "CREATE INDEX planted ON users (user_id)",
    "UPDATE alembic_version SET version_num = '0000'", "CREATE SCHEMA planted", "CREATE ROLE planted",
    "COPY users TO PROGRAM 'true'", "SELECT pg_read_file('/etc/hostname')",
    "CREATE FUNCTION planted() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
]  # fmt: skip


async def _grant(url: str) -> None:
    owner = await asyncpg.connect(url)
    try:
        if not await owner.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
            await owner.execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT")
        database = urlsplit(url).path.strip("/")
        await owner.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        await owner.execute(f'GRANT CONNECT ON DATABASE "{database}" TO {ROLE}')
        await owner.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for grant in GRANTS:
            await owner.execute(grant)
    finally:
        await owner.close()


@pytest.fixture
def limited_url(postgres_database: str) -> Iterator[str]:  # noqa: F811 - the fixture above
    """The database of a test, as the service's role."""
    asyncio.run(_grant(postgres_database))
    parts = urlsplit(postgres_database)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{ROLE}@{host}"))


@pytest.fixture
def backend(limited_url: str) -> PostgresBackend:
    return PostgresBackend(limited_url)


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_role_may_nothing_else(postgres_database: str, statement: str) -> None:  # noqa: F811
    """Neither schema nor files, programs, functions, roles, nor the record of migrations are its to touch."""
    await _grant(postgres_database)
    parts = urlsplit(postgres_database)
    connection = await asyncpg.connect(
        urlunsplit(parts._replace(netloc=f"{ROLE}@{parts.netloc.rpartition('@')[2]}"))
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("page", ["postgresql.md", "postgresql.zh-CN.md"])
def test_the_page_grants_the_same(page: str) -> None:
    """What operators are told to grant is what the suite ran with, by verb."""
    text = (Path(__file__).parents[2] / "docs/operations" / page).read_text("utf-8")
    granted = re.findall(r"^\s*GRANT (.+) ON (?:ALL )?TABLES TO authsvc;", text, re.MULTILINE)
    assert granted == ["SELECT, INSERT, UPDATE, DELETE"]
    assert "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM authsvc" in text
    assert "GRANT USAGE ON SCHEMA public TO authsvc;" in text
