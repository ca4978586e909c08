"""Many at once: nobody is lost, and there is one winner."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import func, select

from authsvc.domain.sessions import EndReason
from authsvc.ports import Opened, Rotation, SessionQuery
from authsvc.storage.schema import users
from tests.storage.conformance.world import APP, SIBLING, World

MANY = 100


class TestRaces:
    async def test_parallel_refreshes_rotate_once(self, world: World) -> None:
        """A hundred presentations of one token over two stores: one rotates, all get the same successor."""
        login = await world.login()
        stores = (world.store, await world.replica())
        answers = await asyncio.gather(
            *(world.rotate(login.token, store=stores[number % 2]) for number in range(MANY))
        )
        assert sum(not answer.replayed for answer in answers) == 1
        assert {answer.session for answer in answers} == {await world.session(login)}
        assert answers[0].session.counter == 1

    async def test_parallel_claims_have_one_winner(self, world: World) -> None:
        """A hundred claims of one code over two stores: one may go to WeChat."""
        stores = (world.store, await world.replica())
        ttl = timedelta(minutes=10)
        wins = await asyncio.gather(
            *(
                stores[number % 2].claim_code(app_id="a", code_hash=b"h" * 32, ttl=ttl)
                for number in range(MANY)
            )
        )
        assert wins.count(True) == 1

    async def test_parallel_first_logins_make_one_user(self, world: World) -> None:
        """Thirty first logins of one person in two apps of a group: one user."""
        stores = (world.store, await world.replica())
        apps = (replace(APP, max_sessions=99), replace(SIBLING, max_sessions=99))
        logins = await asyncio.gather(
            *(
                world.login(apps[n % 2].app_id, app=apps[n % 2], unionid="u", store=stores[n // 2 % 2])
                for n in range(30)
            )
        )
        assert len({login.user.user_id for login in logins}) == 1
        assert sum(login.written.value.is_new_user for login in logins) == 1
        assert [row[0] for row in world.backend.look(select(func.count()).select_from(users))] == [1]

    async def test_parallel_logins_keep_the_cap(self, world: World) -> None:
        """However many log in at once, no more than max_sessions live, and each one ended has its fact."""
        stores = (world.store, await world.replica())
        logins = await asyncio.gather(*(world.login(store=stores[n % 2]) for n in range(40)))
        live = await world.store.list_sessions(SessionQuery())
        assert len(live) == APP.max_sessions
        reasons = [await world.reason(login) for login in logins]
        assert reasons.count(EndReason.REPLACED) == 40 - APP.max_sessions
        assert len(await world.log()) == 40 - APP.max_sessions

    async def test_concurrent_revocations_end_each_session_once(self, world: World) -> None:
        """Ten ways to end the same sessions at once: every session is counted by exactly one of them."""
        app = replace(APP, max_sessions=99)
        logins = [await world.login(app=app) for _ in range(10)]
        replica = await world.replica()
        user_id = logins[0].user.user_id
        counts = await asyncio.gather(
            *(
                store.end_session(login.id, reason=EndReason.LOGOUT, by="user")
                for login in logins
                for store in (world.store, replica)
            ),
            world.store.end_user_sessions(user_id, reason=EndReason.ADMIN, by="op"),
            replica.end_user_sessions(user_id, app_id=APP.app_id, reason=EndReason.ADMIN, by="op"),
        )
        assert sum(written.value or 0 for written in counts) == 10
        positions = [fact.position for written in counts for fact in written.facts]
        assert len(positions) == len(set(positions))
        assert sorted(positions) == [fact.position for fact in await world.log()]

    async def test_login_beside_a_user_revocation_is_dead_or_knows_it(self, world: World) -> None:
        """A session made at the same time as the revocation is either ended or above its position, never between."""
        app = replace(APP, max_sessions=99)
        user = (await world.login(app=app)).user
        replica = await world.replica()
        openings = [world.opening(app=app)[0] for _ in range(20)]
        results = await asyncio.gather(
            *(store.open_session(opening) for store, opening in zip([world.store, replica] * 10, openings)),  # noqa: B905
            replica.end_user_sessions(user.user_id, reason=EndReason.ADMIN, by="op"),
        )
        [fact] = results[-1].facts
        for opening in openings:
            session = await world.store.get_session(opening.session_id)
            assert session is not None
            assert (session.ended is not None) == (session.position < fact.position)

    async def test_refresh_beside_a_revocation_never_survives_it(self, world: World) -> None:
        """Whoever comes first, after both are answered the session is over."""
        app = replace(APP, max_sessions=99)
        logins = [await world.login(app=app) for _ in range(20)]
        replica = await world.replica()
        await asyncio.gather(
            *(world.present(login.token) for login in logins),
            *(replica.end_session(login.id, reason=EndReason.LOGOUT, by="user") for login in logins),
        )
        for login in logins:
            assert await world.reason(login) is EndReason.LOGOUT
            assert not isinstance((await world.present(login.at(1))).value, Rotation)

    async def test_batch_neighbours_see_each_other(self, world: World) -> None:
        """A login queued right behind a revocation of its user has its position at or above it."""
        user = (await world.login()).user
        opening, _ = world.opening()
        revoked, opened = await asyncio.gather(world.kill_user(user), world.store.open_session(opening))
        assert isinstance(opened.value, Opened)
        assert opened.value.session.position >= revoked.facts[0].position
        assert opened.value.session.position >= opened.value.user.position
