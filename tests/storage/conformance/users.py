"""Ending all sessions of a user; blocking."""

from dataclasses import replace

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import Ended, EndReason
from authsvc.domain.users import Block
from tests.storage.conformance.world import APP, DAY, HOUR, MINUTE, SIBLING, World


class TestUserEndings:
    async def test_every_session_in_every_app_ends_by_one_fact(self, world: World) -> None:
        """Rows end, one user fact is written, and the user keeps its position."""
        here = await world.login("a", unionid="u")
        world.clock.advance(MINUTE)
        there = await world.login("b", app=SIBLING, unionid="u")
        bystander = await world.login("c")
        written = await world.kill_user(here.user)
        assert written.value == 2
        [fact] = written.facts
        assert (fact.kind, fact.target, fact.app_filter) == (FactKind.USER, here.user.user_id, "")
        assert fact.useful_until == there.session.access_expires_at + FACT_MARGIN
        ended = Ended(EndReason.ADMIN, world.now, "operator")
        assert [(await world.session(login)).ended for login in (here, there)] == [ended, ended]
        assert await world.reason(bystander) is None
        user = await world.store.get_user(here.user.user_id)
        assert user is not None
        assert user.position == fact.position

    async def test_tokens_made_before_have_smaller_positions(self, world: World) -> None:
        """The fact kills what was created before it and nothing created after it."""
        before = await world.login()
        [fact] = (await world.kill_user(before.user)).facts
        after = await world.login()
        assert before.session.position < fact.position <= after.session.position

    async def test_unknown_user_is_none(self, world: World) -> None:
        """Nobody there: nothing is written."""
        written = await world.store.end_user_sessions("nobody", reason=EndReason.ADMIN, by="op")
        assert (written.value, written.facts) == (None, ())

    async def test_nothing_to_kill_touches_nothing(self, world: World) -> None:
        """Where neither session nor token lives, head and user stay as they were."""
        login = await world.login()
        await world.logout(login)
        world.clock.advance(DAY)
        before = await world.store.read_head()
        written = await world.kill_user(login.user)
        assert (written.value, written.facts) == (0, ())
        assert await world.store.read_head() == before
        assert await world.store.get_user(login.user.user_id) == login.user

    async def test_sessions_without_acceptable_tokens_end_without_a_fact(self, world: World) -> None:
        """A live session whose access token is dead ends by its row alone."""
        login = await world.login()
        world.clock.advance(DAY)
        written = await world.kill_user(login.user)
        assert (written.value, written.facts) == (1, ())
        assert (await world.refusal(login.token)).reason is EndReason.ADMIN

    async def test_tokens_of_ended_sessions_count_for_the_fact(self, world: World) -> None:
        """A session that ended already may have the token that lives longest."""
        await world.login()
        world.clock.advance(HOUR)
        gone = await world.login()
        await world.logout(gone)
        [fact] = (await world.kill_user(gone.user)).facts
        assert fact.useful_until == gone.session.access_expires_at + FACT_MARGIN
        assert await world.reason(gone) is EndReason.LOGOUT

    async def test_narrowed_to_one_app(self, world: World) -> None:
        """Only that app's sessions end, the fact says so, and the user's position stays."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=SIBLING, unionid="u")
        written = await world.kill_user(here.user, app_id=APP.app_id)
        assert written.value == 1
        assert [(fact.kind, fact.app_filter) for fact in written.facts] == [(FactKind.USER, APP.app_id)]
        assert [await world.reason(login) for login in (here, there)] == [EndReason.ADMIN, None]
        assert await world.store.get_user(here.user.user_id) == here.user
        await world.rotate(there.token)

    async def test_expired_sessions_keep_their_silence(self, world: World) -> None:
        """A session that expired long ago was not ended by a later revocation."""
        old = await world.login()
        world.clock.advance(8 * DAY)
        new = await world.login()
        assert (await world.kill_user(new.user)).value == 1
        assert await world.reason(old) is None
        assert (await world.refusal(old.token)).reason is EndReason.EXPIRED

    async def test_session_killed_with_its_app_keeps_that_reason(self, world: World) -> None:
        """A user revocation after an app revocation ends nothing twice."""
        login = await world.login()
        await world.store.end_app_sessions(
            APP.app_id, reason=EndReason.BLOCKED, by="x", longest_lifetime=HOUR
        )
        world.clock.advance(MINUTE)
        assert (await world.kill_user(login.user)).value == 0
        assert await world.reason(login) is EndReason.BLOCKED
        assert (await world.refusal(login.token)).reason is EndReason.BLOCKED

    async def test_reason_of_an_app_revocation_outlives_a_second_one(self, world: World) -> None:
        """What the app's revocation killed keeps that reason, also after it would have expired and all was revoked."""
        old = await world.login()
        await world.store.end_app_sessions(
            APP.app_id, reason=EndReason.BLOCKED, by="x", longest_lifetime=HOUR
        )
        ended = (await world.session(old)).ended
        world.clock.advance(8 * DAY)
        await world.kill_user((await world.login()).user)
        await world.kill_app()
        assert (await world.session(old)).ended == ended

    async def test_block_ends_everything_in_the_same_step(self, world: World) -> None:
        """The state is set and the sessions end as blocked, with one fact."""
        login = await world.login()
        block = Block(reason="fraud", by="operator", at=world.now, until=world.now + DAY)
        written = await world.store.block_user(login.user.user_id, block=block)
        assert written.value == 1
        [fact] = written.facts
        assert fact.reason is EndReason.BLOCKED
        user = await world.store.get_user(login.user.user_id)
        assert user == replace(login.user, block=block, position=fact.position)
        assert await world.reason(login) is EndReason.BLOCKED

    async def test_unblock_lifts_the_state_only(self, world: World) -> None:
        """The user may log in again; the sessions stay ended."""
        login = await world.login()
        await world.store.block_user(login.user.user_id, block=Block(reason="", by="op", at=world.now))
        assert await world.store.unblock_user(login.user.user_id, by="op")
        user = await world.store.get_user(login.user.user_id)
        assert user is not None
        assert user.block is None
        assert await world.reason(login) is EndReason.BLOCKED
        await world.login()

    async def test_blocking_nobody(self, world: World) -> None:
        """Unknown users are None and False."""
        block = Block(reason="", by="op", at=world.now)
        assert (await world.store.block_user("nobody", block=block)).value is None
        assert not await world.store.unblock_user("nobody", by="op")
        assert await world.store.get_user("nobody") is None
