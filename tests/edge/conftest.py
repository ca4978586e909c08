"""A running edge for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.edge.wire import World, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as it:
        yield it
