"""The world of a conformance case; the module that runs the suite supplies `backend`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from authsvc.storage import migrate
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import Backend, World


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
