"""Undoing a merge: what goes back, what stands, what is refused, and that nobody merges the two again."""

from sqlalchemy import select

from authsvc.domain.people import LinkVerdict
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import MergeProblem, Split
from authsvc.storage.schema import audit, merges, unionids
from tests.storage.conformance.people import holdings, merge, refused, split, user_of
from tests.storage.conformance.world import APP, AUDITED, DAY, MINUTE, SIBLING, STRANGER, UNBOUND, World


class TestSplits:
    async def test_undoing_restores_exactly(self, world: World) -> None:
        """Identities, unionids, roles, external ids, blocks and aliases are what they were."""
        one = await world.login("a", unionid="u")
        two = await world.login("b", app=STRANGER, unionid="v")
        await world.login("c", app=STRANGER, unionid="v")
        await world.store.set_roles(two.user.user_id, ["vip"], by="op")
        await world.store.set_external_id(two.user.user_id, "crm-2", by="op")
        await world.store.block_user(
            two.user.user_id, block=Block(reason="spam", by="op", at=world.now, until=world.now + DAY)
        )
        before = holdings(world)
        await merge(world, one, two)
        assert holdings(world) != before
        assert (await split(world, two)).user == await user_of(world, two)
        assert holdings(world) == before
        assert [row.state for row in world.backend.look(select(merges))] == ["undone"]

    async def test_merges_into_one_user_are_undone_in_any_order(self, world: World) -> None:
        """Each undo takes away what that merge brought, and no more."""
        logins = [await world.login(name) for name in "abcd"]
        for number, login in enumerate(logins):
            await world.store.set_roles(login.user.user_id, [f"role-{number}", "all"], by="op")
            await world.store.set_external_id(login.user.user_id, f"crm-{number}", by="op")
        survivor = logins[0]
        await world.store.set_external_id(survivor.user.user_id, None, by="op")
        before = holdings(world)
        for login in logins[1:]:
            await merge(world, survivor, login)
        await split(world, logins[1])
        user = await user_of(world, survivor)
        assert user.previous_ids == tuple(login.user.user_id for login in logins[2:])
        assert (user.roles, user.external_id) == (("role-0", "all", "role-2", "role-3"), "crm-2")
        await split(world, logins[3])
        await split(world, logins[2])
        assert holdings(world) == before

    async def test_the_survivor_of_a_merge_that_was_merged_itself(self, world: World) -> None:
        """The later merge has to be undone first; then the earlier one can be."""
        one, two, three = [await world.login(name) for name in "abc"]
        before = holdings(world)
        await merge(world, two, three)
        between = holdings(world)
        await merge(world, one, two)
        assert await refused(world, three) is MergeProblem.MERGED_ONWARD
        assert await refused(world, three, one) is MergeProblem.MERGED_ONWARD
        await split(world, two)
        assert holdings(world) == between
        await split(world, three)
        assert holdings(world) == before

    async def test_no_login_merges_them_again(self, world: World) -> None:
        """The mark holds whatever unionid is told, until an operator merges them again."""
        older = await world.login("a")
        world.clock.advance(MINUTE)
        younger = await world.login("b", app=SIBLING, unionid="u")
        await world.login("a", unionid="u")
        await split(world, younger)
        told = await world.login("a", unionid="u")
        assert told.user.user_id == older.user.user_id
        assert told.written.value.linking.verdict is LinkVerdict.APART
        await merge(world, older, younger)
        assert (await world.login("a", unionid="u")).written.value.linking.verdict is LinkVerdict.NOTHING

    async def test_the_mark_holds_between_persons_not_only_ids(self, world: World) -> None:
        """Merging one of the two with a third user does not bring the other one in."""
        older = await world.login("a")
        younger = await world.login("b", app=SIBLING, unionid="u")
        await merge(world, older, younger)
        await split(world, younger)
        third = await world.login("c", app=UNBOUND)
        await merge(world, third, older)
        told = await world.login("a", unionid="u")
        assert told.user.user_id == third.user.user_id
        assert told.written.value.linking.verdict is LinkVerdict.APART

    async def test_sessions_of_what_goes_back_end(self, world: World) -> None:
        """Whoever logged in by an identity of the moved user does so again; the survivor's own sessions go on."""
        one, two = await world.login("a"), await world.login("b", app=SIBLING)
        await merge(world, one, two)
        theirs = await world.login("b", app=SIBLING)
        assert theirs.user.user_id == one.user.user_id
        written = await world.store.split_user(two.user.user_id, by="op", reason="")
        assert isinstance(written.value, Split)
        assert written.value.ended_sessions == 1
        assert [(fact.kind, fact.target) for fact in written.facts] == [(FactKind.SESSION, theirs.id)]
        assert await world.reason(theirs) is EndReason.MERGED
        assert await world.reason(one) is None
        await world.rotate(one.token)
        assert (await world.login("b", app=SIBLING)).user.user_id == two.user.user_id

    async def test_what_was_learned_since_goes_where_it_belongs(self, world: World) -> None:
        """A unionid told by an identity that goes back goes with it, and so do the identities that it brought."""
        one, two = await world.login("a"), await world.login("b", app=SIBLING)
        await merge(world, one, two)
        await world.login("b", app=SIBLING, unionid="v")
        brought = await world.login("c", unionid="v")
        mine = await world.login("d", app=STRANGER, unionid="w")
        await world.store.merge_users(one.user.user_id, mine.user.user_id, by="op", reason="")
        kept = await world.login("e", app=STRANGER, unionid="w")
        assert brought.user.user_id == kept.user.user_id == one.user.user_id
        await split(world, two)
        for openid, app, owner in (
            ("a", APP, one),
            ("b", SIBLING, two),
            ("c", APP, two),
            ("d", STRANGER, one),
            ("e", STRANGER, one),
        ):
            assert (await world.login(openid, app=app)).user.user_id == owner.user.user_id
        owners = {row.unionid: row.user_id for row in world.backend.look(select(unionids))}
        assert owners == {"v": two.user.user_id, "w": one.user.user_id}

    async def test_an_operators_decision_since_stands(self, world: World) -> None:
        """Roles set on the person stay with the survivor; a block was a decision about both."""
        one, two = await world.login("a"), await world.login("b")
        await world.store.set_roles(two.user.user_id, ["vip", "beta"], by="op")
        await merge(world, one, two)
        await world.store.set_roles(one.user.user_id, ["vip", "staff"], by="op")
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(two.user.user_id, block=block)
        await split(world, two)
        assert (await user_of(world, one)).roles == ("vip", "staff")
        assert (await user_of(world, two)).roles == ("vip",)
        assert [(await user_of(world, login)).block for login in (one, two)] == [block, block]

    async def test_an_external_id_given_away_meanwhile_stays_theirs(self, world: World) -> None:
        """What the person gave up may be somebody else's by the time of the undo."""
        one, two, third = [await world.login(name) for name in "abc"]
        await world.store.set_external_id(two.user.user_id, "crm-2", by="op")
        await merge(world, one, two)
        await world.store.set_external_id(one.user.user_id, "crm-1", by="op")
        await world.store.set_external_id(third.user.user_id, "crm-2", by="op")
        await split(world, two)
        found = [(await user_of(world, login)).external_id for login in (one, two, third)]
        assert found == ["crm-1", None, "crm-2"]

    async def test_what_cannot_be_undone_is_refused(self, world: World) -> None:
        """Neither merged nor pending; or another survivor than the one that is named. Nothing changes."""
        one, two, three = [await world.login(name) for name in "abc"]
        assert await refused(world, one) is MergeProblem.NOT_MERGED
        assert await refused(world, one, two) is MergeProblem.NOT_MERGED
        await merge(world, one, two)
        before = holdings(world)
        assert await refused(world, one) is MergeProblem.NOT_MERGED
        assert await refused(world, two, three) is MergeProblem.OTHER_SURVIVOR
        assert holdings(world) == before
        assert (await split(world, two)).survivor.user_id == one.user.user_id

    async def test_splitting_twice_is_splitting_once(self, world: World) -> None:
        """The second call finds them apart, whether it names the survivor or not."""
        one, two = await world.login("a"), await world.login("b")
        await merge(world, one, two)
        await split(world, two)
        before, trail = holdings(world), world.backend.look(AUDITED)
        assert (await split(world, two)).ended_sessions == 0
        written = await world.store.split_user(
            two.user.user_id, survivor_id=one.user.user_id, by="op", reason=""
        )
        assert isinstance(written.value, Split)
        assert holdings(world) == before
        assert world.backend.look(AUDITED) == trail

    async def test_everything_is_audited(self, world: World) -> None:
        """Who merged and who split, under the ids that then stand, with their reasons."""
        one, two = await world.login("a"), await world.login("b")
        await merge(world, one, two)
        world.clock.advance(MINUTE)
        await split(world, two)
        rows = world.backend.look(AUDITED.order_by(audit.c.at))
        assert [(row.event, row.by, row.user_id) for row in rows] == [
            ("user.merged", "op", one.user.user_id),
            ("user.split", "op", two.user.user_id),
        ]
        assert ["asked" in rows[0].reason, "wrong" in rows[1].reason] == [True, True]
