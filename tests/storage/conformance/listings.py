"""Pages of sessions."""

from authsvc.ports import SessionQuery
from tests.storage.conformance.world import APP, DAY, MINUTE, SIBLING, Login, World


async def listed(world: World, query: SessionQuery) -> list[str]:
    return [session.session_id for session in await world.store.list_sessions(query)]


async def logins(world: World, count: int, **details: object) -> list[Login]:
    """That many logins of different users, a minute apart, oldest first."""
    made = []
    for number in range(count):
        made.append(await world.login(f"openid-{number}", **details))  # type: ignore[arg-type]
        world.clock.advance(MINUTE)
    return made


class TestListings:
    async def test_newest_first(self, world: World) -> None:
        """The order is by creation, newest first."""
        made = await logins(world, 3)
        assert await listed(world, SessionQuery()) == [login.id for login in reversed(made)]

    async def test_by_user_and_by_app(self, world: World) -> None:
        """Each filter narrows, and both together do."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=SIBLING, unionid="u")
        other = await world.login("c")
        user_id = here.user.user_id
        assert set(await listed(world, SessionQuery(user_id=user_id))) == {here.id, there.id}
        assert set(await listed(world, SessionQuery(app_id=APP.app_id))) == {here.id, other.id}
        assert await listed(world, SessionQuery(user_id=user_id, app_id=APP.app_id)) == [here.id]

    async def test_pages_meet_without_gap_or_overlap(self, world: World) -> None:
        """Going on after the last place of each page yields every session once, also within one instant."""
        made = await logins(world, 3)
        made += [await world.login(f"same-instant-{number}") for number in range(5)]
        seen: list[str] = []
        query = SessionQuery(limit=2)
        while page := await world.store.list_sessions(query):
            assert len(page) <= 2
            seen += [session.session_id for session in page]
            query = SessionQuery(limit=2, after=(page[-1].created_at, page[-1].session_id))
        assert len(seen) == len(set(seen)) == 8
        assert set(seen) == {login.id for login in made}

    async def test_ended_and_expired_only_if_asked_for(self, world: World) -> None:
        """The usual page shows sessions that can be refreshed; the other one shows all."""
        expired = await world.login("a")
        world.clock.advance(8 * DAY)
        ended, live = await world.login("b"), await world.login("c")
        await world.logout(ended)
        assert await listed(world, SessionQuery()) == [live.id]
        everything = await listed(world, SessionQuery(include_ended=True))
        assert set(everything) == {expired.id, ended.id, live.id}

    async def test_nobody_has_no_sessions(self, world: World) -> None:
        """Unknown targets are empty pages and None."""
        assert await listed(world, SessionQuery(user_id="nobody")) == []
        assert await world.store.get_session("nobody") is None
