"""Closed batches of the audit trail: complete, once each, whoever seals; and what erasing and retention leave of them."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import select

from authsvc.domain.audit_verification import KeptCheckpoint
from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.keyring import KeyRing
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import AuditEntry, AuditQuery
from authsvc.service.audit_sealing import BATCH_ROWS, GRACE
from authsvc.storage.schema import audit, audit_batches
from tests.storage.conformance.world import DAY, MINUTE, World
from tests.support.audit import HALF_YEAR, judge, public_key, sealer

INDEX = BlindIndex(KeyRing(b"idx1", {b"idx1": b"x" * 32}))


async def write(world: World, count: int) -> None:
    await world.store.record_audit([AuditEntry("user.exported", "op", ip="") for _ in range(count)])


async def sealed(world: World) -> Sequence[KeptCheckpoint]:
    """Seal all that there is; return what the log was told."""
    world.clock.advance(GRACE)
    sealing, observer = sealer(world.store, world.clock)
    await sealing.seal()
    return [
        KeptCheckpoint(int(event.fields["batch"]), bytes.fromhex(str(event.fields["chain_hash"])))
        for event in observer.named("audit.checkpoint")
    ]


class TestSealing:
    async def test_batches_hold_every_row_once(self, world: World) -> None:
        """In bounded batches, chained and signed; told with what proves them; a second round has nothing to do."""
        await write(world, BATCH_ROWS)
        await world.login()
        kept = await sealed(world)
        assert [each.batch for each in kept] == [1, 2]
        verdict = await judge(world.store, *kept)
        assert verdict.findings == []
        assert (verdict.batches, verdict.rows, verdict.unsealed) == (2, BATCH_ROWS + 1, 0)
        assert await sealed(world) == []

    async def test_young_rows_wait(self, world: World) -> None:
        """What is younger than the longest transaction is left for the next round."""
        await write(world, 1)
        world.clock.advance(GRACE / 2)
        await write(world, 1)
        world.clock.advance(GRACE / 2)
        sealing, observer = sealer(world.store, world.clock)
        assert await sealing.seal() == 1
        assert observer.gauges["audit_unsealed_age_seconds"]() == GRACE.total_seconds()
        [batch] = world.backend.look(select(audit_batches))
        assert batch._mapping["rows"] == 1
        assert sorted(row.batch or 0 for row in world.backend.look(select(audit))) == [0, 1]

    async def test_many_sealers_close_each_batch_once(self, world: World) -> None:
        """Replicas that seal at once while rows come in: numbers without a hole, every row in one batch, no findings."""
        stores = [world.store, await world.replica(), await world.replica()]
        sealings = [sealer(store, world.clock) for store in stores]
        for _ in range(6):
            await asyncio.gather(*(write(world, 40) for _ in range(5)))
            world.clock.advance(GRACE)
            await asyncio.gather(*(sealing.seal() for sealing, _ in sealings), write(world, 10))
        await sealed(world)
        told = [
            event.fields["batch"] for _, observer in sealings for event in observer.named("audit.checkpoint")
        ]
        assert len(told) == len(set(told)), "a batch was told by a sealer that had not closed it"
        verdict = await judge(world.store)
        assert verdict.findings == []
        assert (verdict.rows, verdict.unsealed) == (6 * 210, 0)

    async def test_what_is_no_longer_right_is_not_closed(self, world: World) -> None:
        """A batch made from an old look, of rows that are sealed, or with a key that was withdrawn meanwhile."""
        await write(world, 2)
        await world.store.add_signing_key(public_key())
        world.clock.advance(GRACE)
        sealing, observer = sealer(world.store, world.clock)
        before = await world.store.read_unsealed(grace=GRACE, limit=10)
        assert await sealing.seal() == 1
        [event] = observer.named("audit.checkpoint")
        [checkpoint] = await world.store.list_checkpoints(after=0, limit=10)
        assert event.fields["proof"] == checkpoint.signature.hex()
        ids = [row.audit_id for row in before.rows]
        assert not await world.store.seal_batch(checkpoint, ids)
        await write(world, 1)
        await world.store.write_key_withdrawal(public_key().kid, by="op")
        world.clock.advance(GRACE)
        assert await sealing.seal() == 0
        assert len(await world.store.list_checkpoints(after=0, limit=10)) == 1

    async def test_a_change_behind_its_back_is_found(self, world: World) -> None:
        """Judged from the database as it is: what any update of a sealed row or batch does."""
        kept: list[KeptCheckpoint] = []
        for number in range(3):
            await world.login(f"person-{number}")
            kept += await sealed(world)
        one = (await world.store.list_audit(AuditQuery(limit=1)))[0]
        [checkpoint] = await world.store.list_checkpoints(after=1, limit=1)
        assert (one.batch, checkpoint.batch) == (1, 2)
        found = await judge(world.store, KeptCheckpoint(2, kept[0].chain_hash), KeptCheckpoint(4, b""))
        assert [(each.batch, each.defect.name) for each in found.findings] == [
            (2, "CHECKPOINT_DIFFERS"),
            (4, "TRUNCATED"),
        ]


class TestAuditErasure:
    async def test_addresses_and_reasons_go_and_the_chain_holds(self, world: World) -> None:
        """Of every id of the person, sealed before or after; nobody else's; and it is no defect."""
        client = ClientInfo(ip="203.0.113.7")
        one, two = await world.login("a", client=client), await world.login("b", client=client)
        other = await world.login("c", client=ClientInfo(ip="203.0.113.8"))
        await world.store.merge_users(
            one.user.user_id, two.user.user_id, by="op", reason="says he is reason-canary"
        )
        kept = list(await sealed(world))
        await world.login("a", client=client)
        await world.store.erase_user(two.user.user_id, index=INDEX, by="op", even_blocked=True)
        verdict = await judge(world.store, *kept)
        assert verdict.findings == []
        kept += await sealed(world)
        verdict = await judge(world.store, *kept)
        assert verdict.findings == []
        rows = world.backend.look(select(audit))
        text = str([tuple(row) for row in rows])
        assert "203.0.113.7" not in text
        assert "canary" not in text
        assert {row.ip for row in rows if row.user_id == other.user.user_id} == {"203.0.113.8"}
        theirs = [row for row in rows if row.user_id != other.user.user_id and row.event != "user.erased"]
        assert theirs
        assert all(row.salt is None for row in theirs)

    async def test_an_export_tells_the_person_their_rows(self, world: World) -> None:
        """With the address, the reason and the session of each."""
        login = await world.login(client=ClientInfo(ip="203.0.113.7"))
        export = await world.store.export_user(login.user.user_id)
        assert export is not None
        [row] = export["audit"]
        assert (row["event"], row["ip"], row["session_id"]) == ("session.opened", "203.0.113.7", login.id)


