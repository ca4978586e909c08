"""What happens to signing keys by itself: changes noticed, files looked at again, the next key activated, alarms."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from authsvc.domain.signing_keys import PUBLISHED_AHEAD, NotActivated
from authsvc.keys import DirectoryKeys
from authsvc.service.key_upkeep import LOOK_EVERY, READ_EVERY, KeyUpkeep
from tests.support.core import Core, build_core, write_key

DAY = timedelta(days=1)


def upkeep(core: Core, *, every: timedelta | None = None) -> KeyUpkeep:
    return KeyUpkeep(
        keys=core.keys,
        store=core.store.as_store(),
        tail=core.tail,
        clock=core.clock,
        observer=core.observer,
        rotate_every=every,
    )


def keys_of(core: Core) -> Path:
    return core.path.parent / "keys"


async def tended(core: Core, keeper: KeyUpkeep, after: timedelta = READ_EVERY) -> None:
    core.clock.advance(after)
    await keeper.tend()


def told(core: Core, *names: str) -> Sequence[str]:
    return [event.name for event in core.observer.events if event.name in names]


async def test_a_rotation_elsewhere_is_noticed_within_the_interval(core: Core) -> None:
    """Another process changed the record: this one signs with the new key after the next reading, and not before."""
    assert await core.keys.adopt(write_key(keys_of(core), core.clock))
    keeper = upkeep(core)
    old = core.signer.header.kid
    changed = await core.store.real.activate_key(published_for=timedelta(0), by="operator")
    await tended(core, keeper, READ_EVERY - timedelta(milliseconds=1))
    assert core.signer.header.kid == old
    await tended(core, keeper, timedelta(milliseconds=1))
    assert not isinstance(changed, NotActivated)
    assert [core.signer.header.kid, old] == list(changed)


async def test_a_withdrawal_is_acted_on_with_the_log(core: Core) -> None:
    """No interval is waited for: the poll that told it leads to the new key."""
    assert await core.keys.adopt(write_key(keys_of(core), core.clock))
    keeper = upkeep(core)
    core.clock.advance(timedelta(milliseconds=100))
    await core.store.real.write_key_withdrawal(core.signer.header.kid, by="operator")
    await core.polled()
    await keeper.tend()
    assert core.keys.active_kid
    assert core.signer.header.kid == core.keys.active_kid


async def test_a_running_upkeep_follows_the_tail(core: Core) -> None:
    """Started, it does all that by itself, survives a store that is away, and ends when told to."""
    assert await core.keys.adopt(write_key(keys_of(core), core.clock))
    keeper = upkeep(core)
    keeper.start()
    old = core.signer.header.kid
    core.store.down = True
    for _ in range(3):
        core.clock.advance(READ_EVERY)
        await core.clock.until_sleeping(1)
    core.store.down = False
    await core.store.real.activate_key(published_for=timedelta(0), by="operator")
    while core.signer.header.kid == old:
        core.clock.advance(READ_EVERY)
        await core.clock.until_sleeping(1)
        await asyncio.to_thread(lambda: None)
    await keeper.stop()
    await keeper.stop()


async def test_a_new_file_is_found_without_a_signal(core: Core) -> None:
    """Once a minute the directory is looked at: the key is registered, published, and told by its id."""
    keeper = upkeep(core)
    (known,) = core.material.local_keys()
    write_key(keys_of(core), core.clock)
    await tended(core, keeper, LOOK_EVERY - READ_EVERY)
    assert not told(core, "keys.reread")
    await tended(core, keeper)
    (event,) = core.observer.named("keys.reread")
    assert str(event.fields["added"]) in core.keys.jwks_json
    assert event.fields["added"] != known.kid
    await tended(core, keeper, LOOK_EVERY)
    assert len(core.observer.named("keys.reread")) == 1


async def test_what_cannot_be_used_changes_nothing_and_is_told_once(core: Core) -> None:
    """A file that is half copied, then one that takes the active key away: each told once, and signing goes on."""
    keeper = upkeep(core)
    half = keys_of(core) / "half.pem"
    half.touch(mode=0o600)
    for _ in range(2):
        await tended(core, keeper, LOOK_EVERY)
    (event,) = core.observer.named("keys.not_reread")
    assert "half.pem" in str(event.fields["error"])
    half.unlink()
    (active,) = keys_of(core).iterdir()
    write_key(keys_of(core), core.clock)
    active.unlink()
    for _ in range(2):
        await tended(core, keeper, LOOK_EVERY)
    assert len(core.observer.named("keys.not_reread")) == 2
    assert core.keys.signer() is not None
    assert keeper.cannot_issue == ""


async def test_a_schedule_is_kept_by_one_of_two_replicas(tmp_path: Path) -> None:
    """Both find it due, at once; one rotates and tells, and the other signs with the new key after its next reading."""
    async with build_core(tmp_path) as one:
        write_key(keys_of(one), one.clock)
    async with (
        build_core(tmp_path) as one,
        build_core(tmp_path, seed=2, clock=one.clock) as two,
    ):
        old = one.signer.header.kid
        both = [(core, upkeep(core, every=DAY)) for core in (one, two)]
        one.clock.advance(DAY - timedelta(seconds=1))
        for _, keeper in both:
            await keeper.tend()
        assert {one.signer.header.kid, two.signer.header.kid} == {old}
        one.clock.advance(timedelta(seconds=1))
        rounds = asyncio.gather(*(keeper.tend() for _, keeper in both))
        while not rounds.done():
            one.clock.advance(timedelta(milliseconds=60))  # the gap between two readings
            await asyncio.to_thread(lambda: None)
        await rounds
        for core, keeper in both:
            await tended(core, keeper)
        rotated = [event for core, _ in both for event in core.observer.named("key.rotated")]
        assert [event.fields["retired"] for event in rotated] == [old]
        assert one.signer.header.kid == two.signer.header.kid == rotated[0].fields["kid"]


async def test_a_schedule_waits_for_a_key_that_verifiers_know(core: Core) -> None:
    """Overdue, and the only prepared key is new: it takes over when it has been published long enough."""
    keeper = upkeep(core, every=DAY)
    old = core.signer.header.kid
    core.clock.advance(2 * DAY)
    assert await core.keys.adopt(write_key(keys_of(core), core.clock))
    await tended(core, keeper, PUBLISHED_AHEAD - timedelta(seconds=1))
    assert core.signer.header.kid == old
    core.clock.advance(timedelta(seconds=1))
    tending = asyncio.create_task(keeper.tend())
    while not tending.done():
        core.clock.advance(timedelta(milliseconds=60))
        await asyncio.to_thread(lambda: None)
    await tending
    assert core.signer.header.kid != old


async def test_operators_are_told_what_is_missing(core: Core) -> None:
    """No next key, a next key nobody here holds, no active key held: each once, and that it is over."""
    keeper = upkeep(core)
    keeper.start()
    await keeper.stop()
    assert told(core, "key.none_prepared") == ["key.none_prepared"]
    assert [core.observer.gauges[name]() for name in ("signing_keys_prepared", "signing_keys_missing")] == [
        0,
        0,
    ]
    whole = write_key(keys_of(core), core.clock)
    before = core.material
    assert await core.keys.adopt(whole)
    core.keys._material = before
    await tended(core, keeper)
    assert told(core, "key.next_missing") == ["key.next_missing"]
    await core.store.real.activate_key(published_for=timedelta(0), by="operator")
    for _ in range(2):
        await tended(core, keeper)
    assert told(core, "key.missing") == ["key.missing"]
    assert "does not hold" in keeper.cannot_issue
    assert core.observer.gauges["signing_keys_missing"]() == 1
    core.clock.advance(timedelta(hours=1))
    assert core.observer.gauges["signing_key_age_seconds"]() > 3600
    core.keys._material = whole
    await tended(core, keeper)
    assert told(core, "key.found") == ["key.found"]
    assert keeper.cannot_issue == ""


async def test_without_any_key_a_replica_says_so_and_heals(core: Core) -> None:
    """The only key is withdrawn: logins are refused as unavailable; the next key that comes is active at once."""
    keeper = upkeep(core)
    await core.store.real.write_key_withdrawal(core.signer.header.kid, by="operator")
    await core.polled()
    await tended(core, keeper)
    assert keeper.cannot_issue == "there is no active signing key"
    write_key(keys_of(core), core.clock)
    await tended(core, keeper, LOOK_EVERY)
    assert keeper.cannot_issue == ""
    assert isinstance(core.keys.material, DirectoryKeys)
