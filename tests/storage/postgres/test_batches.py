"""Writes that queue up share a transaction; what one of them meets does not harm the others."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import func, select, text

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.sessions import EndReason
from authsvc.ports import SessionQuery, Written
from authsvc.storage import PostgresStore
from authsvc.storage.postgres import PostgresRunner
from authsvc.storage.postgres_batches import BATCH_LIMIT
from authsvc.storage.tx import Overtaken, Shared, Tx
from tests.storage.conformance.world import Login, World
from tests.storage.postgres.units import write_fact
from tests.storage.postgres_backend import PATIENCE
from tests.support.postgres import execute


@pytest.fixture
async def narrow(world: World, own_database: str) -> AsyncIterator[PostgresStore]:
    """A store that runs one batch at a time: whatever comes while one runs is the next."""
    store = await PostgresStore.open(
        own_database,
        clock=world.clock,
        entropy=world.entropy,
        pool_size=2,
        answer_within=PATIENCE,
        instant=lambda _: world.clock.now(),
    )
    yield store
    await store.close()


@pytest.fixture
def runner(narrow: PostgresStore) -> PostgresRunner:
    return narrow._postgres


def transaction(tx: Tx) -> int:
    write_fact(tx)
    return int(tx.connection.execute(select(func.pg_current_xact_id().op("::")(text("text")))).scalar_one())


def write_and_fail(tx: Tx) -> int:
    write_fact(tx)
    raise ZeroDivisionError


async def test_what_waits_is_one_transaction(runner: PostgresRunner) -> None:
    """What is there at once shares transactions, up to the limit, in the order in which it came."""
    written = await asyncio.gather(*(runner.write(Shared(transaction)) for _ in range(BATCH_LIMIT + 5)))
    ids = [each.value for each in written]
    assert [ids.count(each) for each in sorted(set(ids))] == [BATCH_LIMIT, 5]
    assert [each.facts[0].position for each in written] == list(range(1, BATCH_LIMIT + 6))
    assert all(each.head.position >= each.facts[0].position for each in written)


async def test_neighbours_are_not_harmed(world: World, own_database: str, narrow: PostgresStore) -> None:
    """Units of a batch fail, by a statement or by themselves: the others are stored, and positions have no hole."""
    execute(own_database, "ALTER TABLE sessions ADD CONSTRAINT fault CHECK (openid <> 'bad')")
    write = narrow._postgres.write
    results = await asyncio.gather(
        write(Shared(write_fact)),
        world.login("a", store=narrow),
        world.login("bad", store=narrow),
        world.login("b", store=narrow),
        write(Shared(write_and_fail)),
        write(Shared(write_fact)),
        return_exceptions=True,
    )
    kinds = [type(result) for result in results]
    assert kinds == [Written, Login, StoreUnavailable, Login, ZeroDivisionError, Written]
    assert [fact.position for fact in await world.log()] == [1, 2]
    assert len(await world.store.list_sessions(SessionQuery())) == 2


async def test_overtaken_unit_leaves_the_batch(runner: PostgresRunner) -> None:
    """It is run again alone, after its neighbours were stored."""
    runs: list[int] = []

    def overtaken(tx: Tx) -> int:
        runs.append(transaction(tx))
        if len(runs) == 1:
            raise Overtaken
        return runs[-1]

    units = (transaction, transaction, overtaken, transaction)
    written = await asyncio.gather(*(runner.write(Shared(unit)) for unit in units))
    first, second, late, third = (each.value for each in written)
    assert first == second == third == runs[0]
    assert late == runs[1] != first
    assert sorted(each.facts[0].position for each in written) == [1, 2, 3, 4]


async def test_locked_row_holds_up_nobody_else(world: World, narrow: PostgresStore) -> None:
    """A unit whose row somebody else holds waits outside of the batch; its neighbours are answered meanwhile."""
    held, free = await world.login("held"), await world.login("free")
    connection = await asyncpg.connect(narrow._postgres.pool.url)
    await connection.execute("BEGIN")
    await connection.execute("SELECT 1 FROM sessions WHERE session_id = $1 FOR UPDATE", held.id)

    def end(login: Login) -> "asyncio.Task[Written[int | None]]":
        return asyncio.create_task(narrow.end_session(login.id, reason=EndReason.LOGOUT, by="user"))

    waiting, served = end(held), end(free)
    assert (await served).value == 1
    assert not waiting.done()
    await connection.execute("COMMIT")
    await connection.close()
    assert (await waiting).value == 1
    assert [fact.position for fact in await world.log()] == [1, 2]


async def test_batch_that_loses_its_connection_is_run_again(runner: PostgresRunner) -> None:
    """Before COMMIT nothing is kept, so every unit of the batch runs once more, alone."""
    runs: list[int] = []

    def die_once(tx: Tx) -> int:
        runs.append(1)
        if len(runs) == 1:
            tx.connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return transaction(tx)

    units = (transaction, transaction, die_once, transaction)
    written = await asyncio.gather(*(runner.write(Shared(unit)) for unit in units))
    assert sorted(each.facts[0].position for each in written) == [1, 2, 3, 4]
    assert len({each.value for each in written}) == 4
