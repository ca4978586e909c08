"""Where keys come from: one read for all, never more than one in ten seconds for strangers, the last good set kept."""

import asyncio
import json
import random  # noqa: TID251 - seeded
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authsvc_client import Active, CannotKnow, Cause, Inactive, InactiveReason
from authsvc_client.testing import TokenMint
from tests.client.conftest import AUDIENCE, Scene, eventually, moved, scene_of


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scene_of(when_stale="unavailable") as built:
        yield built


async def keep_alive(scene: Scene, seconds: int) -> None:
    """Let seconds pass with a heartbeat in each."""
    for _ in range(seconds):
        await scene.pass_time(1)
        age = scene.verifier.age
        scene.fake.heartbeat()
        await eventually(lambda: scene.verifier.age == timedelta(0), f"a confirmation after {age}")


async def test_an_unknown_key_is_unknown_only_by_a_later_read(scene: Scene) -> None:
    """
    The first stranger in ten seconds is refused by a read of its own; the next one cannot be known until ten seconds on.
    """
    await keep_alive(scene, 11)
    stranger = TokenMint(clock=scene.clock)
    found = await scene.verifier.verify(stranger.token(audience=AUDIENCE))
    assert isinstance(found, Inactive)
    assert found.reason is InactiveReason.UNKNOWN_KEY
    assert scene.fake.key_reads == 2

    scene.clock.advance(1)
    with pytest.raises(CannotKnow) as unknown:
        await scene.verifier.verify(stranger.token(audience=AUDIENCE))
    assert unknown.value.cause is Cause.UNKNOWN_KEY
    assert unknown.value.retry_after == timedelta(seconds=9)
    assert scene.fake.key_reads == 2
    await keep_alive(scene, 10)
    found = await scene.verifier.verify(stranger.token(audience=AUDIENCE))
    assert isinstance(found, Inactive)
    assert scene.fake.key_reads == 3


async def test_a_new_key_is_found_by_whoever_comes_first(scene: Scene) -> None:
    """
    A hundred callers with a key nobody here knows yet: one read, a hundred good answers.
    """
    await keep_alive(scene, 11)
    new = TokenMint(clock=scene.clock)
    scene.fake.mints.append(new)
    tokens = [new.token(f"user-{n}", audience=AUDIENCE) for n in range(100)]
    answers = await asyncio.gather(*(scene.verifier.verify(token) for token in tokens))

    assert all(isinstance(answer, Active) for answer in answers)
    assert scene.fake.key_reads == 2


async def test_check_begins_the_read_that_it_cannot_wait_for(scene: Scene) -> None:
    """
    The synchronous path says CannotKnow for a new key, and knows it soon after.
    """
    await keep_alive(scene, 11)
    new = TokenMint(clock=scene.clock)
    scene.fake.mints.append(new)
    token = new.token(audience=AUDIENCE)
    with pytest.raises(CannotKnow):
        scene.verifier.check(token)
    await eventually(lambda: scene.hooks.reads == [True, True], "the read")

    assert isinstance(scene.verifier.check(token), Active)


async def test_a_flood_of_random_key_ids_costs_a_read_in_ten_seconds(scene: Scene) -> None:
    """
    10,000 tokens with a key id each: at most one read per ten seconds, none of them accepted, good tokens unharmed.
    """
    dice = random.Random(7)  # noqa: S311 - seeded
    good = scene.token()
    claims = scene.fake.mint.claims(audience=AUDIENCE)
    parts = scene.fake.mint.sign(claims).split(".")
    from authsvc_client.tokens import encode_base64url

    begun = scene.fake.key_reads
    await keep_alive(scene, 11)
    for _ in range(2):
        for _ in range(50):
            flood = []
            for _ in range(100):
                header = {"typ": "at+jwt", "alg": "ES256", "kid": f"{dice.getrandbits(64):x}"}
                head = encode_base64url(json.dumps(header).encode()).decode()
                flood.append(scene.verifier.verify(".".join([head, *parts[1:]])))
            answers = await asyncio.gather(*flood, scene.verifier.verify(good), return_exceptions=True)
            assert isinstance(answers.pop(), Active)
            for answer in answers:
                assert isinstance(answer, Inactive | CannotKnow)
        await keep_alive(scene, 10)

    assert scene.fake.key_reads - begun == 2
    assert scene.verifier._engine is not None
    assert len(scene.verifier._engine.cache) == 1


async def test_the_last_good_keys_stay_when_reads_fail(scene: Scene) -> None:
    """
    However long GetJwks fails, known keys verify; the reads are tried again and again, ever more slowly.
    """
    token = scene.token(lifetime=timedelta(hours=2))
    scene.fake.keys_fail = True
    await eventually(lambda: moved(scene.clock.advance, 30) or len(scene.hooks.reads) >= 4, "failed reads")
    scene.fake.heartbeat()
    await eventually(lambda: moved(scene.clock.advance, 0.05) or scene.verifier.is_fresh, "freshness")

    assert scene.hooks.reads[1:4] == [False] * 3
    assert isinstance(await scene.verifier.verify(token), Active)


async def test_keys_are_read_ahead_of_their_age(scene: Scene) -> None:
    """
    With a max_age of 100 s the next read comes after 50 to 90 s, without anybody asking.
    """
    scene.fake.max_age = timedelta(seconds=100)
    await eventually(lambda: moved(scene.clock.advance, 10) or scene.fake.key_reads == 2, "the first renewal")
    await eventually(lambda: len(scene.hooks.reads) == 2, "its end")
    before = scene.clock.elapsed_s()
    await eventually(lambda: moved(scene.clock.advance, 5) or scene.fake.key_reads == 3, "the second renewal")

    assert scene.clock.elapsed_s() - before >= 50


async def test_a_key_withdrawn_in_the_answer_is_withdrawn(scene: Scene) -> None:
    """
    GetJwks may say it before the stream does; then even a failing rest of the answer cannot bring the key back.
    """
    token = scene.token()
    assert isinstance(await scene.verifier.verify(token), Active)
    second = TokenMint(clock=scene.clock)
    scene.fake.mints.append(second)
    await keep_alive(scene, 11)
    assert isinstance(await scene.verifier.verify(second.token(audience=AUDIENCE)), Active)
    for stream in list(scene.fake._streams):
        scene.fake._streams.discard(stream)  # the fact itself does not arrive
    scene.fake.withdraw_key(scene.fake.mint.kid)
    await eventually(lambda: moved(scene.clock.advance, 0.5) or scene.fake.key_reads >= 3, "the next read")
    await eventually(lambda: len(scene.hooks.reads) >= 3, "its end")
    found = await scene.verifier.verify(token)

    assert isinstance(found, Inactive)
    assert found.reason is InactiveReason.KEY_WITHDRAWN
