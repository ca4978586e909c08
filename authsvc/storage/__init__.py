"""
The record: SQLAlchemy Core over SQLite or PostgreSQL, and the migrations of its schema (DESIGN section 5).

Owns the tables, the transactions, the order of positions in the revocation log, and the translation of driver errors
into StoreUnavailable. Leaves every rule to `domain` (what a presented refresh token does, when a fact is needed) and
every orchestration to `service`. May import ports, domain and telemetry.

`schema_state`, `check_schema` and `migrate` are synchronous; `SqliteStore` and `PostgresStore` implement
ports.Store; `open_store` picks by the URL. What needs asyncpg is imported where PostgreSQL is asked for.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from authsvc.ports import Clock, Entropy, Observer
from authsvc.storage.engines import database_path, is_postgres
from authsvc.storage.sqlite import SqliteStore
from authsvc.storage.store import SqlStore
from authsvc.storage.versions import SchemaNotCurrent, SchemaState, check_schema, migrate, schema_state

if TYPE_CHECKING:
    from authsvc.storage.postgres import PostgresStore as PostgresStore

__all__ = [
    "PostgresStore",
    "SchemaNotCurrent",
    "SchemaState",
    "SqliteStore",
    "check_schema",
    "database_path",
    "is_postgres",
    "migrate",
    "open_store",
    "schema_state",
]


async def open_store(
    url: str,
    *,
    clock: Clock,
    entropy: Entropy,
    observer: Observer | None = None,
    read_url: str | None = None,
    listen_url: str | None = None,
    pool_size: int = 10,
    answer_within: timedelta = timedelta(seconds=0.9),
) -> SqlStore:
    """
    Return the store behind a database URL; it answers or refuses each call within *answer_within*.

    *observer*, the other URLs and the pool are PostgreSQL's (see PostgresStore.open).

    Raises:
        SchemaNotCurrent: nobody migrated it, or a newer release did.
        StoreUnavailable: it cannot be read or written.

    """
    if is_postgres(url):
        from authsvc.storage.postgres import PostgresStore

        return await PostgresStore.open(
            url,
            clock=clock,
            entropy=entropy,
            observer=observer,
            read_url=read_url,
            listen_url=listen_url,
            pool_size=pool_size,
            answer_within=answer_within,
        )
    return await SqliteStore.open(url, clock=clock, entropy=entropy, answer_within=answer_within, listen=True)


def __getattr__(name: str) -> object:
    if name == "PostgresStore":
        from authsvc.storage.postgres import PostgresStore

        return PostgresStore
    raise AttributeError(name)
