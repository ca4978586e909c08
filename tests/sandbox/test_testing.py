"""
The sandbox in its own thread: for tests that are synchronous, and for those that are not.
"""

import asyncio
import threading
import urllib.request
from datetime import timedelta

import aiohttp
import pytest

from authsvc.cli.sandbox_fixture import SandboxThread, running_sandbox, wechat_sandbox
from authsvc.sandbox import SandboxApp, SelfCheckFailed, UnknownApp, crypto
from authsvc.sandbox.testing import SandboxThread as Public
from tests.fakes import FakeClock, SeededEntropy

__all__ = ["wechat_sandbox"]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback, and ours
        body: bytes = answer.read()
        return body


def test_serves_until_the_block_ends() -> None:
    """
    Inside the block it answers, on a port of its own; after it nothing listens and no thread is left.
    """
    with running_sandbox() as one, running_sandbox() as other:
        assert one.base_url != other.base_url
        assert b"sandbox" in get(one.base_url)
        assert b"sandbox" in get(other.base_url)
    with pytest.raises(OSError, match="refused"):
        get(one.base_url)
    assert not [thread for thread in threading.enumerate() if thread.name == "wechat-sandbox"]
    one.stop()
    assert [arrival.target for arrival in one.requests()] == [], "its log can still be read"


def test_starts_again() -> None:
    """
    Stopped and started it keeps its port and its codes.
    """
    sandbox = running_sandbox()
    with sandbox:
        address = sandbox.base_url
        sandbox.mint(code="kept")
    with sandbox:
        assert address == sandbox.base_url
        assert sandbox.run(lambda server: server.world.is_login_code("kept", now=server.clock.now()))


def test_a_failed_start_is_told_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What stops it from starting is raised where it was started.
    """
    monkeypatch.setattr(crypto, "pad", lambda plain: plain + bytes(-len(plain) % 16))
    sandbox = running_sandbox()
    with pytest.raises(SelfCheckFailed):
        sandbox.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "wechat-sandbox"]


async def test_an_asynchronous_test_uses_it_too(wechat_sandbox: SandboxThread) -> None:
    """
    From a running loop: mint, exchange, look at what arrived.
    """
    code, app = wechat_sandbox.mint("bob"), wechat_sandbox.app
    query = {"appid": app.app_id, "secret": app.secret, "js_code": code, "grant_type": "authorization_code"}
    async with (
        aiohttp.ClientSession(wechat_sandbox.base_url) as http,
        http.get("/sns/jscode2session", params=query) as answer,
    ):
        fields = await answer.json(content_type=None)
    assert fields["openid"] == wechat_sandbox.openid_of("bob")
    assert [arrival.outcome for arrival in wechat_sandbox.requests(code=code)] == ["session"]


async def test_many_threads_may_use_it(wechat_sandbox: SandboxThread) -> None:
    """
    Eight threads mint a hundred codes each, and no two are alike.
    """

    def mint() -> list[str]:
        return [wechat_sandbox.mint() for _ in range(100)]

    minted = await asyncio.gather(*(asyncio.to_thread(mint) for _ in range(8)))
    assert len({code for codes in minted for code in codes}) == 800


def test_a_mistake_is_raised_where_it_was_made(wechat_sandbox: SandboxThread) -> None:
    """
    An unknown app is an exception of the caller's, and the sandbox goes on.
    """
    with pytest.raises(UnknownApp):
        wechat_sandbox.mint(app_id="nosuch")
    assert len(wechat_sandbox.mint()) == 32


def test_it_takes_a_clock_and_apps_of_ones_own() -> None:
    """
    On a clock that stands still, time passes when told to, and only then.
    """
    clock = FakeClock()
    apps = [SandboxApp("wx00000000000000f1", "5a4d0000f1")]
    with Public(clock=clock, entropy=SeededEntropy(), apps=apps) as sandbox:
        assert sandbox.app == apps[0]
        code = sandbox.mint()
        sandbox.advance(timedelta(seconds=299))
        assert sandbox.run(lambda server: server.world.is_login_code(code, now=server.clock.now()))
        sandbox.advance(timedelta(seconds=1))
        assert not sandbox.run(lambda server: server.world.is_login_code(code, now=server.clock.now()))
