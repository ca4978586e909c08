"""A server that is gone, frozen or restarted, connections that break, callers that leave: refusals, no half deeds, life afterwards."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from sqlalchemy import text

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Opened, SessionQuery
from authsvc.storage import PostgresStore
from authsvc.storage.postgres import POOL_SIZE, PostgresRunner
from authsvc.storage.tx import Tx
from tests.storage.conformance.world import Login, World
from tests.storage.postgres.proxy import Cut, Proxy, proxy_to
from tests.storage.postgres.units import count_users, write_fact
from tests.storage.postgres_backend import PostgresBackend
from tests.support.postgres import OwnServer


def sockets_to(server: OwnServer) -> int:
    connections = psutil.Process().net_connections()
    return sum(bool(each.raddr) and each.raddr.port == server.port for each in connections)


def through(proxy: Proxy, url: str) -> PostgresBackend:
    parts = urlsplit(url)
    return PostgresBackend(urlunsplit(parts._replace(netloc=f"postgres@127.0.0.1:{proxy.port}")))


@pytest.fixture
def backend(own_database: str) -> PostgresBackend:
    """Callers wait long enough for a busy machine, and not longer than a test should take."""
    return PostgresBackend(own_database, patience=timedelta(seconds=3))


async def outcomes(world: World, count: int) -> list[type]:
    """Log in *count* people at once, and say what each got."""
    results = await asyncio.gather(
        *(world.login(f"{number}") for number in range(count)), return_exceptions=True
    )
    return [type(result) for result in results]


async def test_cancelled_caller_does_not_cut_the_work(world: World, store: PostgresStore) -> None:
    """A caller that stops waiting finds its login stored, and later callers get their own answers."""
    opening, _ = world.opening()
    task = asyncio.create_task(store.open_session(opening))
    for _ in range(3):
        await asyncio.sleep(0)  # noqa: TID251 - lets the task begin; waits for nothing
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()
    replica = await world.replica()
    assert await replica.get_session(opening.session_id) is not None


async def test_many_cancellations_never_mix_up_answers(world: World, store: PostgresStore) -> None:
    """Of three hundred logins two thirds stop waiting at different moments; each answer is the asker's own."""
    openings = [world.opening(f"{number}")[0] for number in range(300)]
    tasks = [asyncio.create_task(store.open_session(opening)) for opening in openings]
    for number, task in enumerate(tasks):
        if number % 3:
            await asyncio.sleep(0)  # noqa: TID251 - lets answers arrive in between; waits for nothing
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for opening, result in zip(openings, results, strict=True):
        if isinstance(result, BaseException):
            assert isinstance(result, (asyncio.CancelledError, StoreUnavailable))
        else:
            assert isinstance(result.value, Opened)
            assert result.value.session.session_id == opening.session_id


async def test_killed_server(world: World, own_server: OwnServer) -> None:
    """While it is gone everybody is refused; what was acknowledged is there when it is back, and so are we."""
    logins = [await world.login(f"{number}") for number in range(5)]
    own_server.kill()
    assert set(await outcomes(world, 30)) == {StoreUnavailable}
    with pytest.raises(StoreUnavailable):
        await world.store.ping()
    own_server.start()
    assert set(await outcomes(world, 30)) == {Login}
    for login in logins:
        assert await world.reason(login) is None


async def test_restarted_server_is_not_noticed(world: World, own_server: OwnServer) -> None:
    """Pooled connections that died with the old server cost no call: nothing was committed, so it is run again."""
    await outcomes(world, 30)
    own_server.kill()
    own_server.start()
    assert set(await outcomes(world, 30)) == {Login}


async def test_frozen_server(world: World, own_server: OwnServer) -> None:
    """A server that keeps connections and does not answer: refused, few sockets, and life when it thaws."""
    login = await world.login("before")
    own_server.freeze()
    try:
        for _ in range(2):
            assert set(await outcomes(world, 30)) == {StoreUnavailable}
            assert sockets_to(own_server) <= POOL_SIZE
        with pytest.raises(StoreUnavailable):
            await world.store.get_session(login.id)
    finally:
        own_server.thaw()
    assert set(await outcomes(world, 30)) == {Login}
    assert await world.reason(login) is None


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_lost_commit(world: World, own_server: OwnServer, own_database: str, cut: Cut) -> None:
    """Where the connection breaks at COMMIT nobody knows: the caller hears so, nothing is run twice, and life goes on."""
    async with proxy_to(own_server.port) as proxy:
        store = await through(proxy, own_database).open(clock=world.clock, entropy=world.entropy)
        proxy.cut = cut
        opening, _ = world.opening()
        with pytest.raises(StoreUnavailable):
            await store.open_session(opening)
        assert proxy.cuts == 1
        stored = await world.store.get_session(opening.session_id) is not None
        assert stored == (cut is Cut.AFTER)
        await world.login("later", store=store)
        await store.close()
    assert count_users(world) == 1 + stored


async def test_terminated_connection_in_mid_unit(runner: PostgresRunner) -> None:
    """A connection that dies before COMMIT is provably without effect: the unit runs again on another."""
    runs: list[int] = []

    def die_once(tx: Tx) -> int:
        position = write_fact(tx)
        runs.append(position)
        if len(runs) == 1:
            tx.connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return position

    assert (await runner.write(die_once)).value == 1
    assert runs == [1, 1]


async def test_closed_store_answers_nothing(
    world: World, store: PostgresStore, own_server: OwnServer
) -> None:
    """After close every call is StoreUnavailable, no connection is left, and closing again is nothing."""
    login = await world.login()
    await store.close()
    assert sockets_to(own_server) == 0
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await world.logout(login)
    await store.close()


async def test_close_finishes_what_is_running(world: World, store: PostgresStore) -> None:
    """Everything handed over before close is answered and stored."""
    tasks = [asyncio.create_task(world.login(f"{number}")) for number in range(50)]
    await asyncio.sleep(0)  # noqa: TID251 - lets them be handed over; waits for nothing
    await store.close()
    logins = await asyncio.gather(*tasks)
    replica = await world.replica()
    stored = await replica.list_sessions(SessionQuery(limit=1000))
    assert {session.session_id for session in stored} == {login.id for login in logins}
