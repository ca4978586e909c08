"""`python -m tests.faults.disk FILE COUNT`: logs in and out, and prints what was acknowledged; survives a sick disk."""

# ruff: noqa: T201 - printing is what it is for

import asyncio
import os
import sys
from pathlib import Path

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import SqliteStore
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import World
from tests.storage.sqlite_backend import SqliteBackend

_AT_ONCE = 4


class _Existing(SqliteBackend):
    def __init__(self, path: Path) -> None:
        self.path = path


async def _log_in_and_out(path: Path, count: int) -> None:
    clock, entropy = FakeClock(), SeededEntropy(1)
    store = await SqliteStore.open(path, clock=clock, entropy=entropy)
    world = World(backend=_Existing(path), store=store, clock=clock, entropy=entropy)

    async def once(number: int) -> None:
        try:
            login = await world.login(f"{number}")
        except StoreUnavailable:
            print("refused", flush=True)
            return
        print("login", login.id, flush=True)
        try:
            written = await world.logout(login)
        except StoreUnavailable:
            print("refused", flush=True)
            return
        print("logout", login.id, written.facts[0].position, flush=True)

    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*map(once, range(start, start + _AT_ONCE)))
    print("end", flush=True)
    os._exit(0)  # as in a crash: nothing is closed or checkpointed


if __name__ == "__main__":
    asyncio.run(_log_in_and_out(Path(sys.argv[1]), int(sys.argv[2])))