class TestAuditRetention:
    async def test_the_oldest_batches_go_and_leave_an_anchor(self, world: World) -> None:
        """Rows of old batches in bounded steps, their batches but the newest of them; the rest verifies from there."""
        for _ in range(3):
            await write(world, 30)
            await sealed(world)
        world.clock.advance(HALF_YEAR - MINUTE)
        kept: list[KeptCheckpoint] = []
        for _ in range(2):
            await write(world, 30)
            kept += await sealed(world)
        await write(world, 1)
        assert await world.store.purge_audit(retention=HALF_YEAR, limit=100) == 0
        world.clock.advance(DAY)
        assert [await world.store.purge_audit(retention=HALF_YEAR, limit=40) for _ in range(3)] == [
            40,
            40,
            10,
        ]
        assert await world.store.purge_audit(retention=HALF_YEAR, limit=40) == 0
        batches = await world.store.list_checkpoints(after=0, limit=10)
        assert [batch.batch for batch in batches] == [3, 4, 5]
        assert len(world.backend.look(select(audit))) == 61
        await sealed(world)
        verdict = await judge(world.store, *kept)
        assert verdict.findings == []
        assert (verdict.first_batch, verdict.last_batch, verdict.rows) == (3, 6, 61)
        younger = await judge(world.store, retention=HALF_YEAR + 30 * DAY)
        assert {each.defect.name for each in younger.findings} == {"BATCH_MISSING", "ROWS_MISSING"}

    async def test_what_is_not_sealed_stays(self, world: World) -> None:
        """However old: a trail that nobody seals is not thrown away."""
        await write(world, 2)
        world.clock.advance(400 * DAY)
        assert await world.store.purge_audit(retention=HALF_YEAR, limit=100) == 0
        verdict = await judge(world.store)
        assert [each.defect.name for each in verdict.findings] == ["NOT_SEALED"]

    async def test_a_trail_whose_rows_are_all_gone_goes_on(self, world: World) -> None:
        """The anchor stays as the newest batch, and the next one is chained to it."""
        await write(world, 2)
        await sealed(world)
        world.clock.advance(HALF_YEAR + DAY)
        assert await world.store.purge_audit(retention=HALF_YEAR, limit=100) == 2
        await write(world, 1)
        await sealed(world)
        verdict = await judge(world.store)
        assert verdict.findings == []
        assert (verdict.first_batch, verdict.last_batch) == (1, 2)
