"""Fuzz inputs: no crash, no INTERNAL. The million runs in test_fuzz_long; here are some twenty thousand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.edge.wire import running
from tests.hardening.edge_target import Edge
from tests.hardening.fuzzing import Dice, fuzz, total
from tests.hardening.judges import Bench, bench
from tests.hardening.targets import Parsers, Rpcs, WeChatAnswers


@pytest.fixture
async def tried(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as built:
        yield built


async def test_token_texts(tried: Bench) -> None:
    """Every reader of tokens gives an answer to every text, and the server's and the client's the same one."""
    parsers = Parsers(tried)
    fuzz(parsers.try_one, programs=60)
    assert total(parsers.counts) > 9_000


async def test_wechat_answers() -> None:
    """Whatever a body holds, it grants, refuses or is unreadable."""
    answers = WeChatAnswers()
    fuzz(answers.try_one, programs=40)
    assert total(answers.counts) > 8_000


async def test_rpc_bytes(tried: Bench) -> None:
    """Whatever bytes a method is sent, its status is one of the contract's: never INTERNAL, never an exception."""
    rpcs = Rpcs(tried, Parsers(tried))
    await try_rpcs(tried, rpcs, programs=40)
    assert total(rpcs.counts) > 2_000
    assert len(rpcs.counts) == len(rpcs._methods)
    assert {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED"} <= rpcs.codes.keys()


async def test_edge_requests() -> None:
    """JSON, headers and queries of any kind: an answer, and never a 500."""
    async with running() as world:
        edge = Edge(world)
        await in_thread(edge.try_one, programs=4)
        assert total(edge.counts) > 200
        assert {200, 400} <= edge.statuses.keys()


async def try_rpcs(tried: Bench, rpcs: Rpcs, *, programs: int) -> None:
    """Hypothesis runs in a thread, where it may block, and the requests in this loop."""
    login = await tried.core.login()
    rpcs.know(
        login.tokens.access_token,
        login.tokens.refresh_token,
        login.opened.session.session_id,
        login.opened.user.user_id,
        login.openid,
    )
    await in_thread(rpcs.try_one, programs=programs)


async def in_thread(body: Callable[[Dice], Awaitable[None]], *, programs: int) -> None:
    """Have hypothesis run in a thread, where it may block, and what it tries in this loop."""
    loop = asyncio.get_running_loop()

    def run(dice: Dice) -> None:
        async def once() -> None:
            while not dice.spent:
                await body(dice)

        asyncio.run_coroutine_threadsafe(once(), loop).result()

    await asyncio.to_thread(fuzz, run, programs=programs, shrinks=False)
