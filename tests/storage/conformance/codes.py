"""Claims on login codes."""

import hashlib
from datetime import timedelta

from sqlalchemy import func, select

from authsvc.storage.schema import login_codes
from tests.storage.conformance.world import SECOND, World

TTL = timedelta(minutes=10)


def digest(code: object) -> bytes:
    return hashlib.sha256(str(code).encode()).digest()


class TestLoginCodes:
    async def test_first_claim_wins(self, world: World) -> None:
        """A code is claimed once, by whatever store asks."""
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        assert not await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        assert not await (await world.replica()).claim_code(app_id="a", code_hash=digest(1), ttl=TTL)

    async def test_claims_are_per_app_and_code(self, world: World) -> None:
        """The same hash in another app, or another hash, is another claim."""
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        assert await world.store.claim_code(app_id="b", code_hash=digest(1), ttl=TTL)
        assert await world.store.claim_code(app_id="a", code_hash=digest(2), ttl=TTL)

    async def test_claim_holds_for_its_time(self, world: World) -> None:
        """Until the ttl is over the claim stands; then the code may be claimed again."""
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        world.clock.advance(TTL - SECOND)
        assert not await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        world.clock.advance(SECOND)
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        assert not await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)

    async def test_claim_ends_on_time_behind_many_others(self, world: World) -> None:
        """A claim that is over may be made again at that very instant, also while older ones wait to be purged."""
        for code in range(20):
            assert await world.store.claim_code(app_id="a", code_hash=digest(code), ttl=TTL)
            world.clock.advance(SECOND)
        world.clock.advance(TTL - SECOND)
        assert await world.store.claim_code(app_id="a", code_hash=digest(19), ttl=TTL)

    async def test_released_code_can_be_claimed_again(self, world: World) -> None:
        """Releasing forgets the claim; releasing what nobody claimed is nothing."""
        await world.store.release_code(app_id="a", code_hash=digest(1))
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        await world.store.release_code(app_id="b", code_hash=digest(1))
        assert not await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)
        await world.store.release_code(app_id="a", code_hash=digest(1))
        assert await world.store.claim_code(app_id="a", code_hash=digest(1), ttl=TTL)

    async def test_old_claims_go_away_as_new_ones_come(self, world: World) -> None:
        """The table does not grow with the service's age, and living claims are never purged."""
        for code in range(20):
            assert await world.store.claim_code(app_id="a", code_hash=digest(code), ttl=TTL)
        world.clock.advance(TTL)
        for code in range(20, 30):
            assert await world.store.claim_code(app_id="a", code_hash=digest(code), ttl=TTL)
        [(count,)] = world.backend.look(select(func.count()).select_from(login_codes))
        assert count == 10
        assert not await world.store.claim_code(app_id="a", code_hash=digest(25), ttl=TTL)
