"""One running `authsvc dev` for all tests that need no instance of their own."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import Running, dev
from tests.e2e.serving import sandbox
from tests.e2e.wire import Service


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Service]]:
    with dev(tmp_path_factory.mktemp("dev")) as both:
        yield both


@pytest.fixture
def service(shared: tuple[Running, Service]) -> Iterator[Service]:
    """The shared service; a test that switches faults on for everybody leaves them off."""
    yield shared[1]


@pytest.fixture(scope="session")
def wechat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`authsvc sandbox` on a port of its own, for servers that are not `dev`."""
    with sandbox(tmp_path_factory.mktemp("sandbox")) as (_, url):
        yield url
