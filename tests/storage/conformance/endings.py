"""Ending one session."""

from datetime import timedelta

from authsvc.domain.apps import FACT_MARGIN, LEEWAY
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import Ended, EndReason
from tests.storage.conformance.world import DAY, HOUR, MINUTE, SECOND, World


class TestSessionEndings:
    async def test_ends_the_row_and_tells_the_log(self, world: World) -> None:
        """One session ended; its fact lives until the last token is dead plus the margin; the head is at it."""
        login = await world.login()
        written = await world.logout(login)
        assert written.value == 1
        [fact] = written.facts
        assert (fact.kind, fact.target, fact.reason) == (FactKind.SESSION, login.id, EndReason.LOGOUT)
        assert fact.useful_until == login.session.access_expires_at + FACT_MARGIN
        assert written.head.position == fact.position
        assert (await world.session(login)).ended == Ended(EndReason.LOGOUT, world.now, "user")
        assert await world.log() == [fact]

    async def test_second_time_changes_nothing(self, world: World) -> None:
        """Ending an ended session is success without a fact, and its first reason stands."""
        login = await world.login()
        first = await world.logout(login)
        world.clock.advance(MINUTE)
        again = await world.store.end_session(login.id, reason=EndReason.ADMIN, by="operator")
        assert (again.value, again.facts) == (0, ())
        assert again.head == first.head
        assert await world.reason(login) is EndReason.LOGOUT

    async def test_missing_row_is_none(self, world: World) -> None:
        """No row and no token to kill: nothing is written."""
        written = await world.store.end_session("nobody", reason=EndReason.LOGOUT, by="user")
        assert (written.value, written.facts) == (None, ())
        assert await world.log() == []

    async def test_missing_row_with_a_living_token_gets_its_fact(self, world: World) -> None:
        """A verified token of a session the database lost is killed by a fact as asked for."""
        until = world.now + HOUR
        written = await world.store.end_session("lost", reason=EndReason.LOGOUT, by="user", fact_until=until)
        assert written.value is None
        assert [(fact.target, fact.useful_until) for fact in written.facts] == [("lost", until)]

    async def test_missing_row_with_a_dead_token_gets_none(self, world: World) -> None:
        """A fact that would be useless at once is not written."""
        written = await world.store.end_session(
            "lost", reason=EndReason.LOGOUT, by="user", fact_until=world.now
        )
        assert written.facts == ()

    async def test_foreign_nonce_leaves_the_row(self, world: World) -> None:
        """A refresh token of another line ends nothing and writes nothing; the right one ends it."""
        login = await world.login()
        end = world.store.end_session
        refused = await end(login.id, reason=EndReason.LOGOUT, by="user", nonce_hash=b"x" * 32)
        assert (refused.value, refused.facts) == (0, ())
        assert await world.session(login) == login.session
        nonce_hash = login.token.nonce_hash
        assert (await end(login.id, reason=EndReason.LOGOUT, by="user", nonce_hash=nonce_hash)).value == 1

    async def test_no_fact_when_no_token_can_be_accepted(self, world: World) -> None:
        """A session whose access token is dead is ended without touching the log."""
        login = await world.login()
        world.clock.advance(login.session.access_expires_at + LEEWAY - world.now)
        before = await world.store.read_head()
        written = await world.logout(login)
        assert (written.value, written.facts) == (1, ())
        assert await world.store.read_head() == before

    async def test_fact_within_the_leeway(self, world: World) -> None:
        """Just expired is still accepted by a verifier whose clock is behind, so there is a fact."""
        login = await world.login()
        world.clock.advance(login.session.access_expires_at + LEEWAY - timedelta(microseconds=1) - world.now)
        assert len((await world.logout(login)).facts) == 1

    async def test_presented_token_later_than_the_row(self, world: World) -> None:
        """A row set back in time may know less than the token: the fact covers the later of the two."""
        login = await world.login()
        until = login.session.access_expires_at + DAY
        written = await world.store.end_session(
            login.id, reason=EndReason.LOGOUT, by="user", fact_until=until
        )
        assert [fact.useful_until for fact in written.facts] == [until]

    async def test_expired_session_counts_for_nothing(self, world: World) -> None:
        """A session past its idle end was not live, so nothing ended now."""
        login = await world.login()
        world.clock.advance(8 * DAY)
        assert (await world.logout(login)).value == 0

    async def test_session_killed_by_position_keeps_that_reason(self, world: World) -> None:
        """A logout after the app was revoked changes nothing."""
        login = await world.login()
        await world.kill_app()
        world.clock.advance(SECOND)
        written = await world.logout(login)
        assert (written.value, written.facts) == (0, ())
        assert await world.reason(login) is EndReason.ADMIN
