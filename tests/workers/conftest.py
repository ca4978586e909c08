"""One running fleet of three workers for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.workers.fleet import Fleet, fleet


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), workers=3) as one:
        yield one
