"""The promise in real seconds: whoever sends half a request is gone within 15 s."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import grpc
import pytest

from authsvc.edge import EdgeServer, EdgeSettings, create_edge
from authsvc.system import SystemClock, SystemEntropy
from tests.fakes import RecordingObserver

PROMISE_S = 15.0
TICK = timedelta(milliseconds=50)
_BODY = b'POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"a":'
# What is sent at once, and what three seconds later: the last one uses up both deadlines.
HALVES = [(b"G", b""), (b"GET /healthz HTTP/1.1\r\nX: ", b"y"), (_BODY, b"1"), (_BODY[:40], _BODY[40:])]


async def _lifetime(address: tuple[str, int], halves: tuple[bytes, bytes], clock: SystemClock) -> float:
    reader, writer = await asyncio.open_connection(*address)
    began = clock.elapsed()
    writer.write(halves[0])
    await clock.sleep(timedelta(seconds=3))
    writer.write(halves[1])
    with suppress(ConnectionError):
        await reader.read()
    writer.close()
    return clock.elapsed() - began


async def _stalls(clock: SystemClock) -> float:
    """Add up how late this machine's own timers are, until cancelled."""
    late = 0.0
    try:
        while True:
            began = clock.elapsed()
            await clock.sleep(TICK)
            late += max(0.0, clock.elapsed() - began - 2 * TICK.total_seconds())
    except asyncio.CancelledError:
        return late


@pytest.mark.long
async def test_six_hundred_half_sent_requests_are_gone_within_15_seconds() -> None:
    """Default settings, real clock, the machine's own stalls subtracted; a good request is served meanwhile."""
    clock, settings = SystemClock(), EdgeSettings()
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    app = create_edge(
        channel=channel, settings=settings, observer=RecordingObserver(), clock=clock, entropy=SystemEntropy()
    )
    server = EdgeServer(app, host="127.0.0.1", port=0, settings=settings)
    host, port = (await server.start()).removeprefix("http://").split(":")
    address = (host, int(port))
    watching = asyncio.create_task(_stalls(clock))
    pending = [asyncio.create_task(_lifetime(address, HALVES[n % len(HALVES)], clock)) for n in range(600)]
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    longest = max(await asyncio.gather(*pending))
    watching.cancel()
    assert longest - await watching <= PROMISE_S
    await server.stop(timedelta(0))
    await channel.close(None)
