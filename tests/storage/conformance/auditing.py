"""The audit trail: a row with every change or with none, whose it was, and what an erasure leaves of it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Row, select

from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.keyring import KeyRing
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.domain.users import Block
from authsvc.ports import AuditEntry, AuditQuery, Origin, UserIsBlocked, current_origin
from authsvc.storage import audit as recorded
from authsvc.storage.schema import audit, sessions, users
from authsvc.storage.tx import Tx
from tests.storage.conformance.world import APP, DAY, MINUTE, SECOND, SIBLING, World

INDEX = BlindIndex(KeyRing(b"idx1", {b"idx1": b"x" * 32}))


def trail(world: World, *events: str) -> Sequence[Row[Any]]:
    wanted = select(audit).order_by(audit.c.at, audit.c.audit_id)
    return world.backend.look(wanted.where(audit.c.event.in_(events)) if events else wanted)


class TestAuditRows:
    async def test_a_login_has_one_row(self, world: World) -> None:
        """Who, in which app and session, from where; which call it was; and what it found out."""
        origin = Origin("edge-1", "request-1", "a" * 32, "", lambda: "10.0.0.1")
        token = current_origin.set(origin)
        login = await world.login(client=ClientInfo(ip="203.0.113.7", user_agent="agent-canary"))
        current_origin.reset(token)
        [row] = trail(world)
        assert (row.event, row.by, row.at) == ("session.opened", "edge-1", world.now)
        assert (row.user_id, row.app_id, row.session_id) == (login.user.user_id, APP.app_id, login.id)
        assert (row.ip, row.request_id, row.trace_id) == ("203.0.113.7", "request-1", "a" * 32)
        assert json.loads(row.details) == {"new_user": True}
        assert (len(row.salt), row.commitment, row.batch) == (16, None, None)
        assert "canary" not in str(tuple(row))

    async def test_a_login_tells_of_linking_and_of_what_it_ended(self, world: World) -> None:
        """The verdict on the unionid, the merge it led to, and the sessions that it superseded."""
        older = await world.login("a", device="phone")
        world.clock.advance(MINUTE)
        younger = await world.login("b", app=SIBLING, unionid="u")
        world.clock.advance(MINUTE)
        await world.login("a", unionid="u", device="phone")
        world.clock.advance(MINUTE)
        await world.login("c", app=SIBLING, unionid="u")
        details = [json.loads(row.details) for row in trail(world, "session.opened")]
        [merged] = trail(world, "user.merged")
        assert details[2] == {
            "new_user": False,
            "linking": "merged",
            "other_user_id": younger.user.user_id,
            "merge_id": json.loads(merged.details)["merge_id"],
            "ended_session_ids": [older.id],
        }
        assert details[3] == {"new_user": False, "linking": "linked"}

    async def test_the_login_of_a_blocked_user_is_told_once_a_minute(self, world: World) -> None:
        """With the transaction that keeps the session key; the answer says whether this very refusal has a row."""
        login = await world.login()
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(login.user.user_id, block=block)
        for recorded_now in (True, False, False):
            assert (await world.attempt()).value == UserIsBlocked(recorded=recorded_now)
        world.clock.advance(MINUTE)
        assert (await world.attempt(client=ClientInfo(ip="203.0.113.8"))).value == UserIsBlocked(
            recorded=True
        )
        first, second = trail(world, "login.refused")
        assert (first.user_id, second.ip) == (login.user.user_id, "203.0.113.8")
        assert json.loads(second.details) == {"refusal": "UserBlocked"}

    @pytest.mark.parametrize("counter", [1, 0], ids=["stale", "reuse"])
    async def test_a_session_that_a_refresh_ended(self, world: World, counter: int) -> None:
        """Once, with where the token came from; what it finds ended already leaves no second row."""
        login = await world.login()
        for number in range(2):
            await world.rotate(login.at(number))
        world.clock.advance(APP.grace + SECOND)
        for _ in range(2):
            await world.refusal(login.at(counter), client=ClientInfo(ip="203.0.113.9"))
        event = "session.refresh_stale" if counter else "session.refresh_reuse"
        [row] = [row for row in trail(world) if row.event.startswith("session.refresh")]
        assert (row.event, row.ip, row.session_id) == (event, "203.0.113.9", login.id)
        assert (row.user_id, row.app_id, row.by) == (login.user.user_id, APP.app_id, "service")

    async def test_a_database_that_was_set_back(self, world: World) -> None:
        """A counter that was never given out here; a session that is simply over in time is no news."""
        one, two = await world.login("a"), await world.login("b")
        await world.refusal(one.at(7))
        world.clock.advance(60 * DAY)
        assert (await world.refusal(two.token)).reason is EndReason.EXPIRED
        assert [row.session_id for row in trail(world, "session.store_restored")] == [one.id]
        assert len(trail(world)) == 3

    async def test_revocations(self, world: World) -> None:
        """By whom, of what kind, of whom and how many; one that changes nothing leaves no row."""
        one, two, three = [await world.login("a") for _ in range(3)]
        await world.logout(one)
        await world.logout(one)
        world.clock.advance(SECOND)
        await world.kill_user(one.user, app_id=APP.app_id)
        world.clock.advance(SECOND)
        await world.login("b")
        await world.kill_app()
        session, user, app = trail(world, "sessions.revoked")
        assert (session.by, session.session_id, session.user_id) == ("user", one.id, one.user.user_id)
        assert (user.by, user.user_id, user.app_id) == ("operator", two.user.user_id, APP.app_id)
        assert (app.by, app.user_id, app.app_id) == ("operator", "", APP.app_id)
        assert [json.loads(row.details) for row in (session, user, app)] == [
            {"target": "session", "end_reason": "LOGOUT", "ended_sessions": 1},
            {"target": "user", "end_reason": "ADMIN", "ended_sessions": 2},
            {"target": "app", "end_reason": "ADMIN", "ended_sessions": 1},
        ]
        assert three.user == two.user

    async def test_parallel_calls_keep_apart(self, world: World) -> None:
        """Rows of calls that share a transaction carry the ids of their own call each."""

        async def call(number: int) -> tuple[str, str]:
            current_origin.set(
                Origin(f"caller-{number}", f"request-{number}", "", "", lambda: f"10.0.0.{number}")
            )
            login = await world.login(f"person-{number}")
            return login.id, f"caller-{number} request-{number} 10.0.0.{number}"

        made = await asyncio.gather(*(asyncio.create_task(call(number)) for number in range(40)))
        rows = trail(world, "session.opened")
        assert {row.session_id: f"{row.by} {row.request_id} {row.ip}" for row in rows} == dict(made)

    async def test_an_operators_reason_goes_with_the_call(self, world: World) -> None:
        """What was said with the call is the reason of a decision that has none of its own."""
        login = await world.login()
        token = current_origin.set(Origin("op", reason="ticket 17"))
        await world.store.set_roles(login.user.user_id, ["vip"], by="op")
        await world.store.block_user(
            login.user.user_id, block=Block(reason="fraud", by="op", at=world.now, until=None)
        )
        current_origin.reset(token)
        said = {row.event: row.reason for row in trail(world)}
        assert (said["user.roles_set"], said["user.blocked"]) == ("ticket 17", "fraud")

    async def test_why_somebody_was_erased_stays(self, world: World) -> None:
        """With the operator's address; every earlier row of the person has lost both. An own erasure leaves neither."""
        one, two = await world.login("a"), await world.login("b")
        token = current_origin.set(Origin("op", reason="ticket 17", address=lambda: "10.0.0.9"))
        await world.store.set_roles(one.user.user_id, ["vip"], by="op")
        await world.store.erase_user(one.user.user_id, index=INDEX, by="op", even_blocked=True)
        current_origin.set(Origin("edge", address=lambda: "203.0.113.7"))
        await world.store.erase_user(two.user.user_id, index=INDEX, by="edge", even_blocked=False)
        current_origin.reset(token)
        kept = {
            (row.event, row.user_id): (row.ip, row.reason, row.commitment is None) for row in trail(world)
        }
        of_one, of_two = one.user.user_id, two.user.user_id
        assert kept == {
            ("session.opened", of_one): ("", "", False),
            ("user.roles_set", of_one): ("", "", False),
            ("user.erased", of_one): ("10.0.0.9", "ticket 17", True),
            ("session.opened", of_two): ("", "", False),
            ("user.erased", of_two): ("", "", True),
        }

    async def test_rows_of_their_own(self, world: World) -> None:
        """What changes nothing else is written alone, for the call that it tells of."""
        other = Origin("edge", "request-9", "", "", lambda: "10.0.0.9")
        await world.store.record_audit(
            [
                AuditEntry("caller.refused", "edge", origin=other, details={"refusal": "x"}),
                AuditEntry("user.exported", user_id="u", reason="asked"),
            ]
        )
        await world.store.record_audit([])
        rows = {row.event: row for row in trail(world)}
        refused, exported = rows["caller.refused"], rows["user.exported"]
        assert (refused.request_id, refused.ip) == ("request-9", "10.0.0.9")
        assert (exported.by, exported.user_id, exported.reason, exported.ip) == ("service", "u", "asked", "")


