"""
The server listens only where and to whom it should, and its switches work on real connections.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from authsvc.sandbox import SandboxServer, World
from tests.fakes import SeededEntropy
from tests.sandbox.wire import (
    D1,
    Dropped,
    WatchedClock,
    Wire,
    hang_up,
    login_query,
    raw_request,
    read_answer,
)

Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST:8090", "127.0.0.1:1", "[::1]", "[::1]:65535"],
)
async def test_local_host_names_are_served(wire: Wire, host: str) -> None:
    """
    The names of this machine are served with any port.
    """
    assert (await wire.send("/", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8090",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.2",
        "localhost:",
        "localhost:80:80",
        "user@localhost",
        "api.weixin.qq.com",
        "",
    ],
)
@pytest.mark.parametrize("target", ["/", "/sandbox/v1/apps", "/nosuch"])
async def test_foreign_host_names_are_refused(wire: Wire, host: str, target: str) -> None:
    """
    A rebound name reaches nothing: 421 in JSON.
    """
    answer = await wire.send(target, headers={"Host": host})
    assert (421, {"error"}) == (answer.status, set(answer.fields))


async def test_a_refused_host_uses_no_code(server: SandboxServer, wire: Wire) -> None:
    """
    A code sent under a foreign name is neither exchanged nor counted.
    """
    code = server.mint(D1, "ann")
    answer = await wire.send(login_query(code), headers={"Host": "evil.example"})
    assert answer.status == 421
    assert server.requests_for(code) == 0
    assert "openid" in (await wire.login(code)).fields


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 200),
        ("https://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("null", 403),
    ],
)
async def test_only_its_own_pages_may_call(wire: Wire, origin: str, status: int) -> None:
    """
    A web page of another origin gets 403, whatever it asks.
    """
    assert status == (await wire.send("/", headers={"Origin": origin})).status


@pytest.mark.parametrize(("host", "check"), [("0.0.0.0", True), ("127.0.0.1", False)])  # noqa: S104 - that binding is the case
async def test_other_names_are_served_beyond_loopback(
    world: World, clock: WatchedClock, entropy: SeededEntropy, host: str, check: bool
) -> None:
    """
    The check belongs to a loopback binding and can be switched off.
    """
    server = SandboxServer(world=world, clock=clock, entropy=entropy, host=host, check_host=check)
    await server.start()
    try:
        assert (await Wire(server).send("/", headers={"Host": "sandbox"})).status == 200
    finally:
        await server.stop()


async def test_an_ipv6_base_url_has_brackets(
    world: World, clock: WatchedClock, entropy: SeededEntropy
) -> None:
    """
    An IPv6 host makes a URL that can be used.
    """
    server = SandboxServer(world=world, clock=clock, entropy=entropy, host="::1", port=8090)
    assert server.base_url == "http://[::1]:8090"


async def test_the_port_is_taken_once(
    server: SandboxServer, world: World, clock: WatchedClock, entropy: SeededEntropy
) -> None:
    """
    A second sandbox on the same port fails loudly, and stopping it is harmless.
    """
    second = SandboxServer(world=world, clock=clock, entropy=entropy, port=server.port)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()
    assert (await Wire(server).send("/")).status == 200


async def test_starts_again_after_a_stop(server: SandboxServer, wire: Wire) -> None:
    """
    Stop leaves the port free, forgets no code, and may be said twice.
    """
    code = server.mint(D1, "ann")
    before = server.base_url
    await server.stop()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await wire.open()
    await server.start()
    assert before == server.base_url
    assert "openid" in (await wire.login(code)).fields


async def test_stop_does_not_wait_for_delays(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    A delayed request ends with the server, not with its delay.
    """
    delayed = asyncio.create_task(wire.login(server.mint(D1, "ann"), fault="delay;3600"))
    await clock.until_sleeping()
    await server.stop()
    with pytest.raises(Dropped):
        await delayed
    assert clock.sleeping == 0


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_refuses_connections_until_told(run: Runner) -> None:
    """
    Under either loop the port refuses while switched off, stays this server's, and serves again after.
    """

    async def story() -> None:
        clock, entropy = WatchedClock(), SeededEntropy(3)
        server = SandboxServer(world=World(entropy=entropy), clock=clock, entropy=entropy)
        await server.start()
        wire = Wire(server)
        reader, writer = await wire.open()
        writer.write(raw_request("/", keep_alive=True))
        assert (await read_answer(reader)).status == 200
        for _ in range(3):
            await server.refuse()
            assert await reader.read() == b"", "the idle connection is closed too"
            with pytest.raises(ConnectionRefusedError):
                await wire.open()
            rival = SandboxServer(world=server.world, clock=clock, entropy=entropy, port=server.port)
            await server.accept()
            with pytest.raises(OSError, match="in use"):
                await rival.start()
            assert (await wire.send("/")).status == 200
        await hang_up(writer)
        await server.refuse()
        await server.stop()

    run(story())


async def test_refuses_connections_for_a_time(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    The admin call closes the port for its seconds on the sandbox's clock.
    """
    answer = await wire.control("POST", "/refuse", {"seconds": 5})
    assert answer.status == 200
    await clock.until_sleeping()
    clock.advance(timedelta(seconds=4))
    with pytest.raises(ConnectionRefusedError):
        await wire.open()
    reopening = server._reopening
    assert reopening is not None
    clock.advance(timedelta(seconds=1))
    await reopening
    assert (await wire.send("/")).status == 200


async def test_a_stop_while_refusing_is_clean(server: SandboxServer, clock: WatchedClock) -> None:
    """
    The wait for reopening dies with the server, and it can start again.
    """
    await server.refuse(timedelta(seconds=60))
    await clock.until_sleeping()
    await server.stop()
    assert clock.sleeping == 0
    await server.start()
    assert (await Wire(server).send("/")).status == 200


async def test_close_idle_spares_the_busy(server: SandboxServer, wire: Wire, clock: WatchedClock) -> None:
    """
    Idle connections close, opened and unused ones too; one in the middle of a request goes on.
    """
    busy = asyncio.create_task(wire.login(server.mint(D1, "ann"), fault="delay;5"))
    await clock.until_sleeping()
    idle = [await wire.open() for _ in range(2)]
    reader, writer = idle[0]
    writer.write(raw_request("/", keep_alive=True))
    assert (await read_answer(reader)).status == 200
    answer = await wire.control("POST", "/close-idle")
    assert answer.fields == {"closed": 2}
    for reader, writer in idle:
        assert await reader.read() == b""
        await hang_up(writer)
    clock.advance(timedelta(seconds=5))
    assert "openid" in (await busy).fields


@pytest.mark.parametrize(
    "junk", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
async def test_junk_on_the_socket_harms_nobody(server: SandboxServer, wire: Wire, junk: bytes) -> None:
    """
    Bytes that are no HTTP leave the server serving.
    """
    _reader, writer = await wire.open()
    writer.write(junk)
    await hang_up(writer)
    assert (await wire.send("/")).status == 200


async def test_listens_on_the_given_address_only(server: SandboxServer) -> None:
    """
    The default binding is loopback.
    """
    assert urlsplit(server.base_url).hostname == "127.0.0.1"
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection("127.0.0.2", server.port)
