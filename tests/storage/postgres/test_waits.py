"""Units of work that had to wait for another transaction: what they answer is true after it, not before."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from authsvc.domain.sessions import EndReason
from authsvc.ports import Opened
from authsvc.storage import PostgresStore
from tests.storage.conformance.world import World
from tests.storage.postgres_backend import PostgresBackend

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def patient(world: World, own_database: str) -> AsyncIterator[PostgresStore]:
    """A store on the same database that waits as long as it takes."""
    backend = PostgresBackend(own_database, patience=timedelta(seconds=60))
    store = await backend.open(clock=world.clock, entropy=world.entropy)
    yield store
    await store.close()


class Other:
    """Another process's transaction, open until it is told to commit."""

    def __init__(self, connection: asyncpg.Connection, looking: asyncpg.Connection) -> None:
        self.connection = connection
        self._looking = looking

    async def until_awaited(self, task: "asyncio.Task[object]") -> None:
        """Return once *task* waits for a lock of ours; fail if it did not have to."""
        while await self._looking.fetchval(_WAITING) == 0:
            assert not task.done(), "it did not wait"

    async def commit(self) -> None:
        await self.connection.execute("COMMIT")


@contextlib.asynccontextmanager
async def transaction(url: str) -> AsyncIterator[Other]:
    connection, looking = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN")
        yield Other(connection, looking)
    finally:
        await connection.close()
        await looking.close()


async def test_position_is_taken_only_when_everything_below_it_is_settled(
    world: World, patient: PostgresStore, own_database: str
) -> None:
    """
    While a transaction that has a position is open, nobody else gets the next one: so a position that is visible has
    no hole below it that fills later, and a tail may go on from it.
    """
    login = await world.login()
    async with transaction(own_database) as other:
        below = await other.connection.fetchval(
            "UPDATE log_head SET position = position + 1 RETURNING position"
        )
        ending = asyncio.create_task(patient.end_session(login.id, reason=EndReason.LOGOUT, by="user"))
        await other.until_awaited(ending)
        await other.commit()
        (fact,) = (await ending).facts
    assert fact.position == below + 1


async def test_login_that_waited_for_a_revocation_is_above_it(
    world: World, patient: PostgresStore, own_database: str
) -> None:
    """
    A login that has to wait for the end of all its user's sessions comes after it: its position is not below that
    revocation's, or its tokens would be dead from the start.
    """
    user = (await world.login()).user
    opening, _ = world.opening()
    async with transaction(own_database) as other:
        await other.connection.execute("SELECT * FROM users WHERE user_id = $1 FOR UPDATE", user.user_id)
        position = await other.connection.fetchval(
            "UPDATE log_head SET position = position + 1 RETURNING position"
        )
        login = asyncio.create_task(patient.open_session(opening))
        await other.until_awaited(login)
        await other.connection.execute(
            "UPDATE users SET position = $1, position_reason = 4, position_at = 1, position_by = 'op'",
            position,
        )
        await other.commit()
        opened = (await login).value
    assert isinstance(opened, Opened)
    assert opened.session.position >= position
    session = await world.store.get_session(opening.session_id)
    assert session is not None
    assert session.ended is None


async def test_ending_that_waited_for_another_counts_for_nothing(
    world: World, patient: PostgresStore, own_database: str
) -> None:
    """
    Whoever finds a session ended when its turn comes has not ended it: the first reason stands, nothing is counted.
    """
    login = await world.login()
    async with transaction(own_database) as other:
        await other.connection.execute(
            "UPDATE sessions SET ended_at = 1, end_reason = 1, ended_by = 'user' WHERE session_id = $1",
            login.id,
        )
        ending = asyncio.create_task(
            patient.end_user_sessions(login.user.user_id, reason=EndReason.ADMIN, by="operator")
        )
        await other.until_awaited(ending)
        await other.commit()
        assert (await ending).value == 0
    assert await world.reason(login) is EndReason.LOGOUT
