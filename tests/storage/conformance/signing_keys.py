"""Signing keys: public parts, states, withdrawal."""

from datetime import timedelta

from authsvc.domain.revocations import FactKind
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
        assert list(await world.store.list_signing_keys()) == [old, young]

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
