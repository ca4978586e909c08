"""What a login does with a unionid that comes late: records it, merges, leaves it to an operator, or nothing."""

import pytest
from sqlalchemy import select

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.people import LinkVerdict
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import Linking, SessionQuery, UserIsBlocked
from authsvc.storage.schema import identities, unionids, user_aliases
from tests.storage.conformance.people import linking, strangers
from tests.storage.conformance.world import APP, AUDITED, DAY, MINUTE, SIBLING, UNBOUND, World


class TestLinking:
    async def test_what_a_login_learned_is_told(self, world: World) -> None:
        """First sight of a known unionid, a late one that nobody had, and nothing new are told apart."""
        first = await world.login("a")
        assert linking(first) == Linking()
        late = await world.login("a", unionid="u")
        assert linking(late) == Linking(LinkVerdict.RECORDED, user_id=first.user.user_id, is_news=True)
        assert linking(await world.login("a", unionid="u")) == Linking()
        joined = await world.login("b", app=SIBLING, unionid="u")
        assert linking(joined) == Linking(LinkVerdict.LINKED, user_id=first.user.user_id, is_news=True)

    async def test_a_different_unionid_is_told_and_moves_nothing(self, world: World) -> None:
        """Neither where nobody has it nor where another user has it; every such login says so."""
        mine = await world.login("a", unionid="u")
        theirs = await world.login("b", app=SIBLING, unionid="v")
        for unionid in ("v", "w", "v"):
            again = await world.login("a", unionid=unionid)
            assert again.user.user_id == mine.user.user_id
            assert linking(again) == Linking(LinkVerdict.MISMATCH, user_id=mine.user.user_id, is_news=True)
        owners = {row.unionid: row.user_id for row in world.backend.look(select(unionids))}
        assert owners == {"u": mine.user.user_id, "v": theirs.user.user_id}
        assert linking(await world.login("a", unionid="u")) == Linking()

    async def test_a_different_unionid_of_the_users_other_identity_moves_nothing(self, world: World) -> None:
        """A user has one unionid in a group: a second identity of theirs that tells another one merges nobody."""
        mine = await world.login("a", unionid="u")
        other = await world.login("c", app=SIBLING)
        await world.store.merge_users(mine.user.user_id, other.user.user_id, by="op", reason="")
        theirs = await world.login("d", app=SIBLING, unionid="v")
        told = await world.login("c", app=SIBLING, unionid="v")
        assert told.user.user_id == mine.user.user_id != theirs.user.user_id
        assert linking(told).verdict is LinkVerdict.MISMATCH

    async def test_a_late_unionid_of_somebody_else_makes_them_one(self, world: World) -> None:
        """The older user survives with every identity and unionid, and the session is the survivor's."""
        older, younger = await strangers(world)
        told = await world.login("a", unionid="u")
        assert told.user.user_id == told.session.user_id == older.user.user_id
        assert told.user.previous_ids == (younger.user.user_id,)
        found = linking(told)
        assert (found.verdict, found.user_id, found.other_user_id) == (
            LinkVerdict.MERGED,
            older.user.user_id,
            younger.user.user_id,
        )
        assert (found.ended_sessions, found.is_news) == (1, True)
        for table in (identities, unionids):
            assert {row.user_id for row in world.backend.look(select(table))} == {older.user.user_id}
        assert (await world.login("b", app=SIBLING, unionid="u")).user == await world.store.get_user(
            older.user.user_id
        )

    async def test_the_older_survives_also_where_the_younger_logs_in(self, world: World) -> None:
        """The one who has the unionid may be the older: then the identity that logs in changes its user."""
        older = await world.login("b", app=SIBLING, unionid="u")
        world.clock.advance(MINUTE)
        younger = await world.login("a")
        told = await world.login("a", unionid="u")
        assert told.user.user_id == told.session.user_id == older.user.user_id
        assert not told.written.value.is_new_user
        assert await world.reason(younger) is EndReason.MERGED
        assert await world.reason(older) is None
        assert (await world.refusal(younger.token)).reason is EndReason.MERGED
        await world.rotate(older.token)
        await world.rotate(told.token)

    async def test_a_merge_tells_the_verifiers(self, world: World) -> None:
        """One user fact for the id that was merged away, useful as long as its tokens; nobody else's die."""
        older, younger = await strangers(world)
        told = await world.login("a", unionid="u")
        [fact] = told.written.facts
        assert (fact.kind, fact.target, fact.reason) == (
            FactKind.USER,
            younger.user.user_id,
            EndReason.MERGED,
        )
        assert fact.useful_until == younger.session.access_expires_at + FACT_MARGIN
        assert younger.session.position < fact.position
        assert await world.log() == [fact]
        assert await world.reason(older) is None

    async def test_a_merge_without_acceptable_tokens_writes_no_fact(self, world: World) -> None:
        """Where no access token of the moved user lives, its rows end and the log is left alone."""
        _, younger = await strangers(world)
        world.clock.advance(DAY)
        told = await world.login("a", unionid="u")
        assert told.written.facts == ()
        assert linking(told).ended_sessions == 1
        assert (await world.refusal(younger.token)).reason is EndReason.MERGED

    async def test_refreshes_tell_the_previous_ids(self, world: World) -> None:
        """Also of a session that is older than the merge."""
        older, younger = await strangers(world)
        await world.login("a", unionid="u")
        rotation = await world.rotate(older.token)
        assert rotation.user.previous_ids == (younger.user.user_id,)

    async def test_a_chain_of_merges_is_one_person_under_every_id(self, world: World) -> None:
        """Merging the survivor again moves its aliases on; the ids are told oldest merge first."""
        first = await world.login("a", app=UNBOUND)
        world.clock.advance(MINUTE)
        second, third = await strangers(world)
        await world.login("a", unionid="u")
        await world.store.merge_users(first.user.user_id, second.user.user_id, by="op", reason="")
        for login in (first, second, third):
            user = await world.store.get_user(login.user.user_id)
            assert user is not None
            assert user.user_id == first.user.user_id
            assert user.previous_ids == (third.user.user_id, second.user.user_id)
        aliases = {row.alias_id: row.user_id for row in world.backend.look(select(user_aliases))}
        assert aliases == dict.fromkeys([second.user.user_id, third.user.user_id], first.user.user_id)

    async def test_either_id_reaches_both(self, world: World) -> None:
        """Revoking, blocking and listing by the old id mean the person."""
        _, younger = await strangers(world)
        told = await world.login("a", unionid="u")
        listed = await world.store.list_sessions(SessionQuery(user_id=younger.user.user_id))
        assert told.id in {session.session_id for session in listed}
        everything = await world.store.list_sessions(
            SessionQuery(user_id=told.user.user_id, include_ended=True)
        )
        assert younger.id in {session.session_id for session in everything}
        written = await world.kill_user(younger.user)
        assert written.value == 2
        assert [fact.target for fact in written.facts] == [told.user.user_id]
        assert await world.reason(told) is EndReason.ADMIN
        block = Block(reason="", by="op", at=world.now)
        assert (await world.store.block_user(younger.user.user_id, block=block)).value == 0
        assert isinstance((await world.attempt("a")).value, UserIsBlocked)
        assert await world.store.unblock_user(younger.user.user_id, by="op")
        await world.login("b", app=SIBLING)

    async def test_a_merge_by_login_is_audited_without_names(self, world: World) -> None:
        """The trail says which of our ids became which, and holds neither openid nor unionid."""
        older = await world.login("openid-canary")
        world.clock.advance(MINUTE)
        younger = await world.login("b", app=SIBLING, unionid="unionid-canary")
        await world.login("openid-canary", unionid="unionid-canary")
        [row] = world.backend.look(AUDITED)
        assert (row.event, row.by, row.user_id) == ("user.merged", "login", older.user.user_id)
        assert younger.user.user_id in row.details
        assert "canary" not in row.details


