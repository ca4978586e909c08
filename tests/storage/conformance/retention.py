"""Housekeeping: what is removed, what never is, and what tailers see of it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import SigningKeyRecord
from tests.storage.conformance.world import APP, DAY, HOUR, MINUTE, SECOND, World

RETENTION = 30 * DAY
MARGIN = 10 * MINUTE


async def all_batches(batch: Callable[[], Awaitable[int]], *, limit: int) -> list[int]:
    """The sizes of the batches until one comes back short."""
    sizes = [await batch()]
    while sizes[-1] == limit:
        sizes.append(await batch())
    return sizes


class TestSessionRetention:
    async def test_a_session_is_kept_for_its_time(self, world: World) -> None:
        """Until the retention after its absolute end it can be looked at; at that instant it is removed."""
        login = await world.login()
        world.clock.advance(APP.absolute_lifetime + RETENTION - SECOND)
        assert await world.store.purge_sessions(retention=RETENTION, limit=10) == 0
        assert (await world.session(login)).session_id == login.id
        world.clock.advance(SECOND)
        assert await world.store.purge_sessions(retention=RETENTION, limit=10) == 1
        assert await world.store.get_session(login.id) is None
        assert await world.store.purge_sessions(retention=RETENTION, limit=10) == 0

    async def test_no_answer_to_a_refresh_depends_on_it(self, world: World) -> None:
        """However short the retention, an ended session says why as long as a refresh token could be good."""
        login = await world.login()
        await world.store.end_session(login.id, reason=EndReason.ADMIN, by="operator")
        for _ in range(3):
            world.clock.advance(APP.absolute_lifetime / 3 - SECOND)
            assert await world.store.purge_sessions(retention=timedelta(0), limit=10) == 0
            assert (await world.refusal(login.token)).reason is EndReason.ADMIN

    async def test_nothing_goes_that_a_fact_may_need(self, world: World) -> None:
        """With no retention at all a row outlives its last access token by the margin of facts."""
        await world.login()
        world.clock.advance(APP.absolute_lifetime + MARGIN - SECOND)
        assert await world.store.purge_sessions(retention=timedelta(0), limit=10) == 0
        world.clock.advance(SECOND)
        assert await world.store.purge_sessions(retention=timedelta(0), limit=10) == 1

    async def test_batches_are_as_small_as_asked_oldest_first(self, world: World) -> None:
        """Never more than the limit in one transaction, and the newest stay longest."""
        logins = []
        for number in range(5):
            logins.append(await world.login(f"{number}"))
            world.clock.advance(MINUTE)
        world.clock.advance(APP.absolute_lifetime + RETENTION)
        young = await world.login("young")
        assert await world.store.purge_sessions(retention=RETENTION, limit=2) == 2
        assert [await world.store.get_session(login.id) is None for login in logins] == [True] * 2 + [
            False
        ] * 3
        rest = await all_batches(lambda: world.store.purge_sessions(retention=RETENTION, limit=2), limit=2)
        assert rest == [2, 1]
        assert (await world.session(young)).session_id == young.id

    async def test_users_and_the_log_are_left_alone(self, world: World) -> None:
        """The same person is the same user, a block holds, and no position is taken."""
        login = await world.login()
        await world.store.block_user(login.user.user_id, block=Block(reason="spam", by="op", at=world.now))
        world.clock.advance(APP.absolute_lifetime + RETENTION)
        before = await world.store.read_head()
        assert await world.store.purge_sessions(retention=RETENTION, limit=10) == 1
        assert await world.store.read_head() == before
        user = await world.store.get_user(login.user.user_id)
        assert user is not None
        assert user.block is not None
        await world.store.unblock_user(login.user.user_id, by="op")
        assert (await world.login()).user.user_id == login.user.user_id

    async def test_replicas_at_once_remove_each_row_once(self, world: World) -> None:
        """Of replicas that sweep together each row is counted by one, and in the end all are gone."""
        stores = [world.store, await world.replica(), await world.replica()]
        for number in range(40):
            await world.login(f"{number}")
        world.clock.advance(APP.absolute_lifetime + RETENTION)
        removed = 0
        while (await world.store.count_rows())["sessions"]:
            sizes = await asyncio.gather(
                *(store.purge_sessions(retention=RETENTION, limit=7) for store in stores)
            )
            assert max(sizes) <= 7
            assert sum(sizes) > 0
            removed += sum(sizes)
        assert removed == 40


class TestCodeRetention:
    async def test_claims_that_are_over_go_and_others_stay(self, world: World) -> None:
        """In batches, oldest first; a claim that still holds is never touched."""
        hashes = [hashlib.sha256(b"%d" % number).digest() for number in range(6)]
        for number, code_hash in enumerate(hashes):
            ttl = HOUR if number == 5 else (number + 1) * MINUTE
            assert await world.store.claim_code(app_id="a", code_hash=code_hash, ttl=ttl)
        assert await world.store.purge_codes(limit=10) == 0
        world.clock.advance(5 * MINUTE)
        sizes = await all_batches(lambda: world.store.purge_codes(limit=2), limit=2)
        assert sizes == [2, 2, 1]
        assert not await world.store.claim_code(app_id="a", code_hash=hashes[5], ttl=HOUR)


class TestCompaction:
    async def test_useful_facts_stay_to_the_last_moment(self, world: World) -> None:
        """A fact is removed when no token can need it any more, and not before."""
        logins = [await world.login(f"{number}") for number in range(3)]
        facts = [(await world.logout(login)).facts[0] for login in logins]
        until = facts[0].useful_until
        assert until is not None
        world.clock.advance(until - world.now - SECOND)
        assert await world.store.compact_log(limit=10) == 0
        assert await world.log() == facts
        world.clock.advance(SECOND)
        assert await world.store.compact_log(limit=10) == 2
        assert await world.log() == facts[2:]

    async def test_the_newest_fact_is_never_removed(self, world: World) -> None:
        """However old it is: tailers stand on it. It goes once another is the newest."""
        first = (await world.logout(await world.login("a"))).facts[0]
        world.clock.advance(DAY)
        assert await world.store.compact_log(limit=10) == 0
        assert await world.log() == [first]
        assert (await world.store.read_head()).compacted_through == 0
        second = (await world.logout(await world.login("b"))).facts[0]
        assert await world.store.compact_log(limit=10) == 1
        assert await world.log() == [second]

    async def test_the_newest_fact_of_an_older_incarnation_stays_too(self, world: World) -> None:
        """A new incarnation has no fact of its own yet."""
        fact = (await world.logout(await world.login())).facts[0]
        await world.store.begin_incarnation(above=0)
        world.clock.advance(DAY)
        assert await world.store.compact_log(limit=10) == 0
        assert await world.log() == [fact]

    async def test_a_key_withdrawal_is_never_removed(self, world: World) -> None:
        """It is part of every snapshot, for ever."""
        await world.store.add_signing_key(
            SigningKeyRecord(kid="k", alg="ES256", public_jwk="{}", state="prepared", created_at=world.now)
        )
        withdrawal = (await world.store.write_key_withdrawal("k", by="operator")).facts[0]
        for number in range(3):
            await world.logout(await world.login(f"{number}"))
        world.clock.advance(10_000 * DAY)
        assert await world.store.compact_log(limit=10) == 2
        assert [fact.kind for fact in await world.log()] == [FactKind.KEY, FactKind.SESSION]
        assert (await world.store.read_live(after=0, limit=10))[1] == [withdrawal]

    async def test_the_mark_is_the_largest_position_removed_and_never_falls(self, world: World) -> None:
        """Also where a longer-lived fact below it stays, and when that one is removed later."""
        app = await world.store.end_app_sessions(
            APP.app_id, reason=EndReason.ADMIN, by="operator", longest_lifetime=DAY
        )
        for number in range(3):
            await world.logout(await world.login(f"{number}"))
        old = await world.store.read_head()
        world.clock.advance(3 * HOUR)
        assert await world.store.compact_log(limit=10) == 2
        head, live = await world.store.read_live(after=0, limit=10)
        assert (head.position, head.incarnation, head.compacted_through) == (4, old.incarnation, 3)
        assert live == list(app.facts)
        world.clock.advance(DAY)
        assert await world.store.compact_log(limit=10) == 1
        assert (await world.store.read_head()).compacted_through == 3
        assert [fact.position for fact in await world.log()] == [4]

    async def test_positions_go_on_where_they_were(self, world: World) -> None:
        """Compaction frees no position and takes none; batches are as small as asked."""
        for number in range(6):
            await world.logout(await world.login(f"{number}"))
        world.clock.advance(DAY)
        assert await all_batches(lambda: world.store.compact_log(limit=2), limit=2) == [2, 2, 1]
        written = await world.logout(await world.login("next"))
        assert written.facts[0].position == 7
        assert (await world.store.read_head()).compacted_through == 5

    async def test_a_gap_is_seen_only_below_the_mark(self, world: World) -> None:
        """Readers beside writers and compactors: what is missing from a read is at or below the mark it shows."""
        reader, compactor = await world.replica(), await world.replica()
        for number in range(30):
            await world.logout(await world.login(f"{number}"))
        world.clock.advance(DAY)
        logins = [await world.login(f"new-{number}") for number in range(20)]
        done = asyncio.Event()

        async def compact() -> None:
            while not done.is_set():
                await asyncio.gather(compactor.compact_log(limit=1), world.store.compact_log(limit=1))

        async def read() -> None:
            while not done.is_set():
                head, facts = await reader.read_from(1, limit=1000)
                present = {fact.position for fact in facts}
                assert head.position in present
                assert present >= set(range(head.compacted_through + 1, head.position + 1))

        async def write() -> None:
            for login in logins:
                await world.logout(login)
            done.set()

        await asyncio.gather(compact(), read(), write())
        assert [fact.position for fact in (await reader.read_live(after=0, limit=100))[1]] == list(
            range(31, 51)
        )


class TestCounting:
    async def test_rows_are_counted_by_table(self, world: World) -> None:
        """Every table is there; what was written shows."""
        await world.login("a")
        await world.logout(await world.login("b"))
        counted = await world.store.count_rows()
        assert (counted["users"], counted["identities"], counted["sessions"], counted["revocations"]) == (
            2,
            2,
            2,
            1,
        )
        assert (counted["login_codes"], counted["log_head"]) == (0, 1)
