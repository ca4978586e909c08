"""Several processes on one PostgreSQL: positions in commit order, nothing lost, one migration."""

import asyncio
import multiprocessing
from collections.abc import Iterator

import pytest

from authsvc.storage import check_schema, migrate
from tests.storage.conformance.world import World
from tests.storage.postgres_backend import PostgresBackend
from tests.storage.processes import burst, log_in_and_out
from tests.support.postgres import execute, in_database

SPAWN = multiprocessing.get_context("spawn")
WRITERS = 3
EACH = 60


@pytest.fixture
def backend(postgres_database: str) -> PostgresBackend:
    return PostgresBackend(postgres_database)


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    execute(postgres_server, "CREATE DATABASE authsvc_empty")
    yield in_database(postgres_server, "authsvc_empty")
    execute(postgres_server, "DROP DATABASE authsvc_empty WITH (FORCE)")


async def test_no_gap_fills_behind_a_tail(world: World, backend: PostgresBackend) -> None:
    """
    While processes write, a tail that reads only above its watermark sees every position, ascending, without a hole.

    So what was visible was complete: a position that appeared later below the watermark would be missing here.
    """
    ends = [SPAWN.Pipe(duplex=False) for _ in range(WRITERS)]
    processes = [
        SPAWN.Process(target=log_in_and_out, args=(backend, seed, EACH, ends[seed][1]))
        for seed in range(WRITERS)
    ]
    for process in processes:
        process.start()
    seen: list[int] = []
    while len(seen) < WRITERS * EACH and any(process.is_alive() for process in processes):
        head, facts = await world.store.read_from((seen[-1] if seen else 0) + 1, limit=5)
        assert not facts or facts[-1].position <= head.position
        seen += [fact.position for fact in facts]
    _, rest = await world.store.read_from((seen[-1] if seen else 0) + 1, limit=1000)
    seen += [fact.position for fact in rest]
    answered = [await asyncio.to_thread(receive.recv) for receive, _ in ends]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * WRITERS
    assert seen == list(range(1, WRITERS * EACH + 1))
    assert sorted(position for positions in answered for position in positions) == seen
    assert all(positions == sorted(set(positions)) for positions in map(sorted, answered))


async def test_killed_writer_loses_nothing_it_acknowledged(world: World, backend: PostgresBackend) -> None:
    """After SIGKILL in mid-burst every acknowledged login and logout is there, and others go on."""
    receive, send = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=burst, args=(backend, send))
    process.start()
    send.close()
    acknowledged = [receive.recv() for _ in range(200)]
    process.kill()
    try:
        while True:
            acknowledged.append(receive.recv())
    except (EOFError, OSError):  # the pipe ends where the process did, maybe in the middle of a message
        process.join(30)
    known = {fact.target: fact.position for fact in await world.log()}
    for session_id, position in acknowledged:
        assert known[session_id] == position
        session = await world.store.get_session(session_id)
        assert session is not None
        assert session.ended is not None
    await world.logout(await world.login("later"))


def test_processes_migrating_at_once_are_safe(empty_database: str) -> None:
    """Four processes migrate one empty database: all succeed, and the schema is there once."""
    processes = [SPAWN.Process(target=migrate, args=(empty_database,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    check_schema(empty_database)
