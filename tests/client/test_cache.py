"""Remembered tokens: bounded in memory and by their expiry, and never a verdict."""

import gc
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from authsvc_client import Active, Inactive, InactiveReason
from authsvc_client.cache import TokenCache
from authsvc_client.judgement import believe
from authsvc_client.revocations import RevocationView, VerifiedToken
from authsvc_client.signatures import read_key_set
from authsvc_client.testing import FakeClock, TokenMint
from tests.client.conftest import AUDIENCE, Scene, eventually, scene_of
from tests.client.support import verified


def token(*, expires_at: int = 100) -> VerifiedToken:
    return verified(expires_at=expires_at)


def test_the_oldest_go_when_there_is_no_room() -> None:
    """
    The reckoned bytes never exceed the bound; what came last is there.
    """
    cache = TokenCache(max_bytes=100_000)
    for n in range(1000):
        cache.put(n.to_bytes(32, "big"), token(), length=500)
        assert cache.bytes_used <= 100_000
    assert cache.get((999).to_bytes(32, "big")) is not None
    assert cache.get((0).to_bytes(32, "big")) is None
    assert len(cache) >= 40


def test_the_expired_are_swept_and_nothing_else() -> None:
    """
    A sweep forgets what is expired, and the memory is free again; a cache of no bytes remembers nothing.
    """
    cache = TokenCache(max_bytes=100_000)
    for n in range(10):
        cache.put(n.to_bytes(32, "big"), token(expires_at=100 + n), length=500)
    cache.sweep(expired_at=104)
    assert [n for n in range(10) if cache.get(n.to_bytes(32, "big"))] == [5, 6, 7, 8, 9]
    cache.forget((5).to_bytes(32, "big"))
    cache.sweep(expired_at=1000)
    assert (len(cache), cache.bytes_used) == (0, 0)

    none = TokenCache(max_bytes=0)
    none.put(b"x" * 32, token(), length=500)
    assert len(none) == 0


def test_what_is_reckoned_is_what_it_takes() -> None:
    """
    2,000 different tokens take no more memory than the cache reckons, and not below half of it.
    """
    clock = FakeClock()
    mint = TokenMint(algorithm="EdDSA", clock=clock)
    keys = read_key_set(mint.jwks_json, issuer="authsvc", max_lifetime_s=86_400)
    texts = [
        mint.token(
            f"user-{n:020}", audience=AUDIENCE, scopes=["profile", "orders"], openid=f"o{n:027}"
        ).encode()
        for n in range(2000)
    ]
    cache, view = TokenCache(max_bytes=2**30), RevocationView()
    gc.collect()
    tracemalloc.start()
    try:
        for n, text in enumerate(texts):
            found = believe(text, keys=keys, view=view, now_s=clock.now_s())
            assert isinstance(found, VerifiedToken)
            cache.put(n.to_bytes(32, "big"), found, length=len(text))
        del found
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert cache.bytes_used / 2 <= taken <= cache.bytes_used


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scene_of(when_stale="unavailable") as built:
        yield built


async def test_a_hit_is_judged_anew(scene: Scene) -> None:
    """
    A remembered token is refused once its time is over or its key or session is gone, and by each call's own demand.
    """
    sid = scene.fake.mint.new_id()
    token = scene.token(session_id=sid, scopes=["a"])
    assert isinstance(await scene.verifier.verify(token, scopes=["a"]), Active)
    for demand in ({"scopes": ["b"]}, {"roles": ["r"]}, {"audience": "other"}):
        found = await scene.verifier.verify(token, **demand)
        assert isinstance(found, Inactive)
        assert found.is_insufficient
    scene.clock.jump_wall(7206)
    found = await scene.verifier.verify(token)
    assert isinstance(found, Inactive)
    assert found.reason is InactiveReason.EXPIRED
    scene.clock.jump_wall(-7206)
    assert isinstance(await scene.verifier.verify(token), Active)
    position = scene.fake.revoke_session(sid)
    await eventually(lambda: scene.verifier.position == position, "the fact")
    found = await scene.verifier.verify(token)
    assert isinstance(found, Inactive)
    assert found.reason is InactiveReason.SESSION_REVOKED
