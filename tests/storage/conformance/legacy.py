"""Whom a legacy token names, what stands against it, and the session it becomes."""

from datetime import timedelta

from authsvc.domain.legacy_token import (
    LegacyClaimIds,
    LegacyClaims,
    LegacyHolder,
    LegacyQuery,
    LegacySubject,
    user_revoked_id,
)
from authsvc.domain.users import Block
from authsvc.ports import Opened, UserIsBlocked
from tests.storage.conformance.personal_data import bring_in, record
from tests.storage.conformance.world import APP, DAY, MINUTE, SIBLING, World

IDS = LegacyClaimIds(exchanged=b"e" * 32, revoked=b"r" * 32)


def asked(world: World, subject: LegacySubject, value: str, *, app_id: str = APP.app_id) -> LegacyQuery:
    now = int(world.now.timestamp())
    return LegacyQuery(app_id, subject, LegacyClaims(value, now + 3600, now), IDS)


async def held(world: World, value: str = "a", **more: str) -> LegacyHolder | None:
    return await world.store.find_legacy_holder(asked(world, LegacySubject.OPENID, value, **more))


class TestLegacy:
    async def test_each_kind_of_id_names_the_same_user(self, world: World) -> None:
        """Openid, external id and our own, in the app they are asked for; nobody else's."""
        await bring_in(world, record("a", external_id="42"))
        found = await held(world)
        assert found is not None
        assert (found.openid, found.user_revoked_at, found.app_revoked_at) == ("a", None, None)
        for subject, value in (
            (LegacySubject.EXTERNAL_ID, "42"),
            (LegacySubject.USER_ID, found.user.user_id),
        ):
            assert await world.store.find_legacy_holder(asked(world, subject, value)) == found
        assert await held(world, "b") is None
        assert await held(world, app_id=SIBLING.app_id) is None

    async def test_a_revocation_is_kept_with_a_user_without_sessions(self, world: World) -> None:
        """Though no fact is written for it: when it was, and of the app likewise."""
        await bring_in(world, record("a"))
        found = await held(world)
        assert found is not None
        world.clock.advance(MINUTE)
        await world.kill_user(found.user)
        assert await world.log() == []
        world.clock.advance(MINUTE)
        await world.kill_app()
        again = await held(world)
        assert again is not None
        assert (again.user_revoked_at, again.app_revoked_at) == (world.now - MINUTE, world.now)

    async def test_claims_stand_against_the_token_and_against_the_user_in_the_app(self, world: World) -> None:
        """As long as they last."""
        await bring_in(world, record("a"))
        found = await held(world)
        assert found is not None
        for name in (IDS.revoked, user_revoked_id(found.user.user_id)):
            assert await world.store.claim_code(app_id=APP.app_id, code_hash=name, ttl=DAY)
        again = await held(world)
        assert again is not None
        assert (again.token_revoked, again.app_user_revoked) == (True, True)
        world.clock.advance(DAY)
        assert await held(world) == found

    async def test_a_session_begins_for_who_is_known(self, world: World) -> None:
        """Of the identity that was named; nobody is made, and the identity's session key is left alone."""
        await bring_in(world, record("a"))
        query = asked(world, LegacySubject.OPENID, "a")
        opening, token = world.opening("a")
        written = await world.store.open_vouched_session(opening, query)
        assert isinstance(written.value, Opened)
        assert (written.value.session.session_id, written.value.is_new_user) == (opening.session_id, False)
        assert (await world.rotate(token)).session.session_id == opening.session_id
        [identity] = await world.store.find_identities(written.value.user.user_id, app_id=APP.app_id)
        assert [key.blob for key in identity.session_keys] == [b""]
        stranger, _ = world.opening("b")
        unknown = await world.store.open_vouched_session(stranger, asked(world, LegacySubject.OPENID, "b"))
        assert unknown.value is None

    async def test_what_stands_against_it_by_then_wins(self, world: World) -> None:
        """Revoked or blocked between the question and the session: none begins."""
        await bring_in(world, record("a"), record("b"))
        query = asked(world, LegacySubject.OPENID, "a")
        found = await held(world)
        assert found is not None
        await world.kill_user(found.user)
        assert (await world.store.open_vouched_session(world.opening("a")[0], query)).value is None
        other = await held(world, "b")
        assert other is not None
        block = Block(reason="", by="operator", at=world.now)
        await world.store.block_user(other.user.user_id, block=block)
        world.clock.advance(timedelta(minutes=5))
        blocked = await world.store.open_vouched_session(
            world.opening("b")[0], asked(world, LegacySubject.OPENID, "b")
        )
        assert isinstance(blocked.value, UserIsBlocked)
