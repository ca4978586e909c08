"""Killing every session of an app by position."""

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import Ended, EndReason
from authsvc.ports import SessionQuery
from tests.storage.conformance.world import APP, DAY, HOUR, MINUTE, SIBLING, World


class TestAppEndings:
    async def test_counts_the_live_and_writes_one_fact(self, world: World) -> None:
        """The value counts live sessions of this app; the fact outlives the longest token."""
        await world.login("a")
        await world.login("b")
        await world.logout(await world.login("c"))
        await world.login("d", app=SIBLING)
        written = await world.kill_app()
        assert written.value == 2
        [fact] = written.facts
        assert (fact.kind, fact.target) == (FactKind.APP, APP.app_id)
        assert fact.useful_until == world.now + 2 * HOUR + FACT_MARGIN

    async def test_readers_see_the_sessions_as_ended(self, world: World) -> None:
        """Get and list show reason, time and author of the app's revocation; only its sessions are touched."""
        login, other = await world.login("a"), await world.login("b", app=SIBLING)
        await world.kill_app()
        at = world.now
        world.clock.advance(MINUTE)
        ended = Ended(EndReason.ADMIN, at, "operator")
        assert (await world.session(login)).ended == ended
        live = await world.store.list_sessions(SessionQuery())
        assert [session.session_id for session in live] == [other.id]
        everything = await world.store.list_sessions(SessionQuery(include_ended=True, app_id=APP.app_id))
        assert [session.ended for session in everything] == [ended]

    async def test_second_revocation_counts_only_new_sessions(self, world: World) -> None:
        """Dead ones are not killed twice; the newer revocation's position replaces the older one's."""
        old = await world.login("a")
        first = await world.kill_app()
        await world.login("b")
        second = await world.kill_app()
        assert (first.value, second.value) == (1, 1)
        assert second.facts[0].position > first.facts[0].position
        assert (await world.refusal(old.token)).reason is EndReason.ADMIN

    async def test_earlier_reason_of_a_session_stands(self, world: World) -> None:
        """A session that was logged out before stays so."""
        login = await world.login()
        await world.logout(login)
        await world.kill_app()
        assert await world.reason(login) is EndReason.LOGOUT

    async def test_app_without_sessions_gets_its_fact(self, world: World) -> None:
        """Tokens may exist without rows (a restored database): the fact is written all the same."""
        written = await world.kill_app()
        assert (written.value, len(written.facts)) == (0, 1)
        world.clock.advance(DAY)
        assert (await world.store.read_live(after=0, limit=10))[1] == []
