"""The signing keys as a process knows them."""

import asyncio
import json
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.domain.errors import StoreUnavailable
from authsvc.keys import DirectoryKeys
from authsvc.service.keys import KeyDirectory
from authsvc.service.verify import Refusal
from tests.support.core import Core, build_core, write_key
from tests.support.tokens import stranger

SOON = timedelta(milliseconds=1)


def directory(core: Core) -> KeyDirectory:
    """Another replica's keys: it has no private half."""
    return KeyDirectory(
        store=core.store.as_store(),
        material=DirectoryKeys([]),
        clock=core.clock,
        observer=core.observer,
        apps=core.apps,
        view=core.view,
    )


async def test_start_registers_own_keys_and_activates_one(tmp_path: Path) -> None:
    """After start the replica's key is in the store, active, published and able to sign."""
    async with build_core(tmp_path) as core:
        (record,) = await core.store.real.list_signing_keys()
        assert record.state == "active"
        assert core.signer.header.kid == record.kid
        (published,) = json.loads(core.keys.jwks_json)["keys"]
        assert published == {
            **json.loads(record.public_jwk),
            "use": "sig",
            "alg": "ES256",
            "kid": record.kid,
        }


async def test_a_prepared_key_is_published_before_it_signs(tmp_path: Path) -> None:
    """A second key is in the JWKS and verifies, while the first stays active."""
    async with build_core(tmp_path) as core:
        first = core.signer.header.kid
        write_key(tmp_path / "keys", core.clock)
    async with build_core(tmp_path) as core:
        kids = {key["kid"] for key in json.loads(core.keys.jwks_json)["keys"]}
        assert len(kids) == 2
        assert core.signer.header.kid == first
        assert all(core.keys.find(kid) is not None for kid in kids)


async def test_a_replica_without_the_active_key_verifies_and_does_not_issue(core: Core) -> None:
    """`signer` says StoreUnavailable rather than sign with another key."""
    keyless = directory(core)
    await keyless.start()
    assert keyless.find(core.signer.header.kid) is not None
    with pytest.raises(StoreUnavailable):
        keyless.signer()


async def test_many_strangers_share_one_read(core: Core) -> None:
    """A hundred tokens with unknown key ids cost one read of the store; the new key among them is found."""
    record, _ = stranger(core.clock)
    await core.store.real.add_signing_key(record)
    core.clock.advance(timedelta(seconds=1))
    before = core.store.calls["list_signing_keys"]
    arrived_at = core.clock.elapsed()
    found = await asyncio.gather(
        core.keys.find_fresh(record.kid, arrived_at=arrived_at),
        *(core.keys.find_fresh(f"kid{n}", arrived_at=arrived_at) for n in range(99)),
    )
    assert core.store.calls["list_signing_keys"] - before == 1
    assert found[0] is not None
    assert found[1:] == [None] * 99


async def test_reads_keep_a_gap_however_many_strangers_come(core: Core) -> None:
    """A stranger that arrives right after a read waits for the next slot instead of reading at once."""
    core.clock.advance(timedelta(seconds=1))
    assert await core.keys.find_fresh("kid1", arrived_at=core.clock.elapsed()) is None
    before = core.store.calls["list_signing_keys"]
    core.clock.advance(SOON)
    sleepers = core.clock.sleeping
    second = asyncio.create_task(core.keys.find_fresh("kid2", arrived_at=core.clock.elapsed()))
    await core.clock.until_sleeping(sleepers + 1)
    assert core.store.calls["list_signing_keys"] == before
    core.clock.advance(timedelta(milliseconds=50))
    assert await second is None
    assert core.store.calls["list_signing_keys"] == before + 1


async def test_a_read_that_began_before_the_token_arrived_proves_nothing(core: Core) -> None:
    """While an older read is under way, a newcomer's key may just have been added: it asks again."""
    core.clock.advance(timedelta(seconds=1))
    gate = core.store.hold("list_signing_keys", after=True)
    early = asyncio.create_task(core.keys.find_fresh("kid", arrived_at=core.clock.elapsed()))
    await gate.reached.wait()
    record, _ = stranger(core.clock)
    await core.store.real.add_signing_key(record)
    core.clock.advance(timedelta(seconds=1))
    late = asyncio.create_task(core.keys.find_fresh(record.kid, arrived_at=core.clock.elapsed()))
    gate.open()
    assert await early is None
    assert await late is not None


async def test_unknown_is_never_said_when_the_store_is_down(core: Core) -> None:
    """Not found because not asked is StoreUnavailable; a known key needs no store."""
    core.store.down = True
    core.clock.advance(timedelta(seconds=1))
    with pytest.raises(StoreUnavailable):
        await core.keys.find_fresh("kid", arrived_at=core.clock.elapsed())
    known = core.signer.header.kid
    assert await core.keys.find_fresh(known, arrived_at=core.clock.elapsed()) is not None
    core.store.down = False
    assert await core.keys.find_fresh("kid", arrived_at=core.clock.elapsed()) is None


