"""Hundreds of watchers over real sockets, against a server process: lag, silence, a mass return, memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import auth_service_pb2_grpc
from authsvc.domain.ids import encode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from tests.e2e.running import Running, running
from tests.e2e.serving import SERVE_PORTS, Site, prepare
from tests.support.core import D1
from tests.support.crowd import Crowd, crowd, now
from tests.support.database import add_facts

# How many, and how many revocations each of them must hear of.
SOME, MANY = (200, 10), (1000, 30)
SIZES = [
    pytest.param(*SOME, id="200"),
    pytest.param(*MANY, id="1000", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
]
# Asserted in the long run only: there a machine's own stalls are the test's business.
LAG_BOUND_S = 1.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("watch") / "site")


@pytest.fixture
def serving(site: Site) -> Iterator[Running]:
    with running(site.folder, "serve", *SERVE_PORTS, env=site.env) as process:
        process.addresses()
        yield process


def target(process: Running) -> str:
    return process.addresses()["grpc"].removeprefix("grpc://")


@asynccontextmanager
async def revoker(process: Running) -> AsyncIterator["auth_service_pb2_grpc.AuthServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(target(process)) as channel:
        yield auth_service_pb2_grpc.AuthServiceStub(channel)


async def revoke(auth: "auth_service_pb2_grpc.AuthServiceAsyncStub") -> int:
    """End every session of an app, which is a fact each time, and return its position."""
    answer = await auth.Revoke(pb.RevokeRequest(app_id=D1), timeout=20)
    return int.from_bytes(answer.position, "big")


async def arrived(readers: Crowd) -> None:
    """All have read their snapshot, or resumed."""
    readers.expect(0)
    await readers.all_there()


def rss_kib(process: Running) -> int:
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def quantiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, max {ordered[-1] * 1000:.1f} ms"


@pytest.mark.parametrize(("count", "rounds"), SIZES)
async def test_every_watcher_hears_of_every_revocation(
    serving: Running, count: int, rounds: int, request: pytest.FixtureRequest
) -> None:
    """
    Each revocation reaches each watcher once, in order; in the long run within a second of its acknowledgement.
    """
    lags: list[float] = []
    before = rss_kib(serving)
    async with revoker(serving) as auth, crowd(target(serving), count=count) as readers:
        await arrived(readers)
        positions: list[int] = []
        for _ in range(rounds):
            readers.expect(max(reader.through for reader in readers.readers) + 1)
            positions.append(await revoke(auth))
            acknowledged_at = now()
            lags += [arrival - acknowledged_at for arrival in await readers.all_there()]
        memory = (rss_kib(serving) - before) / count
    assert all(reader.positions == positions for reader in readers.readers)
    print(f"\n{count} watchers, {rounds} revocations: lag {quantiles(lags)}; {memory:.0f} KiB each")  # noqa: T201
    silence = max(reader.silence_s for reader in readers.readers)
    print(f"longest silence {silence:.2f} s")  # noqa: T201
    if request.node.get_closest_marker("long"):
        assert max(lags) < LAG_BOUND_S


@pytest.mark.parametrize(("count", "rounds"), SIZES)
async def test_all_cut_off_at_once_come_back(serving: Running, site: Site, count: int, rounds: int) -> None:
    """
    With good cursors nobody takes a snapshot and nobody misses or repeats a position; without any, all take one that
    is read once from the store, and the server goes on answering meanwhile.
    """
    facts = 50 * count
    async with revoker(serving) as auth:
        write_facts(site, above=await revoke(auth), count=facts)
        position = await revoke(auth)
        async with crowd(target(serving), count=1) as first:
            first.expect(position)
            await first.all_there()
        async with crowd(target(serving), count=count) as readers:
            await come_back(serving, auth, readers, position=position, rounds=rounds, facts=facts)


async def come_back(
    serving: Running,
    auth: "auth_service_pb2_grpc.AuthServiceAsyncStub",
    readers: Crowd,
    *,
    position: int,
    rounds: int,
    facts: int,
) -> None:
    count = len(readers.readers)
    readers.expect(position)
    await readers.all_there()
    before = rss_kib(serving)
    for reader in readers.readers:
        reader.positions.clear()
    await readers.cut_off()
    missed = [await revoke(auth) for _ in range(rounds)]
    taken = [reader.snapshots for reader in readers.readers]
    readers.expect(missed[-1])
    began = now()
    readers.start()
    resumed_s = (await readers.all_there())[-1] - began
    assert [reader.snapshots for reader in readers.readers] == taken
    assert all(reader.positions == missed for reader in readers.readers)

    await readers.cut_off()
    for reader in readers.readers:
        reader.cursor, reader.through, reader.facts_in_snapshot = b"", -1, 0
        reader.positions.clear()
    readers.expect(missed[-1])
    done = asyncio.Event()
    answers = asyncio.create_task(answering(auth, done))
    began = now()
    readers.start()
    returned_s = (await readers.all_there())[-1] - began
    done.set()
    waits = await answers
    after = rss_kib(serving)
    # A snapshot that was made while the facts were being read is completed by the changes after it.
    assert all(reader.facts_in_snapshot + len(reader.positions) >= facts for reader in readers.readers)
    print(  # noqa: T201
        f"\n{count} watchers: resumed in {resumed_s:.2f} s; snapshots of {facts} facts in {returned_s:.2f} s, memory"
        f" +{(after - before) / 1024:.1f} MiB; VerifyToken meanwhile {quantiles(waits)}"
    )


async def answering(
    auth: "auth_service_pb2_grpc.AuthServiceAsyncStub", done: asyncio.Event
) -> Sequence[float]:
    """How long each VerifyToken took, one after another until *done*, at least one."""
    waits: list[float] = []
    while not waits or not done.is_set():
        began = now()
        await auth.VerifyToken(pb.VerifyTokenRequest(access_token="junk"), timeout=20)
        waits.append(now() - began)
    return waits


def write_facts(site: Site, *, above: int, count: int) -> None:
    """Ended sessions, written as another replica would."""
    until, at = datetime.now(UTC) + timedelta(hours=2), datetime.now(UTC)  # noqa: TID251 - a real process judges it
    facts = (
        Fact(
            number,
            FactKind.SESSION,
            encode_id(number.to_bytes(16, "big")),
            EndReason.ADMIN,
            until,
            fact_id=number.to_bytes(8, "big"),
        )
        for number in range(above + 1, above + count + 1)
    )
    add_facts(site.database, facts, written_at=at)