class TestAuditTogether:
    async def test_a_row_that_cannot_be_written_takes_the_change_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The database refuses the row: no user, no session, no revocation, no erasure."""
        before = await world.login("a")
        monkeypatch.setattr(recorded, "_values", _without_event(recorded._values))
        with pytest.raises(StoreUnavailable):
            await world.login("b")
        with pytest.raises(StoreUnavailable):
            await world.logout(before)
        with pytest.raises(StoreUnavailable):
            await world.kill_user(before.user)
        with pytest.raises(StoreUnavailable):
            await world.store.erase_user(before.user.user_id, index=INDEX, by="op", even_blocked=True)
        monkeypatch.undo()
        assert len(world.backend.look(select(users))) == len(world.backend.look(select(sessions))) == 1
        assert len(trail(world)) == 1
        assert await world.reason(before) is None
        assert await world.log() == []
        assert await world.store.get_person(before.user.user_id) is not None

    async def test_a_change_that_fails_takes_its_row_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The revocation breaks after its row was written: neither is there."""
        login = await world.login()

        def fails(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        for kind in (Tx, *Tx.__subclasses__()):
            monkeypatch.setattr(kind, "write_fact", fails)
        for attempt in (world.logout(login), world.kill_user(login.user), world.kill_app()):
            with pytest.raises(ZeroDivisionError):
                await attempt
        monkeypatch.undo()
        assert trail(world, "sessions.revoked") == []
        assert await world.reason(login) is None


def _without_event(real: Any) -> Any:
    def values(tx: Tx, entry: AuditEntry) -> dict[str, Any]:
        return {**real(tx, entry), "event": None}

    return values


class TestAuditReading:
    async def test_rows_are_listed_as_asked(self, world: World) -> None:
        """By person whatever their id, event, author and time; oldest first, in pages, or the newest."""
        one, two = await world.login("a"), await world.login("b")
        await world.store.merge_users(one.user.user_id, two.user.user_id, by="op", reason="")
        world.clock.advance(MINUTE)
        since = world.now
        await world.store.set_roles(one.user.user_id, ["vip"], by="op-2")

        async def events(**asked: Any) -> list[str]:
            return [row.event for row in await world.store.list_audit(AuditQuery(**asked))]

        everything = await events()
        assert sorted(everything) == ["session.opened", "session.opened", "user.merged", "user.roles_set"]
        assert everything[-1] == "user.roles_set"
        assert sorted(await events(user_id=two.user.user_id)) == sorted(everything)
        assert await events(event="user.*", by="op") == ["user.merged"]
        assert await events(event="user_roles_set") == await events(event="user_*") == []
        assert await events(since=since) == await events(by="op-2") == ["user.roles_set"]
        assert await events(newest=True, limit=1) == ["user.roles_set"]
        rows = list(await world.store.list_audit(AuditQuery(limit=2)))
        while page := await world.store.list_audit(
            AuditQuery(limit=2, after=(rows[-1].at, rows[-1].audit_id))
        ):
            rows += page
        assert [row.event for row in rows] == everything
        assert len({row.audit_id for row in rows}) == 4
