"""Every position a write returned is seen by a tail, in order, without a gap that fills later."""

import asyncio

from authsvc.domain.revocations import Fact
from tests.storage.conformance.world import World


class Tail:
    """Follows the log by watermark, as a replica does, and remembers what it saw."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.seen: list[Fact] = []

    async def poll(self) -> None:
        watermark = self.seen[-1].position if self.seen else 0
        head, facts = await self._world.store.read_from(watermark, limit=7)
        assert all(fact.position <= head.position for fact in facts)
        if self.seen and facts:
            assert facts[0] == self.seen[-1]
            facts = facts[1:]
        self.seen += facts

    async def follow(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.poll()


class TestDelivery:
    async def test_tail_beside_writers_misses_nothing(self, world: World) -> None:
        """Two stores write while a tail reads in small pages: it sees each fact once, by ascending position."""
        replica = await world.replica()
        tail, done = Tail(world), asyncio.Event()
        following = asyncio.create_task(tail.follow(done))

        async def write(number: int) -> list[Fact]:
            store = (world.store, replica)[number % 2]
            login = await world.login(f"{number}", store=store)
            if number % 5 == 0:
                return list((await world.kill_user(login.user)).facts)
            return list((await world.logout(login)).facts)

        written = [fact for facts in await asyncio.gather(*map(write, range(120))) for fact in facts]
        done.set()
        await following
        while len(tail.seen) < len(written):
            before = len(tail.seen)
            await tail.poll()
            assert len(tail.seen) > before, "the tail stands still below what was written"
        assert tail.seen == sorted(written, key=lambda fact: fact.position)
        assert [fact.position for fact in tail.seen] == list(range(1, 121))

    async def test_answered_write_is_visible_at_once(self, world: World) -> None:
        """When a write has answered, any store reads its fact and a head that covers it."""
        replica = await world.replica()
        for number in range(10):
            written = await world.logout(await world.login(f"{number}"))
            head, facts = await replica.read_from(written.facts[0].position, limit=1)
            assert facts == [written.facts[0]]
            assert head.position >= written.head.position
