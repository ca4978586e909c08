"""Merging by an operator: who survives, what the survivor is, and what changes nothing."""

from sqlalchemy import select

from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import Merged, MergeProblem, MergeRefused, UserIsBlocked
from authsvc.storage.schema import unionids
from tests.storage.conformance.people import holdings, merge, split, user_of
from tests.storage.conformance.world import AUDITED, MINUTE, STRANGER, World


class TestMerges:
    async def test_an_operator_decides_who_survives(self, world: World) -> None:
        """Also the younger, over groups, and with everything of the other one."""
        older = await world.login("a", unionid="u")
        world.clock.advance(MINUTE)
        younger = await world.login("b", app=STRANGER, unionid="v")
        written = await world.store.merge_users(
            younger.user.user_id, older.user.user_id, by="op", reason="asked"
        )
        assert isinstance(written.value, Merged)
        assert written.value.user == await user_of(world, older)
        assert written.value.user.user_id == younger.user.user_id
        assert (written.value.moved_id, written.value.ended_sessions) == (older.user.user_id, 1)
        [fact] = written.facts
        assert (fact.kind, fact.target, fact.reason) == (FactKind.USER, older.user.user_id, EndReason.MERGED)
        assert await world.reason(older) is EndReason.MERGED
        assert await world.reason(younger) is None
        assert {row.user_id for row in world.backend.look(select(unionids))} == {younger.user.user_id}

    async def test_merging_what_is_one_changes_nothing(self, world: World) -> None:
        """By any of the person's ids, and in the other direction."""
        one, other = await world.login("a"), await world.login("b")
        await merge(world, one, other)
        before = holdings(world)
        for survivor, moved in ((one, other), (other, one)):
            again = await merge(world, survivor, moved)
            assert (again.user.user_id, again.merge_id, again.ended_sessions) == (one.user.user_id, "", 0)
        assert holdings(world) == before
        assert len(world.backend.look(AUDITED)) == 1

    async def test_nobody_is_merged_with_nobody_or_themselves(self, world: World) -> None:
        """Unknown ids are None; one id twice is refused."""
        mine = (await world.login("a")).user.user_id
        assert (await world.store.merge_users(mine, "nobody", by="op", reason="")).value is None
        assert (await world.store.merge_users("nobody", mine, by="op", reason="")).value is None
        written = await world.store.merge_users(mine, mine, by="op", reason="")
        assert written.value == MergeRefused(MergeProblem.SAME_USER)
        assert (await world.store.split_user("nobody", by="op", reason="")).value is None
        assert world.backend.look(AUDITED) == []

    async def test_the_survivor_is_what_the_rule_says(self, world: World) -> None:
        """Roles of both, the survivor's external id, or the other's where it has none."""
        one, other, third = [await world.login(name) for name in "abc"]
        await world.store.set_roles(one.user.user_id, ["staff", "vip"], by="op")
        await world.store.set_roles(other.user.user_id, ["vip", "beta"], by="op")
        await world.store.set_external_id(other.user.user_id, "crm-2", by="op")
        await world.store.set_external_id(third.user.user_id, "crm-3", by="op")
        assert (await merge(world, one, other)).user.roles == ("staff", "vip", "beta")
        assert (await merge(world, one, third)).user.external_id == "crm-2"
        assert await user_of(world, third) == await user_of(world, one)

    async def test_an_external_id_of_a_merged_user_stays_with_the_person(self, world: World) -> None:
        """Nobody else may have it; the person may take it."""
        one, other, bystander = [await world.login(name) for name in "abc"]
        await world.store.set_external_id(one.user.user_id, "crm-1", by="op")
        await world.store.set_external_id(other.user.user_id, "crm-2", by="op")
        await merge(world, one, other)
        held = await world.store.set_external_id(bystander.user.user_id, "crm-2", by="op")
        assert held is not None
        assert held.user_id == one.user.user_id
        assert (await user_of(world, bystander)).external_id is None
        await world.store.set_external_id(other.user.user_id, "crm-2", by="op")
        assert (await user_of(world, one)).external_id == "crm-2"
        await split(world, other)
        assert (await user_of(world, one)).external_id == "crm-2"
        assert (await user_of(world, other)).external_id is None

    async def test_a_blocked_user_blocks_the_person(self, world: World) -> None:
        """The survivor's sessions end as blocked, with a fact of their own, in the same step."""
        one, other = await world.login("a"), await world.login("b")
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(other.user.user_id, block=block)
        written = await world.store.merge_users(one.user.user_id, other.user.user_id, by="op", reason="")
        assert isinstance(written.value, Merged)
        assert written.value.user.block == block
        assert written.value.user == await user_of(world, one)
        assert await world.reason(one) is EndReason.BLOCKED
        assert isinstance((await world.attempt("a")).value, UserIsBlocked)