class TestLinkingTheBlocked:
    @pytest.mark.parametrize("blocked", ["a", "b"])
    async def test_a_block_on_either_side_holds(self, world: World, blocked: str) -> None:
        """Whoever of the two is blocked, the person is from now on: every session ends, every login is refused."""
        older, younger = await strangers(world)
        victim = older if blocked == "a" else younger
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(victim.user.user_id, block=block)
        attempt = await world.attempt("a", unionid="u")
        assert isinstance(attempt.value, UserIsBlocked)
        assert attempt.value.linking.verdict is LinkVerdict.MERGED
        user = await world.store.get_user(younger.user.user_id)
        assert user is not None
        assert (user.user_id, user.block) == (older.user.user_id, block)
        reasons = [await world.reason(login) for login in (older, younger)]
        assert reasons == (
            [EndReason.BLOCKED, EndReason.MERGED] if blocked == "a" else [EndReason.BLOCKED] * 2
        )
        for openid, app in (("a", APP), ("b", SIBLING)):
            assert isinstance((await world.attempt(openid, app=app)).value, UserIsBlocked)

    async def test_every_token_of_a_person_blocked_by_a_merge_dies(self, world: World) -> None:
        """The survivor's tokens die by the fact of the block, and its position says so to refreshes."""
        older, younger = await strangers(world)
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(younger.user.user_id, block=block)
        attempt = await world.attempt("a", unionid="u")
        facts = {fact.target: fact for fact in attempt.facts}
        assert facts[older.user.user_id].reason is EndReason.BLOCKED
        assert older.session.position < facts[older.user.user_id].position
        user = await world.store.get_user(older.user.user_id)
        assert user is not None
        assert user.position == facts[older.user.user_id].position
