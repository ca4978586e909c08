"""A server that a test may kill and freeze, and a store on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from authsvc.storage import PostgresStore
from authsvc.storage.postgres import PostgresRunner
from tests.storage.conformance.world import World
from tests.storage.postgres_backend import PostgresBackend
from tests.support.postgres import OwnServer, fresh_database, migrated_template


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """A running server of this module's own."""
    server = OwnServer()
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="module")
def own_template(own_server: OwnServer) -> str:
    return migrated_template(own_server.url)


@pytest.fixture
def own_database(own_server: OwnServer, own_template: str) -> Iterator[str]:
    """The URL of a migrated database on the module's own server."""
    with fresh_database(own_server.url, template=own_template) as url:
        yield url


@pytest.fixture
def backend(own_database: str) -> PostgresBackend:
    return PostgresBackend(own_database)


@pytest.fixture
async def store(world: World) -> AsyncIterator[PostgresStore]:
    assert isinstance(world.store, PostgresStore)
    yield world.store


@pytest.fixture
def runner(store: PostgresStore) -> PostgresRunner:
    """The store's backend, to run units of a test's own."""
    assert isinstance(store._runner, PostgresRunner)
    return store._runner
