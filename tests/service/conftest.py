"""One core per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.core import Core, build_core


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with build_core(tmp_path) as built:
        yield built