async def test_a_caller_that_leaves_takes_the_shared_read_from_nobody(core: Core) -> None:
    """Of two that wait for one read, one is cancelled and the other is answered."""
    core.clock.advance(timedelta(seconds=1))
    gate = core.store.hold("list_signing_keys")
    arrived_at = core.clock.elapsed()
    leaving = asyncio.create_task(core.keys.find_fresh("kid1", arrived_at=arrived_at))
    await gate.reached.wait()
    staying = asyncio.create_task(core.keys.find_fresh("kid2", arrived_at=arrived_at))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    gate.open()
    assert await staying is None


async def test_an_unreadable_row_is_unusable_alone(core: Core) -> None:
    """One damaged row, or one of a state nobody knows, is told once by its id; the others are read as ever."""
    good, _ = stranger(core.clock)
    damaged, _ = stranger(core.clock)
    foreign, _ = stranger(core.clock)
    await core.store.real.add_signing_key(replace(damaged, public_jwk='{"kty":"EC","canary":1}'))
    await core.store.real.add_signing_key(replace(foreign, state="frozen"))
    await core.store.real.add_signing_key(good)
    for _ in range(2):
        core.clock.advance(timedelta(seconds=1))
        await core.keys.refresh()
    assert core.keys.find(good.kid) is not None
    for bad in (damaged, foreign):
        assert core.keys.find(bad.kid) is None
        assert bad.kid not in core.keys.jwks_json
    told = [event for event in core.observer.events if event.name == "key.unreadable"]
    assert sorted(str(event.fields["kid"]) for event in told) == sorted([damaged.kid, foreign.kid])
    assert core.keys.signer() is not None


async def test_nobody_signs_with_a_withdrawn_key(core: Core) -> None:
    """Told by the log before any read: `signer` refuses at once, the set is without it, and a login reads anew."""
    withdrawn = core.signer.header.kid
    core.material = write_key(core.path.parent / "keys", core.clock)
    assert await core.keys.adopt(core.material)
    core.clock.advance(timedelta(seconds=1))
    before = core.store.calls["list_signing_keys"]
    await core.store.real.write_key_withdrawal(withdrawn, by="operator")
    await core.polled()
    assert core.store.calls["list_signing_keys"] == before
    with pytest.raises(StoreUnavailable):
        core.keys.signer()
    assert withdrawn not in core.keys.jwks_json
    signer = await core.keys.active_signer()
    assert signer.header.kid != withdrawn
    result = await core.login()
    assert not isinstance(await core.judge(result.tokens.access_token), Refusal)


async def test_a_withdrawal_outlives_a_database_that_was_set_back(core: Core) -> None:
    """What this process once knew as withdrawn is not signed with, whatever the record says afterwards."""
    kid = core.signer.header.kid
    await core.store.real.write_key_withdrawal(kid, by="operator")
    core.clock.advance(timedelta(seconds=1))
    await core.keys.refresh()
    with sqlite3.connect(core.path) as connection:
        connection.execute("update signing_keys set state = 'active', withdrawn_at = null")
    core.clock.advance(timedelta(seconds=1))
    await core.keys.refresh()
    with pytest.raises(StoreUnavailable):
        core.keys.signer()
    assert kid not in core.keys.jwks_json


async def test_a_retired_key_leaves_the_set_when_its_last_token_is_dead(core: Core) -> None:
    """It goes on verifying here, so that a logout with an old token is understood."""
    retired = core.signer.header.kid
    assert await core.keys.adopt(write_key(core.path.parent / "keys", core.clock))
    await core.store.real.activate_key(published_for=timedelta(0), by="operator")
    core.clock.advance(timedelta(hours=2))
    await core.keys.refresh()
    assert retired in core.keys.jwks_json
    core.clock.advance(timedelta(minutes=11))
    await core.keys.refresh()
    assert retired not in core.keys.jwks_json
    assert core.keys.find(retired) is not None


async def test_material_that_loses_the_active_key_is_not_adopted(core: Core) -> None:
    """A key file that was taken away must not end all logins; other keys come and go."""
    assert not await core.keys.adopt(DirectoryKeys([]))
    assert core.keys.signer() is not None
    core.store.fail("add_signing_key")
    more = write_key(core.path.parent / "keys", core.clock)
    with pytest.raises(StoreUnavailable):
        await core.keys.adopt(more)
    assert core.keys.material is core.material
    assert await core.keys.adopt(more)
    assert len(json.loads(core.keys.jwks_json)["keys"]) == 2


async def test_a_withdrawn_key_is_neither_found_nor_published(core: Core) -> None:
    """After the next read it is known as withdrawn, and only so."""
    record, _ = stranger(core.clock)
    await core.store.real.add_signing_key(replace(record))
    await core.store.real.write_key_withdrawal(record.kid, by="operator")
    core.clock.advance(timedelta(seconds=1))
    assert await core.keys.find_fresh(record.kid, arrived_at=core.clock.elapsed()) is None
    assert record.kid in core.keys.withdrawn
    assert record.kid not in core.keys.jwks_json
