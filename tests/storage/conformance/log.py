"""The revocation log: order, snapshots, incarnations."""

from authsvc.domain.cursors import INCARNATION_STEP
from authsvc.domain.sessions import EndReason
from tests.storage.conformance.world import DAY, HOUR, MINUTE, World


class TestLog:
    async def test_new_log_is_empty_with_an_incarnation(self, world: World) -> None:
        """The head starts at 0 under a random name that lasts."""
        head = await world.store.read_head()
        assert (head.position, head.compacted_through, len(head.incarnation)) == (0, 0, 8)
        assert await (await world.replica()).read_head() == head
        assert await world.store.read_from(0, limit=10) == (head, [])

    async def test_positions_count_up_by_one(self, world: World) -> None:
        """Facts get consecutive positions, and the head is the last one."""
        facts = [(await world.logout(await world.login(f"{number}"))).facts[0] for number in range(5)]
        assert [fact.position for fact in facts] == [1, 2, 3, 4, 5]
        assert (await world.store.read_head()).position == 5
        assert await world.log() == facts

    async def test_read_from_includes_the_watermark(self, world: World) -> None:
        """A tailer reads its own watermark again, to compare the fact there."""
        facts = [(await world.logout(await world.login(f"{number}"))).facts[0] for number in range(5)]
        head, rest = await world.store.read_from(3, limit=10)
        assert rest == facts[2:]
        assert head.position == 5
        assert (await world.store.read_from(2, limit=2))[1] == facts[1:3]
        assert (await world.store.read_from(2**64 - 1, limit=2))[1] == []

    async def test_fact_ids_tell_facts_apart(self, world: World) -> None:
        """Each fact has its own 8 random bytes."""
        for number in range(5):
            await world.logout(await world.login(f"{number}"))
        ids = [fact.fact_id for fact in await world.log()]
        assert len(set(ids)) == 5
        assert {len(fact_id) for fact_id in ids} == {8}

    async def test_live_facts_are_those_still_useful(self, world: World) -> None:
        """A snapshot leaves out what no token can need any more, and pages by position."""
        for number in range(2):
            await world.logout(await world.login(f"old-{number}"))
        world.clock.advance(HOUR)
        new = [(await world.logout(await world.login(f"{number}"))).facts[0] for number in range(3)]
        assert len((await world.store.read_live(after=0, limit=10))[1]) == 5
        world.clock.advance(HOUR + 10 * MINUTE)
        head, facts = await world.store.read_live(after=0, limit=2)
        assert (head.position, facts) == (5, new[:2])
        assert (await world.store.read_live(after=facts[-1].position, limit=2))[1] == new[2:]

    async def test_incarnation_starts_a_step_above(self, world: World) -> None:
        """A new incarnation has another name, and every position of it is above all old ones."""
        await world.logout(await world.login())
        old = await world.store.read_head()
        new = await world.store.begin_incarnation(above=0)
        assert new.incarnation != old.incarnation
        assert new.position == old.position + INCARNATION_STEP
        assert await world.store.read_head() == new
        written = await world.logout(await world.login())
        assert written.facts[0].position == new.position + 1
        assert written.head.incarnation == new.incarnation

    async def test_incarnation_above_what_a_tailer_saw(self, world: World) -> None:
        """After a restore the head may be behind a tailer's watermark: the larger of the two counts."""
        new = await world.store.begin_incarnation(above=10_000)
        assert new.position == 10_000 + INCARNATION_STEP

    async def test_session_of_an_old_incarnation_lives_on(self, world: World) -> None:
        """A new incarnation by itself kills nobody."""
        login = await world.login()
        await world.store.begin_incarnation(above=0)
        assert (await world.rotate(login.token)).session.counter == 1

    async def test_written_head_is_at_or_above_its_facts(self, world: World) -> None:
        """Also a write without a fact says where the log stands."""
        login = await world.login()
        facts = (await world.kill_user(login.user)).facts
        later = await world.login()
        assert later.written.head.position >= facts[0].position

    async def test_ping_answers(self, world: World) -> None:
        """A record that can be read says so."""
        await world.store.ping()

    async def test_facts_survive_reopening(self, world: World) -> None:
        """Another store reads the same facts, and goes on where the log stood."""
        await world.logout(await world.login())
        replica = await world.replica()
        assert (await replica.read_from(0, limit=10))[1] == await world.log()
        login = await world.login(store=replica)
        written = await replica.end_session(login.id, reason=EndReason.ADMIN, by="op")
        assert written.facts[0].position == 2
        world.clock.advance(DAY)
