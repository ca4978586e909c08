"""What spawned processes do to a database in the tests."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import Backend, World
from tests.storage.sqlite_backend import SqliteBackend


async def _world(backend: Backend, seed: int) -> World:
    clock, entropy = FakeClock(), SeededEntropy(seed)
    store = await backend.open(clock=clock, entropy=entropy)
    return World(backend=backend, store=store, clock=clock, entropy=entropy)


def log_in_and_out(backend: Backend, seed: int, count: int, answers: "Connection[object, object]") -> None:
    """Log in and out *count* times, ten at a time, and send the positions that the writes returned."""

    async def run() -> list[int]:
        world = await _world(backend, seed)

        async def once(number: int) -> list[int]:
            login = await world.login(f"{seed}-{number}")
            return [fact.position for fact in (await world.logout(login)).facts]

        positions: list[int] = []
        for start in range(0, count, 10):
            for made in await asyncio.gather(*map(once, range(start, start + 10))):
                positions += made
        await world.store.close()
        return positions

    answers.send(asyncio.run(run()))


def burst(backend: Backend, answers: "Connection[object, object]") -> None:
    """Log in and out for ever, and send (session id, position) of each as soon as it was acknowledged."""

    async def run() -> None:
        world = await _world(backend, 1)

        async def forever(person: int) -> None:
            while True:
                login = await world.login(f"{person}")
                written = await world.logout(login)
                answers.send((login.id, written.facts[0].position))

        await asyncio.gather(*map(forever, range(16)))

    asyncio.run(run())


def write_one_by_one(path: str, count: int) -> None:
    """Log in *count* times, each after the other was acknowledged."""

    async def run() -> None:
        world = await _world(SqliteBackend.existing(Path(path)), 1)
        for number in range(count):
            await world.login(f"{number}")
        await world.store.close()

    asyncio.run(run())
