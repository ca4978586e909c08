"""The world of a conformance case; the module that runs the suite supplies `backend`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from authsvc.storage import migrate
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import Backend, World
from tests.support.postgres import any_server, fresh_database, migrated_template


@pytest.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    clock, entropy = FakeClock(), SeededEntropy()
    store = await backend.open(clock=clock, entropy=entropy)
    world = World(backend=backend, store=store, clock=clock, entropy=entropy)
    yield world
    for each in (store, *world.replicas):
        await each.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly migrated, empty SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("storage") / "empty.db"
    migrate(path)
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server for all tests of a run; none of them may stop it."""
    with any_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a freshly migrated, empty database, to be copied."""
    return migrated_template(postgres_server)


@pytest.fixture
def postgres_database(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own."""
    with fresh_database(postgres_server, template=postgres_template) as url:
        yield url
