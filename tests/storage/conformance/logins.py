"""What a login leaves behind: the new session, and the ones it replaces."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import ClientInfo, Ended, EndReason
from authsvc.domain.users import Block
from authsvc.ports import UserIsBlocked
from authsvc.storage.schema import identities, sessions
from tests.storage.conformance.world import APP, DAY, HOUR, MINUTE, SECOND, SIBLING, World


class TestLogins:
    async def test_session_is_stored_as_returned(self, world: World) -> None:
        """What the login returned is what a reader sees."""
        client = ClientInfo(ip="192.0.2.1", user_agent="微信", device_id="d", device_name="n")
        login = await world.login(client=client)
        assert await world.store.get_session(login.id) == login.session
        assert login.session.client == client

    async def test_expiries_follow_the_app(self, world: World) -> None:
        """Access, idle and absolute ends are the app's lifetimes from now."""
        session = (await world.login()).session
        assert session.access_expires_at == world.now + APP.access_lifetime
        assert session.refresh_expires_at == world.now + APP.idle_lifetime
        assert session.absolute_end == world.now + APP.absolute_lifetime

    async def test_jitter_shortens_the_access_token(self, world: World) -> None:
        """Full jitter takes 5 % off."""
        session = (await world.login(jitter=1.0)).session
        assert session.access_expires_at == world.now + timedelta(minutes=114)

    async def test_access_token_never_outlives_the_session(self, world: World) -> None:
        """A short absolute lifetime bounds everything."""
        session = (await world.login(app=replace(APP, absolute_lifetime=MINUTE))).session
        assert session.access_expires_at == session.refresh_expires_at == world.now + MINUTE

    async def test_instants_are_exact_to_the_microsecond(self, world: World) -> None:
        """Storing an instant loses nothing."""
        world.clock.advance(timedelta(microseconds=123_457))
        login = await world.login()
        assert (await world.session(login)).created_at == world.now

    async def test_position_is_the_heads(self, world: World) -> None:
        """A session carries the log position at its creation, so an earlier fact does not kill it."""
        first = await world.login()
        fact = (await world.logout(first)).facts[0]
        second = await world.login()
        assert first.session.position < fact.position <= second.session.position

    async def test_login_moves_no_head(self, world: World) -> None:
        """A login that ends nothing writes no fact and leaves the log where it was."""
        before = await world.store.read_head()
        login = await world.login()
        assert login.written.facts == ()
        assert await world.store.read_head() == before

    async def test_blocked_user_gets_no_session_but_the_key_is_kept(self, world: World) -> None:
        """A blocked user's login is refused; its session key is newer all the same."""
        login = await world.login(sealed=b"old")
        block = Block(reason="fraud", by="operator", at=world.now)
        await world.store.block_user(login.user.user_id, block=block)
        world.clock.advance(SECOND)
        attempt = await world.attempt(sealed=b"new")
        assert attempt.value == UserIsBlocked(recorded=True)
        assert [row.session_id for row in world.backend.look(select(sessions.c.session_id))] == [login.id]
        assert [row.session_key for row in world.backend.look(select(identities.c.session_key))] == [b"new"]

    async def test_linked_identity_of_a_blocked_user_is_refused(self, world: World) -> None:
        """The block holds in every app that leads to the same user."""
        login = await world.login(unionid="u")
        await world.store.block_user(login.user.user_id, block=Block(reason="", by="op", at=world.now))
        attempt = await world.attempt("b", app=SIBLING, unionid="u")
        assert isinstance(attempt.value, UserIsBlocked)

    async def test_lapsed_block_is_none(self, world: World) -> None:
        """A block with an end lets the user in when it is over, not before."""
        login = await world.login()
        block = Block(reason="", by="op", at=world.now, until=world.now + HOUR)
        await world.store.block_user(login.user.user_id, block=block)
        world.clock.advance(HOUR - SECOND)
        assert (await world.attempt()).value == UserIsBlocked(recorded=True)
        world.clock.advance(SECOND)
        await world.login()

    async def test_same_device_supersedes_after_a_minute(self, world: World) -> None:
        """A login ends its device's session that is older than 60 s, with a fact."""
        old = await world.login(device="d")
        world.clock.advance(MINUTE + SECOND)
        new = await world.login(device="d")
        ended = (await world.session(old)).ended
        assert ended == Ended(reason=EndReason.SUPERSEDED, at=world.now, by="login")
        [fact] = new.written.facts
        assert (fact.kind, fact.target, fact.reason) == (FactKind.SESSION, old.id, EndReason.SUPERSEDED)
        assert fact.useful_until == old.session.access_expires_at + FACT_MARGIN

    async def test_sibling_of_the_same_start_is_left_alone(self, world: World) -> None:
        """A session of the device that is 60 s old or younger stays."""
        old = await world.login(device="d")
        world.clock.advance(MINUTE)
        await world.login(device="d")
        assert await world.reason(old) is None

    async def test_only_the_same_device_and_app_is_superseded(self, world: World) -> None:
        """Another device, no device, another app: nothing is superseded."""
        others = [
            await world.login("a", device="other", unionid="u"),
            await world.login("a"),
            await world.login("b", device="d", app=SIBLING, unionid="u"),
        ]
        world.clock.advance(HOUR)
        await world.login("a", device="d")
        assert [await world.reason(other) for other in others] == [None, None, None]

    async def test_no_device_supersedes_nothing(self, world: World) -> None:
        """Two logins without a device id live side by side."""
        old = await world.login()
        world.clock.advance(HOUR)
        await world.login()
        assert await world.reason(old) is None

    async def test_oldest_is_replaced_beyond_the_cap(self, world: World) -> None:
        """The login beyond max_sessions ends the least recently created one, refreshed or not, with a fact."""
        logins = []
        for _ in range(3):
            logins.append(await world.login())
            world.clock.advance(MINUTE)
        await world.rotate(logins[0].token)
        fourth = await world.login()
        assert [await world.reason(login) for login in logins] == [EndReason.REPLACED, None, None]
        assert [fact.target for fact in fourth.written.facts] == [logins[0].id]

    async def test_lowered_cap_replaces_several(self, world: World) -> None:
        """As many end as the cap of this login demands, itself counted."""
        logins = []
        for _ in range(3):
            logins.append(await world.login())
            world.clock.advance(MINUTE)
        await world.login(app=replace(APP, max_sessions=1))
        assert {await world.reason(login) for login in logins} == {EndReason.REPLACED}

    async def test_dead_sessions_do_not_count(self, world: World) -> None:
        """Ended, expired and killed-by-position sessions leave room under the cap."""
        app = replace(APP, max_sessions=1)
        for kill in ("logout", "expire", "app"):
            old = await world.login(app=app)
            if kill == "logout":
                await world.logout(old)
            elif kill == "expire":
                world.clock.advance(8 * DAY)
            else:
                await world.kill_app()
            assert (await world.login(app=app)).written.facts == ()
            await world.kill_app()

    async def test_superseded_session_leaves_room(self, world: World) -> None:
        """Superseding comes first, so nobody is replaced for a place that became free."""
        old = await world.login(device="d")
        others = [await world.login(), await world.login()]
        world.clock.advance(HOUR)
        await world.login(device="d")
        assert await world.reason(old) is EndReason.SUPERSEDED
        assert [await world.reason(other) for other in others] == [None, None]

    async def test_replaced_without_acceptable_token_needs_no_fact(self, world: World) -> None:
        """Where no access token can be accepted any more, the log is left alone."""
        app = replace(APP, max_sessions=1)
        old = await world.login(app=app)
        world.clock.advance(DAY)
        new = await world.login(app=app)
        assert await world.reason(old) is EndReason.REPLACED
        assert new.written.facts == ()

    async def test_cap_is_per_user_and_app(self, world: World) -> None:
        """Other users and other apps have places of their own."""
        app = replace(APP, max_sessions=1)
        mine = await world.login("a", app=app, unionid="u")
        await world.login("b", app=app)
        await world.login("c", app=replace(SIBLING, max_sessions=1), unionid="u")
        assert await world.reason(mine) is None
