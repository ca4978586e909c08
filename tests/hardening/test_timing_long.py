"""
How long a refusal takes tells nobody what exists: known and unknown sessions, key ids and nearly right MACs.

Two classes of inputs in random order, each call timed alone, Welch's t over what is left after the slow tail is cut
(the method of dudect: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017). Its bound is 4.5.
"""

import gc
import math
import random  # noqa: TID251 - seeded, which is the point
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from authsvc.domain import refresh_token, service_keys
from authsvc.domain.errors import AuthError, RefreshTokenInvalid
from authsvc.domain.ids import ID_BYTES, decode_base64url, decode_id, encode_base64url, encode_id
from tests.hardening.judges import Bench, bench
from tests.support.core import Core

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
BOUND, SAMPLES, POOL, KEPT = 4.5, 120_000, 300, 0.9
Try = Callable[[str], Awaitable[object]]


@pytest.fixture
async def tried(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, cache_size=1) as built:
        yield built


async def welch(attempt: Try, one: Sequence[str], other: Sequence[str], *, samples: int = SAMPLES) -> float:
    """Welch's t of the times of *attempt* on the two classes, interleaved at random."""
    dice = random.Random(1)  # noqa: S311 - seeded, which is the point
    times: tuple[list[int], list[int]] = ([], [])
    # A fresh text for every call: where one of a few that are kept lies in memory would be part of what is measured.
    pools = tuple([text.encode() for text in texts] for texts in (one, other))
    gc.collect()
    gc.disable()
    try:
        for _ in range(samples):
            which = dice.getrandbits(1)
            text = pools[which][dice.randrange(len(pools[which]))].decode()
            began = time.perf_counter_ns()  # real time is what is measured
            await attempt(text)
            times[which].append(time.perf_counter_ns() - began)
    finally:
        gc.enable()
    cut = sorted([*times[0], *times[1]])[int(samples * KEPT)]
    kept = [[value for value in side if value <= cut] for side in times]
    assert min(len(side) for side in kept) > samples // 3
    means = [statistics.fmean(side) for side in kept]
    errors = [statistics.variance(side) / len(side) for side in kept]
    return (means[0] - means[1]) / math.sqrt(sum(errors))


def forged(core: Core, raw_session_id: bytes, dice: random.Random, *, flip: int = -1) -> str:
    """A refresh token that names this session; its MAC is wrong everywhere, or in one byte (of a right one)."""
    ring = core.rings.refresh_mac
    line = refresh_token.first_token(raw_session_id, nonce=dice.randbytes(16), key_id=ring.current_id)
    if flip < 0:
        ring = replace(ring, keys={ring.current_id: dice.randbytes(32)})
        return refresh_token.spell(line, ring=ring)
    text = refresh_token.spell(line, ring=ring)
    raw = bytearray(decode_base64url(text.removeprefix(refresh_token.PREFIX)) or b"")
    raw[len(raw) - 32 + flip] ^= 0x55
    return refresh_token.PREFIX + encode_base64url(bytes(raw))


async def live_sessions(core: Core) -> list[bytes]:
    """The ids of as many live sessions as there are inputs in a class."""
    found = []
    for number in range(POOL):
        login = await core.login(f"user-{number}")
        raw = decode_id(login.opened.session.session_id)
        assert raw is not None
        found.append(raw)
    return found


def refusing(core: Core) -> Try:
    """RefreshToken, refused."""

    async def attempt(text: str) -> None:
        with suppress(RefreshTokenInvalid):
            await core.refresh(text)
            raise AssertionError("a forged token was taken")

    return attempt


async def test_a_forged_refresh_token_does_not_tell_whether_its_session_lives(tried: Bench) -> None:
    """The MAC is judged before anything is looked up."""
    core, dice = tried.core, random.Random(2)  # noqa: S311 - seeded
    known = [forged(core, raw, dice) for raw in await live_sessions(core)]
    unknown = [forged(core, dice.randbytes(ID_BYTES), dice) for _ in range(POOL)]
    core.store.calls.clear()
    assert abs(await welch(refusing(core), known, unknown)) < BOUND
    assert sum(core.store.calls.values()) == 0


async def test_a_nearly_right_mac_takes_as_long_as_a_wrong_one(tried: Bench) -> None:
    """Wrong in the first byte or in the last: no byte-by-byte guessing."""
    core, dice = tried.core, random.Random(3)  # noqa: S311 - seeded
    ids = [dice.randbytes(ID_BYTES) for _ in range(POOL)]
    first = [forged(core, raw, dice, flip=0) for raw in ids]
    last = [forged(core, raw, dice, flip=31) for raw in ids]
    assert abs(await welch(refusing(core), first, last)) < BOUND


async def test_an_access_token_that_is_not_ours_does_not_tell_whether_its_session_lives(tried: Bench) -> None:
    """Signed by a stranger under our key's id, naming a live session or none: BAD_SIGNATURE after the same time."""
    core, dice = tried.core, random.Random(4)  # noqa: S311 - seeded
    ours, stranger = tried.keyring.ours["ES256"], tried.keyring.foreign["ES256"]

    def token(raw: bytes) -> str:
        return stranger.token(tried.payload(sid=encode_id(raw)), ours.header())

    known = [token(raw) for raw in await live_sessions(core)]
    unknown = [token(dice.randbytes(ID_BYTES)) for _ in range(POOL)]
    assert abs(await welch(tried.server, known, unknown)) < BOUND


async def test_reading_a_forged_token_does_not_tell_whether_its_session_lives(tried: Bench) -> None:
    """The reader alone, without what surrounds it and hides small differences: what Revoke does first, too."""
    core, dice = tried.core, random.Random(5)  # noqa: S311 - seeded
    known = [forged(core, raw, dice) for raw in await live_sessions(core)]
    unknown = [forged(core, dice.randbytes(ID_BYTES), dice) for _ in range(POOL)]

    async def parse(text: str) -> None:
        assert refresh_token.parse(text, ring=core.rings.refresh_mac) is None

    assert abs(await welch(parse, known, unknown)) < BOUND


async def test_a_service_key_that_is_wrong_in_its_last_byte_takes_as_long_as_any(tried: Bench) -> None:
    """What is compared is a hash, in constant time: near misses of the very key that is named are no nearer."""
    dice = random.Random(6)  # noqa: S311 - seeded
    secrets = {encode_id(dice.randbytes(ID_BYTES)): dice.randbytes(32) for _ in range(POOL)}
    records = {
        key_id: service_keys.KeyRecord(key_id, "shop", service_keys.hash_secret(secret))
        for key_id, secret in secrets.items()
    }

    async def present(text: str) -> None:
        presented = service_keys.parse_key(text)
        assert presented is not None
        assert not presented.proves(records[presented.key_id])

    near = [
        service_keys.make_key(key_id, secret[:31] + bytes([secret[31] ^ 1]))
        for key_id, secret in secrets.items()
    ]
    far = [service_keys.make_key(key_id, dice.randbytes(32)) for key_id in secrets]
    assert abs(await welch(present, near, far)) < BOUND


async def test_the_measurement_sees_a_leak(tried: Bench) -> None:
    """An attempt that takes a little longer for one class is found out."""

    async def attempt(text: str) -> None:
        for _ in range(60 if text == "slow" else 40):
            with suppress(AuthError):
                pass

    assert abs(await welch(attempt, ["slow"], ["quick"], samples=20_000)) > BOUND
