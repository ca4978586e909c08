"""One running fleet of three workers for all tests that leave it as they found it, and what others start from."""

from collections.abc import Iterator

import pytest

from tests.workers.fleet import Fleet, Ground, fleet, ground


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("ground")) as one:
        yield one


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, base: Ground) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), base, workers=3) as one:
        yield one
