"""
The guard against aiohttp's own resending, on real sockets, and the proof that it is needed.

The client opens a connection per exchange; the guard holds on pooled ones as well, so both are shown.
"""

import asyncio
import contextlib

import pytest
from aiohttp import ClientConnectorError, ClientError, ClientSession, TCPConnector

from authsvc.wechat.send_once import SecondSendRefused, SendOnce, written_trace
from tests.wechat.wire import Behaviour, Visit, be_good, drop, refused_url, serving


async def answer_then_drop(visit: Visit) -> None:
    """Keep the connection alive after the first answer, so that it is pooled; never answer again."""
    if visit.connection == 1 and b"/first" in visit.request:
        await visit.answer()
    else:
        visit.drop()


async def answer_then_reset(visit: Visit) -> None:
    if b"/first" in visit.request:
        await visit.answer()
    else:
        visit.reset()


async def get(session: ClientSession, url: str, guard: SendOnce | None) -> None:
    middlewares = () if guard is None else (guard,)
    async with session.get(url, middlewares=middlewares, trace_request_ctx=guard or SendOnce()) as response:
        await response.read()


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("force_close", [True, False])
async def test_dropped_on_a_fresh_connection(guarded: bool, force_close: bool) -> None:
    """With the guard a dropped GET arrives once; without it aiohttp sends it twice, whatever `force_close` says."""
    async with (
        serving(drop) as peer,
        ClientSession(
            connector=TCPConnector(force_close=force_close), trace_configs=[written_trace()]
        ) as session,
    ):
        with pytest.raises((ClientError, SecondSendRefused)):
            await get(session, peer.url, SendOnce() if guarded else None)
    assert (1 if guarded else 2) == len(peer.visits)


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("behave", [answer_then_drop, answer_then_reset])
async def test_dropped_on_a_pooled_connection(guarded: bool, behave: Behaviour) -> None:
    """The same on a connection that has served a request before."""
    async with serving(behave) as peer, ClientSession(trace_configs=[written_trace()]) as session:
        await get(session, f"{peer.url}/first", SendOnce())
        with pytest.raises((ClientError, SecondSendRefused)):
            await get(session, f"{peer.url}/second", SendOnce() if guarded else None)
    second = [visit for visit in peer.visits if b"/second" in visit.request]
    assert second[0].connection == 1, "the connection was pooled, or this test shows nothing"
    assert (1 if guarded else 2) == len(second)


async def test_guard_knows_that_bytes_may_have_left() -> None:
    """After a drop the guard says so, and keeps the reason of the first send, not its own refusal."""
    guard = SendOnce()
    async with serving(drop) as peer, ClientSession(trace_configs=[written_trace()]) as session:
        with contextlib.suppress(ClientError, SecondSendRefused):
            await get(session, peer.url, guard)
    assert (guard.may_be_written, guard.fault) == (True, "disconnected")


async def test_guard_knows_that_nothing_was_written() -> None:
    """While connecting fails, nothing may have been written."""
    guard = SendOnce()
    async with ClientSession(trace_configs=[written_trace()]) as session:
        with pytest.raises(ClientConnectorError):
            await get(session, refused_url(), guard)
    assert (guard.may_be_written, guard.fault) == (False, "connect")


async def test_guard_speaks_before_the_first_byte() -> None:
    """When the peer has the request, the guard has long known: there is no moment of false innocence."""
    guard = SendOnce()
    seen: list[bool] = []

    async def look(visit: Visit) -> None:
        seen.append(guard.may_be_written)
        await be_good(visit)

    async with serving(look) as peer, ClientSession(trace_configs=[written_trace()]) as session:
        await get(session, peer.url, guard)
    assert seen == [True]


async def test_a_guard_serves_one_request_for_ever() -> None:
    """A guard that has seen one request refuses the next, however the first ended."""
    guard = SendOnce()
    async with serving(be_good) as peer, ClientSession(trace_configs=[written_trace()]) as session:
        await get(session, peer.url, guard)
        with pytest.raises(SecondSendRefused):
            await get(session, peer.url, guard)
        assert len(peer.visits) == 1


async def test_pooled_connections_mix_up_answers() -> None:
    """
    Why the client pools nothing: aiohttp hands a stray answer on an idle connection to the next request.

    If this fails, aiohttp has learned to drop such connections, and docs/decisions/0004 can be looked at again.
    """
    idle, stray_sent = asyncio.Event(), asyncio.Event()

    async def stray(visit: Visit) -> None:
        await visit.answer(visit.target.encode())
        if visit.target == "/first":
            await idle.wait()
            await visit.answer(b"somebody else's")
            stray_sent.set()

    async with serving(stray) as peer, ClientSession() as session:
        async with session.get(f"{peer.url}/first") as response:
            assert await response.read() == b"/first"
        idle.set()
        await stray_sent.wait()
        for _ in range(20):  # turns of the loop in which the session reads what has arrived
            await asyncio.sleep(0)  # noqa: TID251 - yields, waits for nothing
        async with session.get(f"{peer.url}/second") as response:
            assert await response.read() == b"somebody else's"
