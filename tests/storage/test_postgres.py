"""PostgreSQL keeps every promise of ports.Store: the conformance suite on a real server, a database for each case."""

import pytest

from tests.storage.conformance import *  # noqa: F403 - the suite's classes are what is collected here
from tests.storage.postgres_backend import PostgresBackend


@pytest.fixture
def backend(postgres_database: str) -> PostgresBackend:
    return PostgresBackend(postgres_database)
