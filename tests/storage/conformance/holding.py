"""The policy `hold`: a pair waits for an operator, who makes them one or says that they are two."""

from dataclasses import replace

from sqlalchemy import select

from authsvc.domain.apps import MergePolicy
from authsvc.domain.people import LinkVerdict
from authsvc.ports import HeldMerge, Linking, Opened
from authsvc.storage.schema import audit, merges, user_aliases, users
from tests.storage.conformance.people import linking, strangers
from tests.storage.conformance.world import APP, AUDITED, MINUTE, SIBLING, UNBOUND, World

HOLDING = replace(APP, merge_policy=MergePolicy.HOLD)


class TestHolding:
    async def test_nothing_moves_and_the_pair_waits(self, world: World) -> None:
        """The login goes on as its own user; the pair is recorded once, the older as the one to stay."""
        older, younger = await strangers(world)
        found_at = world.now
        told = await world.login("a", app=HOLDING, unionid="u")
        assert told.user.user_id == older.user.user_id
        found = linking(told)
        assert (found.verdict, found.other_user_id, found.is_news) == (
            LinkVerdict.HELD,
            younger.user.user_id,
            True,
        )
        world.clock.advance(MINUTE)
        again = linking(await world.login("a", app=HOLDING, unionid="u"))
        assert (again.verdict, again.is_news, again.merge_id) == (LinkVerdict.HELD, False, found.merge_id)
        [pair] = await world.store.list_held_merges(limit=10)
        assert (pair.survivor_id, pair.moved_id) == (older.user.user_id, younger.user.user_id)
        assert (pair.platform_group, pair.found_at) == (APP.platform_group, found_at)
        assert await world.reason(younger) is None
        assert world.backend.look(select(user_aliases)) == []
        assert [row.event for row in world.backend.look(AUDITED)] == ["user.merge_held"]

    async def test_merging_settles_it(self, world: World) -> None:
        """An operator's merge, in whichever direction, takes the pair from the list and keeps its id."""
        older, younger = await strangers(world)
        held = linking(await world.login("a", app=HOLDING, unionid="u"))
        written = await world.store.merge_users(
            younger.user.user_id, older.user.user_id, by="op", reason="asked"
        )
        assert await world.store.list_held_merges(limit=10) == []
        [row] = world.backend.look(select(merges))
        assert (row.merge_id, row.state) == (held.merge_id, "done")
        assert row.survivor_id == younger.user.user_id
        assert written.value is not None
        told = await world.login("a", app=HOLDING, unionid="u")
        assert told.user.user_id == younger.user.user_id
        assert linking(told) == Linking()

    async def test_saying_that_they_are_two_settles_it(self, world: World) -> None:
        """From then on no policy merges them, and no login asks again."""
        older, younger = await strangers(world)
        await world.login("a", app=HOLDING, unionid="u")
        ids = (older.user.user_id, younger.user.user_id)
        for _ in range(2):
            written = await world.store.split_user(ids[0], survivor_id=ids[1], by="op", reason="")
            assert written.facts == ()
        assert await world.store.list_held_merges(limit=10) == []
        for app in (APP, HOLDING):
            told = await world.login("a", app=app, unionid="u")
            assert told.user.user_id == ids[0]
            assert linking(told).verdict is LinkVerdict.APART
        assert [row.event for row in world.backend.look(AUDITED.order_by(audit.c.event))] == [
            "user.kept_apart",
            "user.merge_held",
        ]

    async def test_pages_of_pairs(self, world: World) -> None:
        """Oldest first, and a page goes on strictly after the last place."""
        for number in range(5):
            await world.login(f"a{number}")
            await world.login(f"b{number}", app=SIBLING, unionid=f"u{number}")
            await world.login(f"a{number}", app=HOLDING, unionid=f"u{number}")
            world.clock.advance(MINUTE * (number % 2))
        everything = await world.store.list_held_merges(limit=10)
        assert len(everything) == 5
        assert list(everything) == sorted(everything, key=lambda pair: (pair.found_at, pair.merge_id))
        paged: list[HeldMerge] = []
        after = None
        while page := await world.store.list_held_merges(limit=2, after=after):
            paged += page
            after = (page[-1].found_at, page[-1].merge_id)
        assert paged == list(everything)

    async def test_a_pair_is_told_by_the_ids_that_stand(self, world: World) -> None:
        """Where one of the two was merged with a third user since, that one is named."""
        older, younger = await strangers(world)
        await world.login("a", app=HOLDING, unionid="u")
        third = await world.login("c", app=UNBOUND)
        await world.store.merge_users(third.user.user_id, older.user.user_id, by="op", reason="")
        [pair] = await world.store.list_held_merges(limit=10)
        assert {pair.survivor_id, pair.moved_id} == {third.user.user_id, younger.user.user_id}
        await world.store.merge_users(pair.survivor_id, pair.moved_id, by="op", reason="")
        assert await world.store.list_held_merges(limit=10) == []

    async def test_new_users_join_at_first_sight_whatever_the_policy(self, world: World) -> None:
        """There is nothing to hold where nobody has to move."""
        first = await world.login("a", app=HOLDING, unionid="u")
        second = await world.login("b", app=SIBLING, unionid="u")
        assert isinstance(second.written.value, Opened)
        assert second.user.user_id == first.user.user_id
        assert len(world.backend.look(select(users))) == 1
