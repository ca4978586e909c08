"""A million fuzz inputs over the readers of tokens, every RPC's bytes, the edge's requests and WeChat's answers."""

from pathlib import Path

import pytest

from tests.edge.wire import running
from tests.hardening.edge_target import Edge
from tests.hardening.fuzzing import fuzz, total
from tests.hardening.judges import bench
from tests.hardening.targets import Parsers, Rpcs, WeChatAnswers
from tests.hardening.test_fuzz import in_thread, try_rpcs

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


async def test_token_texts_long(tmp_path: Path) -> None:
    """Six hundred thousand texts to every reader of tokens: no exception, one verdict here and in the client."""
    async with bench(tmp_path) as tried:
        parsers = Parsers(tried)
        fuzz(parsers.try_one, programs=3600)
        assert total(parsers.counts) >= 600_000


async def test_wechat_answers_long() -> None:
    """Two hundred and fifty thousand bodies in WeChat's place."""
    answers = WeChatAnswers()
    fuzz(answers.try_one, programs=1400)
    assert total(answers.counts) >= 250_000


async def test_rpc_bytes_long(tmp_path: Path) -> None:
    """A hundred and fifty thousand requests: no INTERNAL, no UNKNOWN, no exception out of a handler."""
    async with bench(tmp_path) as tried:
        rpcs = Rpcs(tried, Parsers(tried))
        await try_rpcs(tried, rpcs, programs=2700)
        assert total(rpcs.counts) >= 150_000


async def test_edge_requests_long() -> None:
    """Twenty-five thousand requests over real sockets: never a 500."""
    async with running() as world:
        edge = Edge(world)
        await in_thread(edge.try_one, programs=480)
        assert total(edge.counts) >= 25_000
