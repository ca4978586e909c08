"""Who a login is: identities, unionids, session keys."""

from datetime import timedelta

from sqlalchemy import select

from authsvc.ports import Opened
from authsvc.storage.schema import identities, unionids
from tests.storage.conformance.world import APP, MINUTE, SIBLING, STRANGER, UNBOUND, World


def keys(world: World) -> tuple[bytes, bytes | None]:
    """The newest and the previous sealed session key of the only identity."""
    query = select(identities.c.session_key, identities.c.previous_session_key)
    [row] = world.backend.look(query)
    return row.session_key, row.previous_session_key


class TestIdentities:
    async def test_first_login_makes_the_user_under_the_given_id(self, world: World) -> None:
        """A new identity gets the fresh user id and says so."""
        opening, _ = world.opening()
        written = await world.store.open_session(opening)
        assert isinstance(written.value, Opened)
        assert written.value.user.user_id == opening.fresh_user_id
        assert written.value.is_new_user
        assert await world.store.get_user(opening.fresh_user_id) == written.value.user

    async def test_known_identity_keeps_its_user(self, world: World) -> None:
        """The same openid in the same app is the same user, not new."""
        first, second = await world.login(), await world.login()
        assert second.user == first.user
        assert not second.written.value.is_new_user

    async def test_other_openid_is_another_user(self, world: World) -> None:
        """Two openids without unionid are two users."""
        assert (await world.login("a")).user.user_id != (await world.login("b")).user.user_id

    async def test_same_openid_in_another_app_is_another_user(self, world: World) -> None:
        """An openid means something within its app only."""
        here, there = await world.login("a"), await world.login("a", app=SIBLING)
        assert here.user.user_id != there.user.user_id

    async def test_known_unionid_links_at_first_sight(self, world: World) -> None:
        """An unknown identity with a unionid known in the app's group joins that user."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=SIBLING, unionid="u")
        assert there.user.user_id == here.user.user_id
        assert not there.written.value.is_new_user

    async def test_unionid_of_another_group_links_nobody(self, world: World) -> None:
        """Unionids of different open-platform accounts have nothing to do with each other."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=STRANGER, unionid="u")
        assert there.user.user_id != here.user.user_id

    async def test_app_without_a_group_links_and_records_nothing(self, world: World) -> None:
        """Without a group a unionid is no key at all."""
        first = await world.login("a", app=UNBOUND, unionid="u")
        second = await world.login("b", app=UNBOUND, unionid="u")
        assert first.user.user_id != second.user.user_id
        assert world.backend.look(select(unionids)) == []

    async def test_late_unionid_is_recorded_for_its_user(self, world: World) -> None:
        """A unionid that appears later and that nobody has is recorded, and links from then on."""
        early = await world.login("a")
        await world.login("a", unionid="u")
        assert (await world.login("b", app=SIBLING, unionid="u")).user.user_id == early.user.user_id

    async def test_different_unionid_moves_nothing(self, world: World) -> None:
        """A second unionid on a known identity is not recorded, so nobody is linked by it."""
        first = await world.login("a", unionid="u")
        second = await world.login("a", unionid="v")
        assert second.user.user_id == first.user.user_id
        assert [row.unionid for row in world.backend.look(select(unionids))] == ["u"]
        assert (await world.login("b", app=SIBLING, unionid="v")).user.user_id != first.user.user_id

    async def test_unionid_is_reported_when_wechat_leaves_it_out(self, world: World) -> None:
        """What was learned of the user in the app's group is still told; nothing is told where nothing is known."""
        await world.login("a", unionid="u")
        assert (await world.login("a")).written.value.unionid == "u"
        assert (await world.login("b")).written.value.unionid is None

    async def test_two_newest_session_keys_are_kept(self, world: World) -> None:
        """A newer exchange pushes the key before it into second place."""
        for sealed in (b"k1", b"k2", b"k3"):
            await world.login(sealed=sealed)
            world.clock.advance(MINUTE)
        assert keys(world) == (b"k3", b"k2")

    async def test_older_exchange_never_overwrites_a_newer_key(self, world: World) -> None:
        """Keys are ordered by their exchange, not by when their login was stored."""
        start = world.now
        for sealed, minutes in ((b"k5", 5), (b"k3", 3), (b"k4", 4), (b"k1", 1)):
            await world.login(sealed=sealed, exchanged_at=start + timedelta(minutes=minutes))
        assert keys(world) == (b"k5", b"k4")

    async def test_exchanges_of_one_instant(self, world: World) -> None:
        """Of two keys exchanged at the same instant the one stored later counts as newer; none is lost."""
        await world.login(sealed=b"k1")
        await world.login(sealed=b"k2")
        assert keys(world) == (b"k2", b"k1")

    async def test_unionid_survives_a_restart(self, world: World) -> None:
        """Another store on the same database links alike."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=SIBLING, unionid="u", store=await world.replica())
        assert there.user.user_id == here.user.user_id
        assert here.session.app_id == APP.app_id
