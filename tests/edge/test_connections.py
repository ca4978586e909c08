"""Connections: half-sent requests, readers that stop reading, too many of them, and a stop that drops no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from authsvc.edge import EdgeServer, create_edge
from tests.edge.wire import SETTINGS, World, a_moment, running
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy

SECOND = timedelta(seconds=1)
VERIFY = b"GET /api/v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\n"


async def _verdict(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("beginning", [b"G", b"GET / HTTP/1.1\r\nHost:", VERIFY])
async def test_a_half_sent_header_is_cut_off(world: World, beginning: bytes) -> None:
    """Whatever part of the headers was sent, the connection closes at the deadline, without an answer."""
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(beginning)
    reply, waited = await world.until_closed(reader, step=SECOND)
    writer.close()
    assert reply == b""
    assert waited >= SETTINGS.header_deadline
    assert world.peer.seen == []


async def test_a_header_dribbled_byte_by_byte_is_cut_off_too(world: World) -> None:
    """The deadline counts from the first byte, so sending a little every second gains nothing."""
    reader, writer = await asyncio.open_connection(*world.address)
    closed = asyncio.ensure_future(reader.read())
    for sent in range(60):
        if closed.done():
            break
        writer.write(b"GET / HTTP/1.1\r\nX: " if sent == 0 else b"a")
        await asyncio.wait({closed}, timeout=0.02)
        await world.clock.until_sleeping()
        world.clock.advance(SECOND)
    assert closed.done()
    writer.close()


async def test_a_half_sent_second_request_is_cut_off_and_the_first_answered(world: World) -> None:
    """On a kept-alive connection each request has its own deadline; a silent one is left alone until keep_alive."""
    reader, writer = await asyncio.open_connection(*world.address)
    for _ in range(3):
        writer.write(VERIFY + b"\r\n")
        assert (await _verdict(reader)).startswith(b"HTTP/1.1 200")
        for _ in range(20):  # far beyond the header deadline, and silent
            await world.clock.until_sleeping()
            world.clock.advance(SECOND)
    writer.write(VERIFY)
    reply, _ = await world.until_closed(reader, step=SECOND)
    writer.close()
    assert reply == b""
    assert len(world.peer.seen) == 3


async def test_what_arrives_while_a_request_is_answered_is_on_the_clock(world: World) -> None:
    """The beginning of a next request, sent during the one before, counts from that one's end."""
    gate = asyncio.get_running_loop().create_future()
    world.peer.answers["VerifyToken"] = lambda _: gate
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(VERIFY + b"\r\n")
    while not world.peer.seen:
        await asyncio.wait({gate}, timeout=0.01)
    writer.write(VERIFY)
    await asyncio.wait({gate}, timeout=0.05)
    gate.set_result(None)
    reply, _ = await world.until_closed(reader, step=SECOND)
    writer.close()
    assert reply.count(b"HTTP/1.1 ") == 1


async def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    """Two requests in one segment get two answers."""
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(VERIFY + b"\r\n" + b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    reply = await reader.read()
    writer.close()
    assert [part[:3] for part in reply.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404"]


async def test_a_reader_that_stops_reading_is_cut_off(world: World) -> None:
    """Answers nobody takes do not stay in memory for ever."""
    _, writer = await asyncio.open_connection(*world.address, limit=1)
    for _ in range(400):  # some 16 MB of answers: more than the sockets hold
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    await world.until_called(1)
    while world.server._connections:
        await a_moment()
        world.clock.advance(SECOND)
    assert len(world.observer.calls) < 400
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    """The limit is on connections, whatever they send; one that ends makes room."""
    async with running(replace(SETTINGS, max_connections=2)) as world:
        held = [await asyncio.open_connection(*world.address) for _ in range(2)]
        for reader, writer in held:
            writer.write(VERIFY + b"\r\n")
            assert (await _verdict(reader)).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection(*world.address)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            writer.write(VERIFY + b"\r\n")
            await _verdict(reader)
        writer.close()
        held[0][1].close()
        while (await _status(world)) != 200:
            pass
        held[1][1].close()


async def _status(world: World) -> int:
    try:
        return (await world.get("/healthz")).status
    except OSError:
        return 0


@pytest.fixture
async def alone() -> AsyncIterator[tuple[EdgeServer, World]]:
    async with running() as world:
        yield world.server, world


async def test_a_stop_answers_what_is_in_flight_and_closes_the_silent(
    alone: tuple[EdgeServer, World],
) -> None:
    """New connections are refused, the request in flight gets its answer, a silent connection just ends."""
    server, world = alone
    gate = asyncio.get_running_loop().create_future()
    world.peer.answers["VerifyToken"] = lambda _: gate
    silent, silent_writer = await asyncio.open_connection(*world.address)
    busy, busy_writer = await asyncio.open_connection(*world.address)
    busy_writer.write(VERIFY + b"\r\n")
    while not world.peer.seen:
        await asyncio.wait({gate}, timeout=0.01)
    stopping = asyncio.ensure_future(server.stop(timedelta(seconds=20)))
    assert await silent.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*world.address)
    assert not stopping.done()
    gate.set_result(None)
    assert (await busy.read()).startswith(b"HTTP/1.1 ")
    await stopping
    await server.stop(timedelta(0))  # a second stop is nothing
    for writer in (silent_writer, busy_writer):
        writer.close()


async def test_a_stop_does_not_wait_longer_than_its_grace(alone: tuple[EdgeServer, World]) -> None:
    """A call that never ends is cut when the grace is over, and reported."""
    server, world = alone
    gate = asyncio.get_running_loop().create_future()
    world.peer.answers["VerifyToken"] = lambda _: gate
    reader, writer = await asyncio.open_connection(*world.address)
    writer.write(VERIFY + b"\r\n")
    while not world.peer.seen:
        await asyncio.wait({gate}, timeout=0.01)
    await server.stop(timedelta(milliseconds=50))
    assert await reader.read() == b""
    writer.close()
    assert [call.code for call in world.observer.calls] == ["499"]
    gate.cancel()


async def test_readiness_ends_before_the_listener_does(world: World) -> None:
    """After announce_stop /readyz is 503 while everything else is still served."""
    await world.peer.serving(True)
    assert (await world.get("/readyz")).status == 200
    world.server.announce_stop()
    assert (await world.get("/readyz")).status == 503
    assert (await world.verify()).status == 200


async def test_a_taken_port_fails_loudly(world: World) -> None:
    """Two edges never share a port by accident."""
    channel = grpc.aio.insecure_channel(world.peer.target)
    app = create_edge(
        channel=channel,
        settings=SETTINGS,
        observer=RecordingObserver(),
        clock=FakeClock(),
        entropy=SeededEntropy(),
    )
    server = EdgeServer(app, host="127.0.0.1", port=world.address[1], settings=SETTINGS)
    with pytest.raises(OSError, match="in use"):
        await server.start()
    await server.stop(timedelta(0))
    await channel.close(None)
