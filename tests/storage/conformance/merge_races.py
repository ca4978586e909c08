"""One person from many sides at once: logins, merges, splits and revocations leave nobody twice and nothing behind."""

import asyncio
from dataclasses import replace

from sqlalchemy import select

from authsvc.domain.sessions import EndReason
from authsvc.ports import Merged
from authsvc.storage.schema import identities, merges, user_aliases, users
from tests.storage.conformance.people import holdings, merge, user_of
from tests.storage.conformance.world import APP, SIBLING, UNBOUND, World

STANDING = select(users.c.user_id).where(users.c.user_id.not_in(select(user_aliases.c.alias_id)))


class TestMergeRaces:
    async def test_first_logins_of_one_person_in_two_apps_make_one_user(self, world: World) -> None:
        """Whatever the order in which two replicas store them, the person is one."""
        replica = await world.replica()
        for number in range(10):
            name = f"person-{number}"
            logins = await asyncio.gather(
                *(
                    world.login(f"{name}-{app.app_id}", app=app, unionid=name, store=store)
                    for app in (APP, SIBLING)
                    for store in (world.store, replica)
                )
            )
            assert len({login.user.user_id for login in logins}) == 1
        assert len(world.backend.look(select(users))) == 10

    async def test_late_unionids_at_once_make_one_user(self, world: World) -> None:
        """Two users of one person, logging in with the late unionid on both sides and replicas at the same time."""
        replica = await world.replica()
        for number in range(10):
            name = f"person-{number}"
            first = [await world.login(f"{name}-{app.app_id}", app=app) for app in (APP, SIBLING)]
            await asyncio.gather(
                *(
                    world.login(f"{name}-{app.app_id}", app=app, unionid=name, store=store)
                    for app in (APP, SIBLING)
                    for store in (world.store, replica)
                )
            )
            standing = {(await user_of(world, login)).user_id for login in first}
            assert len(standing) == 1
        assert len(world.backend.look(select(user_aliases))) == 10
        assert len(world.backend.look(select(merges))) == 10

    async def test_opposite_merges_at_once_make_one_user(self, world: World) -> None:
        """Operators that merge the same two in both directions: one of the two merges happens."""
        replica = await world.replica()
        for number in range(5):
            one, two = await world.login(f"a{number}"), await world.login(f"b{number}")
            ids = (one.user.user_id, two.user.user_id)
            outcomes = await asyncio.gather(
                world.store.merge_users(ids[0], ids[1], by="op", reason=""),
                replica.merge_users(ids[1], ids[0], by="op", reason=""),
            )
            done = [written.value for written in outcomes]
            assert all(isinstance(outcome, Merged) for outcome in done)
            assert sum(isinstance(outcome, Merged) and bool(outcome.merge_id) for outcome in done) == 1

    async def test_logins_beside_a_merge_are_the_survivors_or_dead(self, world: World) -> None:
        """No session of the moved user outlives the merge, whoever came first."""
        app = replace(SIBLING, max_sessions=99)
        one, two = await world.login("a"), await world.login("b", app=app)
        replica = await world.replica()
        merging = asyncio.create_task(
            replica.merge_users(one.user.user_id, two.user.user_id, by="op", reason="")
        )
        logins = await asyncio.gather(
            *(world.login("b", app=app, store=store) for store in [world.store, replica] * 10)
        )
        [fact] = (await merging).facts
        for login in logins:
            if login.session.user_id == two.user.user_id:
                assert login.session.position < fact.position
                assert await world.reason(login) is EndReason.MERGED
            else:
                assert login.session.user_id == one.user.user_id
                assert await world.reason(login) is None

    async def test_newcomers_beside_a_merge_join_who_stands(self, world: World) -> None:
        """An identity seen for the first time while the owner of its unionid is merged away is the survivor's."""
        replica = await world.replica()
        for number in range(10):
            one = await world.login(f"a{number}")
            two = await world.login(f"b{number}", app=SIBLING, unionid=f"u{number}")
            merging = asyncio.create_task(
                replica.merge_users(one.user.user_id, two.user.user_id, by="op", reason="")
            )
            await asyncio.gather(
                *(
                    world.login(f"c{number}-{each}", app=SIBLING, unionid=f"u{number}", store=store)
                    for each, store in enumerate((world.store, replica) * 3)
                )
            )
            await merging
            owners = {row.user_id for row in world.backend.look(select(identities))}
            assert owners <= {row.user_id for row in world.backend.look(STANDING)}

    async def test_late_unionids_beside_other_merges_move_only_who_stands(self, world: World) -> None:
        """Two users meet by a late unionid while an operator merges each of them with a third one."""
        replica = await world.replica()
        for number in range(10):
            one = await world.login(f"a{number}")
            two = await world.login(f"b{number}", app=SIBLING, unionid=f"u{number}")
            third = await world.login(f"c{number}", app=UNBOUND)
            await asyncio.gather(
                world.login(f"a{number}", unionid=f"u{number}"),
                replica.merge_users(third.user.user_id, one.user.user_id, by="op", reason=""),
                replica.merge_users(third.user.user_id, two.user.user_id, by="op", reason=""),
            )
            assert {(await user_of(world, login)).user_id for login in (one, two)} == {third.user.user_id}
        owners = {row.user_id for row in world.backend.look(select(identities))}
        assert len(owners) == 10
        assert owners <= {row.user_id for row in world.backend.look(STANDING)}
        aliases = world.backend.look(select(user_aliases))
        assert {row.user_id for row in aliases} == owners
        assert len(aliases) == 20

    async def test_revocations_beside_a_merge_reach_the_person(self, world: World) -> None:
        """Whichever comes first, a revocation by either id leaves no session that was there before."""
        replica = await world.replica()
        for number in range(5):
            one, two = await world.login(f"a{number}"), await world.login(f"b{number}")
            await asyncio.gather(
                world.store.merge_users(one.user.user_id, two.user.user_id, by="op", reason=""),
                replica.end_user_sessions(two.user.user_id, reason=EndReason.ADMIN, by="op"),
            )
            assert await world.reason(two) in {EndReason.ADMIN, EndReason.MERGED}

    async def test_merges_and_splits_at_once_leave_one_of_the_two(self, world: World) -> None:
        """After merges and splits of one pair in parallel they are one or two, with everything in its place."""
        replica = await world.replica()
        one, two = await world.login("a"), await world.login("b", app=SIBLING)
        apart = holdings(world)
        await merge(world, one, two)
        together = holdings(world)
        for _ in range(5):
            await asyncio.gather(
                world.store.merge_users(one.user.user_id, two.user.user_id, by="op", reason=""),
                replica.split_user(two.user.user_id, by="op", reason=""),
                world.store.split_user(two.user.user_id, by="op", reason=""),
            )
            assert holdings(world) in (apart, together)
