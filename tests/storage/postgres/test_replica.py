"""Lists of sessions from a read replica; a second database stands for one that is behind."""

from collections.abc import AsyncIterator

import pytest

from authsvc.ports import SessionQuery
from authsvc.storage import PostgresStore
from tests.storage.conformance.world import World
from tests.storage.postgres_backend import PATIENCE
from tests.support.postgres import OwnServer, fresh_database


async def reading(world: World, url: str, replica: str) -> PostgresStore:
    return await PostgresStore.open(
        url,
        clock=world.clock,
        entropy=world.entropy,
        read_url=replica,
        answer_within=PATIENCE,
        instant=lambda _: world.clock.now(),
    )


@pytest.fixture
async def behind(
    world: World, own_server: OwnServer, own_template: str, own_database: str
) -> AsyncIterator[PostgresStore]:
    """A store whose replica knows of nothing yet."""
    with fresh_database(own_server.url, template=own_template) as url:
        other = await PostgresStore.open(url, clock=world.clock, entropy=world.entropy)
        await other.close()
        store = await reading(world, own_database, url)
        yield store
        await store.close()


async def test_lists_come_from_the_replica_alone(world: World, behind: PostgresStore) -> None:
    """A list is what the replica has; a single session is what the record has."""
    login = await world.login(store=behind)
    assert await behind.list_sessions(SessionQuery()) == []
    assert await behind.get_session(login.id) is not None


async def test_replica_behind_what_was_asked_is_not_used(world: World, behind: PostgresStore) -> None:
    """Who asks for a list as of a revocation that the replica has not seen gets it from the record."""
    login = await world.login()
    written = await world.logout(login)
    query = SessionQuery(include_ended=True, as_of=written.head.position)
    [session] = await behind.list_sessions(query)
    assert session.ended is not None


async def test_replica_that_is_gone_is_done_without(world: World, own_database: str) -> None:
    """Without its replica a store lists from the record."""
    login = await world.login()
    store = await reading(world, own_database, "postgresql://nobody@127.0.0.1:1/nowhere")
    assert [session.session_id for session in await store.list_sessions(SessionQuery())] == [login.id]
    await store.close()
