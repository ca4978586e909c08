"""
The record: SQLAlchemy Core over SQLite, and the migrations of its schema (DESIGN section 5).

Owns the tables, the transactions, the order of positions in the revocation log, and the translation of driver errors
into StoreUnavailable. Leaves every rule to `domain` (what a presented refresh token does, when a fact is needed) and
every orchestration to `service`. May import ports, domain and telemetry.

`schema_state`, `check_schema` and `migrate` are synchronous; `SqliteStore` implements ports.Store.
"""

from authsvc.storage.engines import database_path
from authsvc.storage.sqlite import SqliteStore
from authsvc.storage.versions import SchemaNotCurrent, SchemaState, check_schema, migrate, schema_state

__all__ = [
    "SchemaNotCurrent",
    "SchemaState",
    "SqliteStore",
    "check_schema",
    "database_path",
    "migrate",
    "schema_state",
]
