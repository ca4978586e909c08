"""Long-lived streams behind the interceptors, with a real verifier: judged when they begin and, if asked for, again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc_client import AuthInterceptor, Cause, SyncAuthInterceptor, SyncVerifier, Verifier
from authsvc_client.testing import FakeAuthsvc, FakeClock, FakeVerifier
from tests.client.conftest import AUDIENCE, eventually, moved
from tests.client.guarded import (
    BOTH,
    DOWN,
    UP,
    AioGreeter,
    SyncGreeter,
    aio_service,
    bearer,
    sync_service,
)
from tests.support.server import read_refusal

EVERY = timedelta(seconds=10)


class Streaming:
    """An open stream of one kind, with its user's session to end."""

    def __init__(self, fake: FakeAuthsvc, verifier: Verifier, greeter: AioGreeter, clock: FakeClock) -> None:
        self.fake = fake
        self.verifier = verifier
        self.greeter = greeter
        self.clock = clock
        self.session_id = fake.mint.new_id()
        self.token = fake.mint.token(audience=AUDIENCE, session_id=self.session_id)

    async def revoke(self) -> None:
        assert await self.verifier.wait_for(
            self.fake.revoke_session(self.session_id), timeout=timedelta(seconds=30)
        )


@pytest.fixture
async def streaming() -> AsyncIterator[tuple[Streaming, Any]]:
    clock, greeter = FakeClock(), AioGreeter()
    async with FakeAuthsvc() as fake, Verifier(fake.target, audience=AUDIENCE) as verifier:
        guard = AuthInterceptor(verifier, recheck_streams=EVERY, clock=clock)
        async with (
            aio_service(guard, greeter) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            yield Streaming(fake, verifier, greeter, clock), channel


async def open_stream(streaming: Streaming, channel: Any, method: str) -> Any:
    """A call of *method* whose handler waits."""
    metadata: Any = bearer(streaming.token)
    if method == DOWN:
        down: Any = channel.unary_stream(DOWN)(b"wait", metadata=metadata)
        assert [await down.read(), await down.read()] == [b"0:alice", b"1:alice"]
        return down
    kind: Any = channel.stream_unary(UP) if method == UP else channel.stream_stream(BOTH)
    call = kind(metadata=metadata)
    await call.write(b"hi")
    if method == BOTH:
        assert await call.read() == b"hi:alice"
    await eventually(lambda: streaming.greeter.handled == 1, "the handler")
    return call


async def ended(call: Any) -> Any:
    """How a call ended, once it has."""
    code = await asyncio.wait_for(call.code(), 30)
    assert code is not grpc.StatusCode.OK
    return read_refusal(
        grpc.aio.AioRpcError(
            code, await call.initial_metadata(), await call.trailing_metadata(), await call.details(), None
        )
    )


@pytest.mark.parametrize("method", [DOWN, UP, BOTH])
async def test_a_silent_stream_ends_when_its_token_is_revoked(
    streaming: tuple[Streaming, Any], method: str
) -> None:
    """
    While the handler waits for something else: the next judgement ends it as a bad token, and it could clean up.
    """
    world, channel = streaming
    call = await open_stream(world, channel, method)
    world.clock.advance(11)  # judged again, and still good
    await world.revoke()
    assert not call.done()
    await eventually(lambda: moved(world.clock.advance, 1.0) or call.done(), "the end")
    refused = await ended(call)

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert (world.greeter.handled, world.greeter.cleaned) == (1, 1)


async def test_a_stream_that_ends_by_itself_ends_well(
    streaming: tuple[Streaming, Any],
) -> None:
    """
    Judged again several times and good: all messages come, the status is OK, and nobody watches any more.
    """
    world, channel = streaming
    call = await open_stream(world, channel, DOWN)
    for _ in range(5):
        world.clock.advance(10)
        await asyncio.sleep(0)  # noqa: TID251 - a turn for the judgement, waits for nothing
    world.greeter.speak.set()

    assert await call.read() == b"spoke"
    assert await call.code() is grpc.StatusCode.OK
    await eventually(lambda: not world.clock._sleepers, "the end of the watch")


async def test_a_client_that_goes_away_is_no_refusal(
    streaming: tuple[Streaming, Any],
) -> None:
    """
    The handler is cancelled as without a guard, and the watch ends with it.
    """
    world, channel = streaming
    call = await open_stream(world, channel, BOTH)
    call.cancel()

    await eventually(lambda: world.greeter.cleaned == 1, "the handler's end")
    await eventually(lambda: not world.clock._sleepers, "the end of the watch")


async def test_a_stream_goes_on_while_its_token_cannot_be_known() -> None:
    """
    Cannot know is no verdict: the stream stays; a verdict afterwards ends it.
    """
    clock, fake, greeter = FakeClock(), FakeVerifier(audience=AUDIENCE), AioGreeter()
    fake.accept("token")
    guard = AuthInterceptor(fake, recheck_streams=EVERY, clock=clock)
    async with aio_service(guard, greeter) as address, grpc.aio.insecure_channel(address) as channel:
        down: Any = channel.unary_stream
        call: Any = down(DOWN)(b"wait", metadata=bearer("token"))
        assert await call.read() == b"0:alice"
        assert await call.read() == b"1:alice"
        fake.cause = Cause.STALE
        asked = len(fake.asked)
        await eventually(lambda: moved(clock.advance, 1.0) or len(fake.asked) > asked + 2, "judgements")
        assert not call.done()
        fake.cause = None
        fake._verdicts.clear()
        await eventually(lambda: moved(clock.advance, 1.0) or call.done(), "the end")
        assert (await ended(call)).reason == "TOKEN_INVALID"


async def test_without_recheck_a_stream_outlives_its_token() -> None:
    """
    The token is judged when the stream begins: what was said is what is done.
    """
    greeter = AioGreeter()
    async with FakeAuthsvc() as fake, Verifier(fake.target, audience=AUDIENCE) as verifier:
        world = Streaming(fake, verifier, greeter, FakeClock())
        async with (
            aio_service(AuthInterceptor(verifier), greeter) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            call = await open_stream(world, channel, DOWN)
            await world.revoke()
            greeter.speak.set()
            assert await call.read() == b"spoke"
            assert await call.code() is grpc.StatusCode.OK


@pytest.fixture
def threaded() -> Iterator[SyncGreeter]:
    greeter = SyncGreeter()
    yield greeter
    greeter.speak.set()


async def test_a_threaded_stream_that_speaks_is_refused_one_that_is_silent_is_cancelled(
    threaded: SyncGreeter,
) -> None:
    """
    After a revocation the next message that would pass ends the stream as a bad token; where none passes it is cancelled.
    """
    loud, silent = FakeClock(), FakeClock()
    async with FakeAuthsvc() as fake:
        with SyncVerifier(fake.target, audience=AUDIENCE) as verifier:
            session_id = fake.mint.new_id()
            metadata = bearer(fake.mint.token(audience=AUDIENCE, session_id=session_id))

            def begin(address: str) -> tuple[grpc.Channel, Any]:
                channel = grpc.insecure_channel(address)
                down: Any = channel.unary_stream
                call: Any = down(DOWN)(b"wait", metadata=metadata)
                assert [next(call), next(call)] == [b"0:alice", b"1:alice"]
                return channel, call

            # On the first clock no time passes by itself, so only its own message can be the occasion.
            speaking = SyncAuthInterceptor(verifier, recheck_streams=EVERY, clock=loud)
            hushed = SyncAuthInterceptor(verifier, recheck_streams=timedelta(milliseconds=20), clock=silent)
            other = SyncGreeter()
            with sync_service(speaking, threaded) as first, sync_service(hushed, other) as second:
                (channel, call), (channel2, call2) = await asyncio.gather(
                    *(asyncio.to_thread(begin, address) for address in (first, second))
                )
                position = fake.revoke_session(session_id)
                assert await asyncio.to_thread(verifier.wait_for, position, timeout=timedelta(seconds=30))
                loud.advance(11)
                threaded.speak.set()
                refused = read_refusal(await asyncio.to_thread(_error_of, call))
                silent.advance(1)
                cancelled = await asyncio.to_thread(_error_of, call2)
                channel.close()
                channel2.close()

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    assert cancelled.code() is grpc.StatusCode.CANCELLED
    await eventually(
        lambda: not [one for one in threading.enumerate() if one.name == "authsvc-recheck"], "the watch's end"
    )


def _error_of(call: Any) -> Any:
    """The error that a stream ends with."""
    try:
        said = list(call)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"ended well, after {said}")
