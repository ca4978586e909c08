"""Many readers of the revocation log in one process, over several connections, and what each of them has seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from authapi.v1 import revocation_service_pb2 as pb
from authapi.v1 import revocation_service_pb2_grpc, types_pb2

PATIENCE_S = 60.0


@dataclass(slots=True)
class Reader:
    """One watcher: its last cursor, the positions that came as changes, in order, and its longest silence."""

    stub: "revocation_service_pb2_grpc.RevocationServiceAsyncStub"
    cursor: bytes = b""
    through: int = -1
    positions: list[int] = field(default_factory=list)
    snapshots: int = 0
    facts_in_snapshot: int = 0
    silence_s: float = 0.0
    status: grpc.StatusCode | None = None
    call: Any = None
    task: "asyncio.Task[None] | None" = None


class Crowd:
    """*count* readers over *channels* connections to *target*."""

    def __init__(self, target: str, *, count: int, channels: int = 8) -> None:
        self.arrivals: list[float] = []
        self._goal, self._met = 0, asyncio.Event()
        # Without a pool of its own each channel would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
        stubs = [revocation_service_pb2_grpc.RevocationServiceStub(channel) for channel in self._channels]
        self.readers = [Reader(stubs[number % channels]) for number in range(count)]

    def start(self) -> None:
        """Begin to read, each from its last cursor."""
        for reader in self.readers:
            reader.task = asyncio.create_task(self._read(reader))

    async def cut_off(self) -> None:
        """Break every stream at once."""
        for reader in self.readers:
            reader.call.cancel()
        await asyncio.gather(*(reader.task for reader in self.readers if reader.task), return_exceptions=True)

    async def close(self) -> None:
        """Break the streams and hang up."""
        await self.cut_off()
        for channel in self._channels:
            await channel.close(None)

    def expect(self, position: int) -> None:
        """Count who is complete through *position*, now and from now on."""
        self._goal, self._met = position, asyncio.Event()
        self.arrivals = []
        for reader in self.readers:
            if reader.through >= position:
                self._count(now())

    async def all_there(self) -> Sequence[float]:
        """Return when each was, once all are complete through the expected position, ascending."""
        await asyncio.wait_for(self._met.wait(), PATIENCE_S)
        return sorted(self.arrivals)

    async def _read(self, reader: Reader) -> None:
        request = pb.WatchRevocationsRequest(resume_from=types_pb2.Cursor(value=reader.cursor))
        reader.call = call = reader.stub.WatchRevocations(request)
        heard_at = now()
        try:
            async for message in call:
                before, heard_at = heard_at, now()
                if reader.through >= 0:
                    reader.silence_s = max(reader.silence_s, heard_at - before)
                self._take(reader, message, heard_at)
            reader.status = await call.code()
        except grpc.aio.AioRpcError as error:
            reader.status = error.code()

    def _take(self, reader: Reader, message: pb.WatchRevocationsResponse, heard_at: float) -> None:
        if message.HasField("snapshot_part"):
            part = message.snapshot_part
            reader.snapshots += part.last
            reader.facts_in_snapshot += (
                len(part.revocations) + sum(len(one.ids) for one in part.sessions) // 16
            )
        reader.positions += [int.from_bytes(one.position, "big") for one in message.changes.revocations]
        if not message.position_through:
            return
        was_short, reader.through = (
            reader.through < self._goal,
            int.from_bytes(message.position_through, "big"),
        )
        reader.cursor = message.complete_through.value
        if was_short and reader.through >= self._goal:
            self._count(heard_at)

    def _count(self, heard_at: float) -> None:
        self.arrivals.append(heard_at)
        if len(self.arrivals) == len(self.readers):
            self._met.set()


def now() -> float:
    """Return seconds on a clock that only goes forward."""
    return time.monotonic()  # noqa: TID251 - measures a real process


@asynccontextmanager
async def crowd(target: str, *, count: int, channels: int = 8) -> AsyncIterator[Crowd]:
    """A crowd that has started, hung up afterwards."""
    made = Crowd(target, count=count, channels=channels)
    try:
        made.start()
        yield made
    finally:
        await made.close()
