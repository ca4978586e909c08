"""LISTEN and NOTIFY: who is woken, when it is believed, and that nothing depends on it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from authsvc.ports import Event
from authsvc.storage import PostgresStore
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy
from tests.storage.conformance.world import World
from tests.storage.postgres.pooler import Pooler, pooler_to
from tests.support.postgres import OwnServer, fresh_database


async def listening(url: str, observer: RecordingObserver, *, at: str | None = None) -> PostgresStore:
    """A store on *url* that listens there, or at another address."""
    return await PostgresStore.open(
        url, clock=FakeClock(), entropy=SeededEntropy(7), observer=observer, listen_url=at or url
    )


class Bell:
    """Rings when the store calls; can be waited for."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    async def ring(self) -> None:
        await asyncio.wait_for(self.rung.wait(), 20)
        self.rung.clear()


class Attentive(RecordingObserver):
    """An observer whose next event can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def event(self, event: Event) -> None:
        super().event(event)
        self._news.set()

    async def told(self, name: str, *, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while len(self.named(name)) < times:
                await self._news.wait()
                self._news.clear()


@pytest.fixture
def observer() -> Attentive:
    return Attentive()


@pytest.fixture
async def pooler(own_server: OwnServer) -> AsyncIterator[Pooler]:
    async with pooler_to(own_server.port) as running:
        yield running


async def test_facts_of_others_wake(world: World, own_database: str, observer: Attentive) -> None:
    """A fact that another store wrote calls those who asked; a write without a fact calls nobody."""
    store, bell = await listening(own_database, observer), Bell()
    await store.on_change(bell.rung.set)
    await observer.told("database.notified")
    await bell.ring()  # once for what was written before
    login = await world.login()
    await world.rotate(login.token)
    assert not bell.rung.is_set()
    await world.logout(login)
    await bell.ring()
    assert observer.gauges["database_notifications"]() == 1
    await store.close()


async def test_many_facts_wake_few_times(world: World, own_database: str, observer: Attentive) -> None:
    """A burst of facts does not make a listener read the log for each one, and its last one is not missed."""
    store = await listening(own_database, observer)
    heads: list[int] = []
    await store.on_change(lambda: heads.append(0))
    await observer.told("database.notified")
    logins = [await world.login(f"{number}") for number in range(40)]
    before = len(heads)
    bell = Bell()
    await store.on_change(bell.rung.set)
    await asyncio.gather(*(world.logout(login) for login in logins))
    await bell.ring()
    assert len(heads) - before < 40
    await store.close()


async def test_connection_lost_and_found(
    world: World, own_server: OwnServer, own_database: str, observer: Attentive
) -> None:
    """When the server restarts, the listener says so, comes back by itself and wakes for what was missed."""
    store, bell = await listening(own_database, observer), Bell()
    await store.on_change(bell.rung.set)
    await observer.told("database.notified")
    await bell.ring()
    own_server.kill()
    await observer.told("database.not_notified")
    assert observer.gauges["database_notifications"]() == 0
    own_server.start()
    await observer.told("database.notified", times=2)
    await bell.ring()
    await store.close()


async def test_pooler_that_drops_notifications(
    world: World, own_database: str, observer: Attentive, pooler: Pooler
) -> None:
    """LISTEN succeeds and nothing arrives: that is found out, told once, and everything else works."""
    store = await listening(own_database, observer, at=pooler.url(own_database))
    await observer.told("database.not_notified")
    [event] = observer.named("database.not_notified")
    assert event.fields == {"error": "NotDelivered"}
    assert pooler.dropped > 0
    assert observer.gauges["database_notifications"]() == 0
    await world.logout(await world.login())
    assert (await store.read_head()).position == 1
    await store.close()


async def test_another_database(
    own_server: OwnServer, own_template: str, own_database: str, observer: Attentive
) -> None:
    """An address that leads to another database is found out in the same way."""
    with fresh_database(own_server.url, template=own_template) as elsewhere:
        store = await listening(own_database, observer, at=elsewhere)
        await observer.told("database.not_notified")
        assert not observer.named("database.notified")
        await store.close()
