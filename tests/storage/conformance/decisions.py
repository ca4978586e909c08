"""What operators and back ends set on a user, and the trail of it."""

import json

from authsvc.domain.users import Block
from authsvc.ports import ExternalIdHeld
from authsvc.storage.schema import audit
from tests.storage.conformance.world import AUDITED, DAY, MINUTE, World


class TestDecisions:
    async def test_roles_reach_the_next_refresh(self, world: World) -> None:
        """All of them are set, each once and in order; the session that is there goes on."""
        login = await world.login()
        user = await world.store.set_roles(login.user.user_id, ["vip", "staff", "vip"], by="op")
        assert user is not None
        assert user.roles == ("vip", "staff")
        assert (await world.rotate(login.token)).user == user == await world.store.get_user(user.user_id)
        cleared = await world.store.set_roles(login.user.user_id, [], by="op")
        assert cleared is not None
        assert cleared.roles == ()

    async def test_an_external_id_is_one_persons(self, world: World) -> None:
        """It is set, moved by clearing it first, and otherwise refused with the user who has it."""
        one, two = await world.login("a"), await world.login("b")
        ids = (one.user.user_id, two.user.user_id)
        user = await world.store.set_external_id(ids[0], "crm-1", by="op")
        assert user == await world.store.get_user(ids[0])
        assert await world.store.set_external_id(ids[1], "crm-1", by="op") == ExternalIdHeld(ids[0])
        assert (await world.rotate(one.token)).user.external_id == "crm-1"
        await world.store.set_external_id(ids[0], "", by="op")
        found = await world.store.set_external_id(ids[1], "crm-1", by="op")
        assert found == await world.store.get_user(ids[1])
        cleared = await world.store.get_user(ids[0])
        assert cleared is not None
        assert cleared.external_id is None

    async def test_nobody_is_none(self, world: World) -> None:
        """Unknown users are told, and leave no trail."""
        assert await world.store.set_roles("nobody", ["vip"], by="op") is None
        assert await world.store.set_external_id("nobody", "crm", by="op") is None
        assert not await world.store.unblock_user("nobody", by="op")
        assert world.backend.look(AUDITED) == []

    async def test_every_change_is_audited_once(self, world: World) -> None:
        """With its author, its time and the user; what changes nothing leaves no row."""
        login = await world.login()
        user_id = login.user.user_id
        block = Block(reason="fraud", by="blocker", at=world.now, until=world.now + DAY)
        for _ in range(2):
            await world.store.set_roles(user_id, ["vip"], by="op-1")
        world.clock.advance(MINUTE)
        for _ in range(2):
            await world.store.set_external_id(user_id, "crm-canary", by="op-2")
        world.clock.advance(MINUTE)
        await world.store.block_user(user_id, block=block)
        world.clock.advance(MINUTE)
        for _ in range(2):
            assert await world.store.unblock_user(user_id, by="op-3")
        rows = world.backend.look(AUDITED.order_by(audit.c.at))
        assert [(row.event, row.by, row.user_id) for row in rows] == [
            ("user.roles_set", "op-1", user_id),
            ("user.external_id_set", "op-2", user_id),
            ("user.blocked", "blocker", user_id),
            ("user.unblocked", "op-3", user_id),
        ]
        assert rows[-1].at == world.now
        details = [json.loads(row.details) for row in rows]
        assert details[0] == {"before": [], "after": ["vip"]}
        assert details[1] == {"had_one": False, "has_one": True}
        assert details[2] == {"until": (block.at + DAY).isoformat()}
        assert rows[2].reason == "fraud"

    async def test_a_change_that_fails_leaves_no_trail(self, world: World) -> None:
        """The row is written with what it tells of, or not at all."""
        one, two = await world.login("a"), await world.login("b")
        await world.store.set_external_id(one.user.user_id, "crm-1", by="op")
        await world.store.set_external_id(two.user.user_id, "crm-1", by="op")
        [row] = world.backend.look(AUDITED)
        assert row.user_id == one.user.user_id
