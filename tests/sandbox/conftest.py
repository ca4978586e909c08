"""
A sandbox on a real socket, with a clock that stands still.
"""

from collections.abc import AsyncIterator

import pytest

from authsvc.sandbox import SandboxServer, World
from tests.fakes import SeededEntropy
from tests.sandbox.browser import NO_CHROMIUM
from tests.sandbox.wire import WatchedClock, Wire


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Whoever reads the end of a run learns that the page was not tried.
    """
    skipped = [
        report for report in terminalreporter.getreports("skipped") if NO_CHROMIUM in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("WARNING", red=True)
        terminalreporter.write_line(f"{NO_CHROMIUM} ({len(skipped)} tests skipped)", red=True, bold=True)


@pytest.fixture
def clock() -> WatchedClock:
    return WatchedClock()


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy(7)


@pytest.fixture
def world(entropy: SeededEntropy) -> World:
    return World(entropy=entropy)


@pytest.fixture
async def server(world: World, clock: WatchedClock, entropy: SeededEntropy) -> AsyncIterator[SandboxServer]:
    running = SandboxServer(world=world, clock=clock, entropy=entropy)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def wire(server: SandboxServer) -> Wire:
    return Wire(server)
