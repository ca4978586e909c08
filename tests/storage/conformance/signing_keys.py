"""Signing keys: public parts, states, activation by hand and by schedule, withdrawal."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from authsvc.domain.revocations import FactKind
from authsvc.domain.signing_keys import PUBLISHED_AHEAD, KeyProblemKind, NotActivated
from authsvc.ports import SigningKeyRecord
from tests.storage.conformance.world import DAY, World


def record(world: World, kid: str, *, age: int = 0) -> SigningKeyRecord:
    created_at = world.now - timedelta(minutes=age)
    return SigningKeyRecord(
        kid=kid, alg="ES256", public_jwk='{"kty":"EC"}', state="prepared", created_at=created_at
    )


async def states(world: World) -> dict[str, str]:
    return {key.kid: key.state for key in await world.store.list_signing_keys()}


class TestSigningKeys:
    async def test_keys_are_listed_oldest_first_as_added(self, world: World) -> None:
        """The list is by creation, whatever the order of adding."""
        young, old = record(world, "a"), record(world, "b", age=1)
        await world.store.add_signing_key(young)
        await world.store.add_signing_key(old)
        published = world.now
        assert list(await world.store.list_signing_keys()) == [
            replace(old, published_at=published),
            replace(young, published_at=published),
        ]

    async def test_adding_a_known_key_changes_nothing(self, world: World) -> None:
        """Every replica may add its keys at every start."""
        await world.store.add_signing_key(record(world, "a"))
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "a", age=5))
        assert await states(world) == {"a": "active"}

    async def test_first_activation_takes_the_oldest_once(self, world: World) -> None:
        """One key becomes active, and no second one however many replicas ask."""
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "a"))
        await world.store.add_signing_key(record(world, "b", age=1))
        for store in (world.store, await world.replica(), world.store):
            await store.activate_first_key()
        assert await states(world) == {"b": "active", "a": "prepared"}

    async def test_withdrawal_is_for_ever_and_in_the_log(self, world: World) -> None:
        """The state changes with a permanent fact; a withdrawn key is never activated again."""
        await world.store.add_signing_key(record(world, "a"))
        written = await world.store.write_key_withdrawal("a", by="operator")
        assert written.value
        [fact] = written.facts
        assert (fact.kind, fact.target, fact.useful_until) == (FactKind.KEY, "a", None)
        world.clock.advance(1000 * DAY)
        assert (await world.store.read_live(after=0, limit=10))[1] == [fact]
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "a"))
        assert await states(world) == {"a": "withdrawn"}

    async def test_second_withdrawal_writes_nothing(self, world: World) -> None:
        """Withdrawing twice is success with one fact."""
        await world.store.add_signing_key(record(world, "a"))
        first = await world.store.write_key_withdrawal("a", by="operator")
        again = await world.store.write_key_withdrawal("a", by="operator")
        assert (again.value, again.facts, again.head) == (True, (), first.head)

    async def test_unknown_key_is_false(self, world: World) -> None:
        """There is nothing to withdraw, and the log stays empty."""
        written = await world.store.write_key_withdrawal("nobody", by="operator")
        assert (written.value, written.facts) == (False, ())
        assert await world.log() == []

    async def test_withdrawing_the_active_key_activates_the_next_with_it(self, world: World) -> None:
        """One transaction: no moment without an active key, one fact, and the successor however young it is."""
        for kid, age in (("a", 2), ("b", 1), ("c", 0)):
            await world.store.add_signing_key(record(world, kid, age=age))
        await world.store.activate_first_key()
        written = await world.store.write_key_withdrawal("a", by="operator")
        assert [fact.target for fact in written.facts] == ["a"]
        assert await states(world) == {"a": "withdrawn", "b": "active", "c": "prepared"}
        by_kid = {key.kid: key for key in await world.store.list_signing_keys()}
        assert (by_kid["a"].withdrawn_at, by_kid["b"].activated_at) == (world.now, world.now)

    async def test_activation_retires_the_active_key(self, world: World) -> None:
        """The two change together, with their instants; the answer names the new one first."""
        await world.store.add_signing_key(record(world, "a", age=1))
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "b"))
        world.clock.advance(PUBLISHED_AHEAD)
        changed = await world.store.activate_key(published_for=PUBLISHED_AHEAD, by="operator")
        assert not isinstance(changed, NotActivated)
        assert list(changed) == ["b", "a"]
        assert await states(world) == {"a": "retired", "b": "active"}
        by_kid = {key.kid: key for key in await world.store.list_signing_keys()}
        assert (by_kid["a"].retired_at, by_kid["b"].activated_at) == (world.now, world.now)
        assert await world.log() == []

    async def test_a_refused_activation_changes_nothing(self, world: World) -> None:
        """Too young, unknown, not prepared, none there: said, and every row stays as it was."""
        await world.store.add_signing_key(record(world, "a", age=1))
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "b"))
        world.clock.advance(PUBLISHED_AHEAD - timedelta(seconds=1))
        before = await world.store.list_signing_keys()
        for kid, problem in (
            ("b", KeyProblemKind.TOO_YOUNG),
            ("x", KeyProblemKind.UNKNOWN),
            ("a", KeyProblemKind.NOT_PREPARED),
        ):
            refused = await world.store.activate_key(kid, published_for=PUBLISHED_AHEAD, by="operator")
            assert isinstance(refused, NotActivated)
            assert refused.problem is problem
        assert list(await world.store.list_signing_keys()) == list(before)

    async def test_publication_is_noted_once(self, world: World) -> None:
        """Replicas that add the key again later do not make it younger."""
        await world.store.add_signing_key(record(world, "a"))
        first = world.now
        world.clock.advance(DAY)
        await world.store.add_signing_key(record(world, "a"))
        (key,) = await world.store.list_signing_keys()
        assert key.published_at == first

    async def test_of_many_that_rotate_at_once_one_does(self, world: World) -> None:
        """Replicas that find the same rotation due: one is answered with keys, the others with none."""
        await world.store.add_signing_key(record(world, "a", age=1))
        await world.store.activate_first_key()
        for kid in ("b", "c"):
            await world.store.add_signing_key(record(world, kid))
        stores = [world.store, *[await world.replica() for _ in range(3)]]
        held = frozenset("abc")

        async def rotate() -> list[list[str]]:
            answers = await asyncio.gather(
                *(
                    store.rotate_key_if_due(every=DAY, published_for=PUBLISHED_AHEAD, held=held)
                    for store in stores * 5
                )
            )
            return [list(answer) for answer in answers if answer]

        assert await rotate() == []
        world.clock.advance(DAY)
        assert await rotate() == [["b", "a"]]
        assert await states(world) == {"a": "retired", "b": "active", "c": "prepared"}

    async def test_activations_and_withdrawals_at_once_leave_one_active_key(self, world: World) -> None:
        """Whoever comes first: never two active keys, never none while one is prepared."""
        kids = [f"k{n}" for n in range(8)]
        for kid in kids:
            await world.store.add_signing_key(record(world, kid))
        stores = [world.store, await world.replica(), await world.replica()]
        await asyncio.gather(
            *(store.activate_first_key() for store in stores),
            *(
                stores[n % 3].activate_key(kid, published_for=timedelta(0), by="operator")
                for n, kid in enumerate(kids[:4])
            ),
            *(stores[n % 3].write_key_withdrawal(kid, by="operator") for n, kid in enumerate(kids[2:6])),
        )
        found = await states(world)
        assert list(found.values()).count("active") == 1
        assert [found[kid] for kid in kids[2:6]] == ["withdrawn"] * 4

    async def test_a_schedule_is_for_prepared_keys(self, world: World) -> None:
        """The instant is noted and taken back; it leads to nothing before, and to the key at that moment."""
        await world.store.add_signing_key(record(world, "a", age=1))
        await world.store.activate_first_key()
        await world.store.add_signing_key(record(world, "b"))
        at = world.now + DAY
        assert not await world.store.schedule_key("a", at=at, by="operator")
        assert not await world.store.schedule_key("x", at=at, by="operator")
        assert await world.store.schedule_key("b", at=at, by="operator")
        assert await world.store.schedule_key("b", at=None, by="operator")
        world.clock.advance(2 * DAY)
        rotate = world.store.rotate_key_if_due
        assert list(await rotate(every=None, published_for=PUBLISHED_AHEAD, held={"a", "b"})) == []
        assert await world.store.schedule_key("b", at=at, by="operator")
        assert list(await rotate(every=None, published_for=PUBLISHED_AHEAD, held={"a"})) == []
        assert list(await rotate(every=None, published_for=PUBLISHED_AHEAD, held={"b"})) == ["b", "a"]
        (_, active) = await world.store.list_signing_keys()
        assert (active.activate_at, active.activated_at) == (None, world.now)

    async def test_a_state_of_another_release_is_left_alone(self, world: World) -> None:
        """Its row is listed as it is and takes part in nothing; the other keys live on."""
        await world.store.add_signing_key(replace(record(world, "a", age=1), state="frozen"))
        await world.store.add_signing_key(record(world, "b"))
        await world.store.activate_first_key()
        assert await states(world) == {"a": "frozen", "b": "active"}
        refused = await world.store.activate_key("a", published_for=timedelta(0), by="operator")
        assert isinstance(refused, NotActivated)
