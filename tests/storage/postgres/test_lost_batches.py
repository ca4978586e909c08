"""A batch whose COMMIT is lost: nobody in it is told that it was kept."""

import asyncio

import pytest

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage import PostgresStore, postgres_batches
from tests.storage.conformance.world import World
from tests.storage.postgres.proxy import Cut, proxy_to
from tests.storage.postgres_backend import PATIENCE
from tests.support.postgres import OwnServer

TOGETHER = 5


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_lost_commit_of_a_batch_is_told_to_all_of_it(
    world: World, own_server: OwnServer, own_database: str, cut: Cut
) -> None:
    """
    Logins that share a transaction, and the connection breaks at its COMMIT: all are refused, whether or not they
    are in the record, none is run twice, and later ones go on.
    """
    async with proxy_to(own_server.port) as proxy:
        store = await PostgresStore.open(
            own_database.replace(f":{own_server.port}/", f":{proxy.port}/"),
            clock=world.clock,
            entropy=world.entropy,
            pool_size=2,  # one batch at a time
            answer_within=PATIENCE,
            instant=lambda _: world.clock.now(),
        )
        openings = [world.opening(f"person-{number}")[0] for number in range(TOGETHER)]
        proxy.cut = cut
        outcomes = await asyncio.gather(*map(store.open_session, openings), return_exceptions=True)
        assert proxy.cuts == 1
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * TOGETHER
        kept = [await world.store.get_session(opening.session_id) is not None for opening in openings]
        assert kept == [cut is Cut.AFTER] * TOGETHER
        await world.login("later", store=store)
        await store.close()


async def test_a_surprise_in_a_batch_is_told_to_all_of_it(
    world: World, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Something that nobody foresaw breaks a batch: its callers are refused at once rather than left waiting, nothing of
    it is kept, and later writes go on.
    """
    store = await PostgresStore.open(
        own_database,
        clock=world.clock,
        entropy=world.entropy,
        pool_size=2,
        answer_within=PATIENCE,
        instant=lambda _: world.clock.now(),
    )

    def surprise(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    openings = [world.opening(f"person-{number}")[0] for number in range(TOGETHER)]
    with monkeypatch.context() as broken:
        broken.setattr(postgres_batches, "_assign", surprise)
        outcomes = await asyncio.gather(*map(store.open_session, openings), return_exceptions=True)
    assert StoreUnavailable in {type(outcome) for outcome in outcomes}
    for opening, outcome in zip(openings, outcomes, strict=True):
        kept = await world.store.get_session(opening.session_id) is not None
        assert kept is not isinstance(outcome, StoreUnavailable)
    await world.login("later", store=store)
    await store.close()
