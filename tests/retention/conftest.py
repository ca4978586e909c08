"""A database of the test's own, and the use cases over it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.core import Core, build_core
from tests.support.database import fresh_database


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with build_core(tmp_path) as core:
        yield core


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of a migrated, empty database."""
    return fresh_database(tmp_path)
