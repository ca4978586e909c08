"""
A pytest fixture that gives each test a WeChat of its own. In a `conftest.py` or a test module:

    from authsvc.cli.sandbox_fixture import wechat_sandbox

It stands here and not in the sandbox because it brings the machine's clock and dice, as only commands do.
"""

from collections.abc import Iterator

import pytest

from authsvc.sandbox.testing import SandboxThread
from authsvc.system import SystemClock, SystemEntropy

__all__ = ["SandboxThread", "running_sandbox", "wechat_sandbox"]


def running_sandbox() -> SandboxThread:
    """Return a sandbox with its shipped apps on a free loopback port, to be entered as a context manager."""
    return SandboxThread(clock=SystemClock(), entropy=SystemEntropy())


@pytest.fixture
def wechat_sandbox() -> Iterator[SandboxThread]:
    """Give the test a WeChat that nobody else uses; it runs in a thread, so synchronous tests can use it as well."""
    with running_sandbox() as sandbox:
        yield sandbox
