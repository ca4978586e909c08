"""The verifier for threads: same verdicts, from many threads at once, without a loop of the caller's."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

from authsvc_client import Active, CannotKnow, Cause, Inactive, InactiveReason, Settings, SyncVerifier
from authsvc_client.testing import FakeAuthsvc, TokenMint
from tests.client.conftest import AUDIENCE, eventually

PATIENT = Settings(start_wait=timedelta(seconds=30), when_stale="unavailable")


@pytest.fixture
async def fake() -> AsyncIterator[FakeAuthsvc]:
    async with FakeAuthsvc() as running:
        yield running


async def test_threads_verify_while_the_stream_runs(fake: FakeAuthsvc) -> None:
    """
    Eight threads judge good and foreign tokens; a revocation reaches all of them; reading one's own write works.
    """
    sid = fake.mint.new_id()
    token, other = (fake.mint.token(audience=AUDIENCE, session_id=one) for one in (sid, None))

    def work(verifier: SyncVerifier) -> list[object]:
        return [verifier.verify(text) for text in (token, other, "junk") for _ in range(100)]

    verifier = SyncVerifier(fake.target, audience=AUDIENCE, settings=PATIENT)
    assert await asyncio.to_thread(verifier.start)
    with ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(pool, work, verifier) for _ in range(8)))
        assert [[type(one) for one in each] for each in found] == [[Active] * 200 + [Inactive] * 100] * 8
        position = fake.revoke_session(sid)
        waited = await asyncio.gather(
            *(
                loop.run_in_executor(pool, lambda: verifier.wait_for(position, timeout=timedelta(seconds=30)))
                for _ in range(4)
            )
        )
    assert waited == [True] * 4
    refused = await asyncio.to_thread(verifier.verify, token)
    assert isinstance(refused, Inactive)
    assert refused.reason is InactiveReason.SESSION_REVOKED
    assert (verifier.is_ready, verifier.is_fresh, verifier.position) == (True, True, position)
    assert verifier.age is not None
    await asyncio.to_thread(verifier.close)
    closed: tuple[object, ...] = (verifier.is_ready, verifier.age, verifier.position)
    assert closed == (False, None, None)


async def test_a_stranger_costs_one_read_and_no_thread(fake: FakeAuthsvc) -> None:
    """
    Right after the first read an unknown key is "cannot know", for `verify` and `check` alike, without another read.
    """
    with_stranger = TokenMint().token(audience=AUDIENCE)
    verifier = SyncVerifier(fake.target, audience=AUDIENCE, settings=PATIENT)
    await asyncio.to_thread(verifier.start)
    for ask in (verifier.verify, verifier.check):
        with pytest.raises(CannotKnow) as unknown:
            await asyncio.to_thread(ask, with_stranger)
        assert unknown.value.cause is Cause.UNKNOWN_KEY
    await asyncio.to_thread(verifier.close)

    assert fake.key_reads == 1


async def test_it_asks_where_it_cannot_know() -> None:
    """
    No snapshot comes, `ask`: the server's answer is handed to the waiting thread.
    """
    async with FakeAuthsvc() as fake:
        fake.snapshot_ends = False
        settings = Settings(when_stale="ask", start_wait=timedelta(0), ask_timeout=timedelta(seconds=30))
        verifier = SyncVerifier(fake.target, audience=AUDIENCE, settings=settings)
        assert await asyncio.to_thread(verifier.start) is False
        found = await asyncio.to_thread(verifier.verify, fake.mint.token(audience=AUDIENCE))
        await asyncio.to_thread(verifier.close)

        assert isinstance(found, Active)
        assert len(fake.asked) == 1


async def test_it_leaves_no_thread_behind_and_can_start_again(fake: FakeAuthsvc) -> None:
    """
    Closed twice, started twice, over a channel of the caller's that stays open.
    """
    before = {thread.name for thread in threading.enumerate()}

    def life() -> list[object]:
        seen: list[object] = []
        with grpc.insecure_channel(fake.target) as channel:
            verifier = SyncVerifier(channel, audience=AUDIENCE, settings=PATIENT)
            for _ in range(2):
                with verifier:
                    seen.append(type(verifier.verify(token)))
                verifier.close()
        try:
            verifier.verify(token)
        except CannotKnow as unknown:
            seen.append(unknown.cause)
        return seen

    token = fake.mint.token(audience=AUDIENCE)
    assert await asyncio.to_thread(life) == [Active, Active, Cause.CLOSED]

    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if "authsvc" in thread.name} - before

    await eventually(lambda: not ours(), "the end of all threads")
