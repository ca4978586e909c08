"""Principals and service keys: kept, told by a fact, ended for ever."""

import asyncio
from dataclasses import replace

from sqlalchemy import select

from authsvc.domain.ids import encode_id
from authsvc.domain.principals import Declared, Role
from authsvc.domain.revocations import FactKind
from authsvc.domain.service_keys import KeyRecord, hash_secret
from authsvc.storage.schema import audit, service_keys
from tests.storage.conformance.world import DAY, HOUR, World

SUPPORT = Declared(
    "support", frozenset({Role.OPERATOR, Role.VERIFIER}), frozenset({"b", "a"}), frozenset({"wxa"})
)


def key(number: int = 1, principal: str = "support") -> KeyRecord:
    return KeyRecord(encode_id(bytes([number]) * 16), principal, hash_secret(bytes([number]) * 32))


class TestCallers:
    async def test_what_is_added_is_read_by_every_replica(self, world: World) -> None:
        """The principal as it was said, the key with its hash, time, author and end; of the secret nothing."""
        record = replace(key(), expires_at=world.now + DAY)
        written = await world.store.add_service_key(record, principal=SUPPORT, by="somebody")
        assert written.value == SUPPORT
        for store in (world.store, await world.replica()):
            read = await store.read_callers()
            assert list(read.principals) == [SUPPORT]
            assert list(read.keys) == [replace(record, created_at=world.now, created_by="somebody")]
        [row] = world.backend.look(select(service_keys))
        assert bytes(row.secret_hash) == hash_secret(b"\x01" * 32)

    async def test_every_change_is_a_fact_about_the_principal(self, world: World) -> None:
        """In the log at once, useful for longer than anybody is away without reading everything anew."""
        added = await world.store.add_service_key(key(), principal=SUPPORT, by="x")
        revoked = await world.store.revoke_service_key(key().key_id, by="x")
        withdrawn = await world.store.withdraw_principal("support", by="x")
        for written in (added, revoked, withdrawn):
            [fact] = written.facts
            assert (fact.kind, fact.target, fact.app_filter) == (FactKind.PRINCIPAL, "support", "")
            assert fact.useful_until is not None
            assert fact.useful_until >= world.now + HOUR
        assert [fact.position for fact in await world.log()] == [1, 2, 3]

    async def test_a_known_principal_stays_as_it_is(self, world: World) -> None:
        """Another key changes nothing of it, whatever is said with it."""
        await world.store.add_service_key(key(), principal=SUPPORT, by="x")
        other = replace(SUPPORT, roles=frozenset({Role.EDGE}), apps=frozenset())
        written = await world.store.add_service_key(key(2), principal=other, by="x")
        assert written.value == SUPPORT
        read = await world.store.read_callers()
        assert (list(read.principals), len(read.keys)) == ([SUPPORT], 2)

    async def test_a_key_may_be_for_whom_the_record_does_not_know(self, world: World) -> None:
        """A file may declare the principal."""
        written = await world.store.add_service_key(key(principal="declared"), principal=None, by="x")
        assert written.value is None
        read = await world.store.read_callers()
        assert (list(read.principals), [one.principal for one in read.keys]) == ([], ["declared"])

    async def test_a_revoked_key_stays_so(self, world: World) -> None:
        """With time and author of the first time; a second one writes nothing; an unknown one is False."""
        await world.store.add_service_key(key(), principal=SUPPORT, by="x")
        revoked_at = world.now
        await world.store.revoke_service_key(key().key_id, by="first")
        world.clock.advance(HOUR)
        again = await world.store.revoke_service_key(key().key_id, by="second")
        assert (again.value, again.facts) == (True, ())
        [kept] = (await world.store.read_callers()).keys
        assert (kept.revoked_at, kept.revoked_by) == (revoked_at, "first")
        unknown = await world.store.revoke_service_key(key(9).key_id, by="x")
        assert (unknown.value, unknown.facts) == (False, ())

    async def test_a_withdrawal_ends_the_principal_and_its_keys(self, world: World) -> None:
        """It counts those that were good; others' are untouched; doing it again is None and writes nothing."""
        for number in (1, 2, 3):
            await world.store.add_service_key(key(number), principal=SUPPORT, by="x")
        await world.store.add_service_key(key(4, "other"), principal=replace(SUPPORT, name="other"), by="x")
        await world.store.revoke_service_key(key(3).key_id, by="x")
        assert (await world.store.withdraw_principal("support", by="x")).value == 2
        read = await world.store.read_callers()
        assert [one.name for one in read.principals] == ["other"]
        assert [one.revoked_at is None for one in read.keys if one.principal == "support"] == [False] * 3
        assert [one.revoked_at for one in read.keys if one.principal == "other"] == [None]
        again = await world.store.withdraw_principal("support", by="x")
        assert (again.value, again.facts) == (None, ())

    async def test_a_withdrawn_principal_may_come_back_as_another(self, world: World) -> None:
        """With a new key and what is said now; its old keys stay revoked."""
        await world.store.add_service_key(key(), principal=SUPPORT, by="x")
        await world.store.withdraw_principal("support", by="x")
        back = replace(SUPPORT, roles=frozenset({Role.EDGE}), audiences=frozenset(), apps=frozenset())
        await world.store.add_service_key(key(2), principal=back, by="x")
        read = await world.store.read_callers()
        assert list(read.principals) == [back]
        assert [one.key_id for one in read.keys if one.revoked_at is None] == [key(2).key_id]

    async def test_a_withdrawal_and_a_new_key_at_once(self, world: World) -> None:
        """In whatever order they come: no key of a withdrawn principal is good, unless it came after with the principal."""
        await world.store.add_service_key(key(), principal=SUPPORT, by="x")
        other = await world.replica()
        await asyncio.gather(
            world.store.withdraw_principal("support", by="x"),
            other.add_service_key(key(2), principal=SUPPORT, by="x"),
        )
        read = await world.store.read_callers()
        good = [one.key_id for one in read.keys if one.revoked_at is None]
        assert good == ([key(2).key_id] if read.principals else [])

    async def test_each_change_is_in_the_audit_trail(self, world: World) -> None:
        """Who, what, and of whom; never a secret or its hash."""
        await world.store.add_service_key(key(), principal=SUPPORT, by="somebody")
        await world.store.withdraw_principal("support", by="somebody")
        rows = world.backend.look(select(audit.c.event, audit.c.by, audit.c.details))
        assert {(row.event, row.by) for row in rows} == {
            ("principal.created", "somebody"),
            ("service_key.created", "somebody"),
            ("service_key.revoked", "somebody"),
            ("principal.withdrawn", "somebody"),
        }
        assert all("support" in row.details for row in rows)
        assert not any(hash_secret(b"\x01" * 32).hex() in row.details for row in rows)
