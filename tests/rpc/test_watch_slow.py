"""A subscriber that does not read: what it costs, how it ends, and that it loses nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest

from authapi.v1 import revocation_service_pb2 as pb
from authapi.v1 import revocation_service_pb2_grpc, types_pb2
from authsvc.domain.ids import encode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.watch import WatchSettings
from tests.support.database import add_facts
from tests.support.server import Running, read_refusal, refused

# Small windows, so that a reader that does not read is soon one that cannot be written to.
_NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536), ("grpc.enable_retries", 0)]


def open_stream(channel: grpc.aio.Channel, cursor: bytes = b"") -> Any:
    stub: Any = revocation_service_pb2_grpc.RevocationServiceStub(channel)
    return stub.WatchRevocations(pb.WatchRevocationsRequest(resume_from=types_pb2.Cursor(value=cursor)))


async def write(running: Running, count: int) -> None:
    """*count* more facts in the log, known to the server."""
    core = running.core
    above = (await core.store.real.read_head()).position
    until = core.clock.now() + timedelta(hours=2)
    facts = [
        Fact(
            n, FactKind.SESSION, encode_id(n.to_bytes(16, "big")), EndReason.ADMIN, until, fact_id=b"%08d" % n
        )
        for n in range(above + 1, above + count + 1)
    ]
    add_facts(core.path, facts, written_at=core.clock.now())
    await core.polled()


async def dropped(running: Running) -> dict[str, Any]:
    """Let time pass until a watcher was dropped, and return what was said of it."""
    core = running.core
    while not (events := core.observer.named("watcher.dropped")):
        core.clock.advance(timedelta(milliseconds=500))
        await asyncio.wait({asyncio.ensure_future(core.clock.sleep(timedelta(0)))}, timeout=0.01)
        await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.005)
    return dict(events[0].fields)


@pytest.mark.parametrize(("facts", "because"), [(8_000, "blocked"), (25_000, "behind")])
async def test_a_reader_that_does_not_read_is_dropped_and_resumes(
    running: Running, facts: int, because: str
) -> None:
    """
    It is told WATCHER_TOO_SLOW with RetryInfo once it reads again; from its last cursor it gets the rest: every
    position once. Meanwhile it counts no more as a watcher.
    """
    core = running.core
    async with grpc.aio.insecure_channel(running.server.address, options=_NARROW) as channel:
        call = open_stream(channel)
        message = await call.read()
        assert message.snapshot_part.last
        for _ in range(facts // 1000):
            await write(running, 1000)
        told = await dropped(running)
        assert told["because"] == because
        assert told["behind"] > 0
        assert core.observer.gauges["watchers"]() == 0

        cursor, positions = message.complete_through.value, []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while True:
                message = await call.read()
                positions += [int.from_bytes(one.position, "big") for one in message.changes.revocations]
                cursor = message.complete_through.value
        refusal = read_refusal(caught.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW")
        assert refusal.retry == timedelta(seconds=1)
        assert 0 < len(positions) < facts
        records = [one for one in core.observer.calls if one.method.endswith("/WatchRevocations")]
        assert [(one.code, one.reason) for one in records] == [("RESOURCE_EXHAUSTED", "WATCHER_TOO_SLOW")]

        call = open_stream(channel, cursor)
        while len(positions) < facts:
            message = await call.read()
            positions += [int.from_bytes(one.position, "big") for one in message.changes.revocations]
        call.cancel()
        assert positions == list(range(1, facts + 1))


async def test_no_more_watchers_than_the_bound(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One more is RATE_LIMITED with RetryInfo; when one leaves there is room again.
    """
    monkeypatch.setattr(running.core.watches, "settings", WatchSettings(watchers=2))
    calls = [open_stream(running.channel) for _ in range(2)]
    for call in calls:
        await call.read()
    refusal = await refused(open_stream(running.channel).read())
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert refusal.retry == timedelta(seconds=5)
    calls[0].cancel()
    while running.core.observer.gauges["watchers"]() > 1:
        await running.core.clock.sleep(timedelta(0))
    again = open_stream(running.channel)
    assert (await again.read()).snapshot_part.last
    for call in (*calls, again):
        call.cancel()
