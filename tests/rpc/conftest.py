"""One served core per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.core import Core, build_core
from tests.support.server import Running, running_server


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with build_core(tmp_path) as built:
        yield built


@pytest.fixture
async def running(core: Core) -> AsyncIterator[Running]:
    async with running_server(core) as served:
        yield served
