"""Failures before the first byte: the code is unsent, and backup hosts may have it."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from authsvc.domain.errors import LoginCodeSpent, WeChatUnavailable
from tests.wechat.wire import (
    LATER,
    SOON,
    app_at,
    be_good,
    drop,
    exchange,
    refused_url,
    serving,
    started,
)


async def test_refused_connection_goes_on_to_the_backup() -> None:
    """What provably was not sent may be sent to the next host, once."""
    async with serving(be_good) as backup, started(app_at(refused_url(), refused_url(), backup.url)) as rig:
        await exchange(rig)
    assert len(backup.visits) == 1
    assert rig.last_call["hosts_tried"] == 3


async def test_backup_that_drops_is_the_end() -> None:
    """The backup's drop spends the code as the first host's would; the third host sees nothing."""
    async with (
        serving(drop) as backup,
        serving(be_good) as third,
        started(app_at(refused_url(), backup.url, third.url)) as rig,
    ):
        with pytest.raises(LoginCodeSpent):
            await exchange(rig)
    assert (len(backup.visits), third.connections) == (1, 0)


async def test_nobody_listens() -> None:
    """When all hosts refuse, nothing was sent: the same code may be tried again."""
    async with started(app_at(refused_url(), refused_url())) as rig:
        with pytest.raises(WeChatUnavailable) as raised:
            await exchange(rig)
    assert raised.value.retry_after is not None
    assert (
        rig.last_call["outcome"],
        rig.last_call["fault"],
        rig.last_call["sent"],
    ) == ("unavailable", "connect", False)


async def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing name look-up sent nothing."""

    def fail(*_args: object, **_kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async with started(app_at("http://wechat.invalid")) as rig:
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        with pytest.raises(WeChatUnavailable):
            await exchange(rig)
    assert (
        rig.last_call["fault"],
        rig.last_call["host"],
        rig.last_call["sent"],
    ) == ("dns", "wechat.invalid", False)


@pytest.fixture
def full_listener() -> Iterator[str]:
    """An origin whose queue of connections is full, so that connecting hangs (Linux drops the SYN)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = []
        try:
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
                queued.append(client)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for client in queued:
                client.close()


async def test_connect_timeout_goes_on_to_the_backup(full_listener: str) -> None:
    """A host that doesn't take the connection in time got nothing; the next one may."""
    async with serving(be_good) as backup:
        app = replace(app_at(full_listener, backup.url), connect_timeout=LATER)
        async with started(app) as rig:
            await exchange(rig)
    assert len(backup.visits) == 1


async def test_deadline_while_connecting_is_unsent(full_listener: str) -> None:
    """The total deadline counts as unsent while no connection was had."""
    async with started(replace(app_at(full_listener), deadline=SOON)) as rig:
        with pytest.raises(WeChatUnavailable):
            await exchange(rig)
    assert (rig.last_call["fault"], rig.last_call["sent"]) == ("deadline", False)
