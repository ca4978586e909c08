"""SyncAuthClient: checks of many threads share calls, and every thread has its own answer, deadline and error."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest

from authapi import v1 as pb
from authsvc_client import CallFailed, LibraryError, SyncAuthClient
from authsvc_client.blocking_coalescing import BlockingCoalescer
from authsvc_client.testing import FakeClock
from tests.client.conftest import AUDIENCE, eventually
from tests.client.scripted import LONG, Scripted, error_info, refusing, scripted_service


@pytest.fixture
async def served() -> AsyncIterator[tuple[Scripted, str]]:
    async with scripted_service() as both:
        yield both


class Invalid(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INVALID_ARGUMENT

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> Any:
        return None


class Call:
    """A finished call of gRPC."""

    def __init__(self, asked: pb.BatchVerifyTokensRequest) -> None:
        self._asked = [one.access_token for one in asked.requests]

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        call(self)

    def result(self) -> pb.BatchVerifyTokensResponse:
        if "bad" in self._asked:
            raise Invalid
        answers = [pb.VerifyTokenResponse(active=pb.Active(user_id=one)) for one in self._asked]
        return pb.BatchVerifyTokensResponse(responses=answers)


async def test_threads_share_calls_too(served: tuple[Scripted, str]) -> None:
    """
    Of 32 threads at once each gets its own answer, in far fewer calls; one alone goes unbatched.
    """
    scripted, address = served

    def work() -> list[str]:
        barrier = threading.Barrier(32)

        def check(number: int) -> list[str]:
            barrier.wait(30)
            return [
                client.verify_token(f"t{number}-{n}", audience=AUDIENCE, timeout=LONG).active.user_id
                for n in range(10)
            ]

        with SyncAuthClient(address) as client, ThreadPoolExecutor(32) as threads:
            client.verify_token("alone", audience=AUDIENCE, timeout=LONG)
            return [user for users in threads.map(check, range(32)) for user in users]

    users = await asyncio.to_thread(work)
    assert users == [f"user of t{number}-{n}" for number in range(32) for n in range(10)]
    assert scripted.calls[0] == "VerifyToken"
    assert len(scripted.calls) < 200


async def test_a_thread_has_its_own_deadline_and_its_own_error(served: tuple[Scripted, str]) -> None:
    """
    While a call hangs: who waits behind it is overtaken by an overlapping call, its deadline is kept, closing ends all.
    """
    scripted, address = served
    scripted.hold.clear()
    client = SyncAuthClient(address)
    threads = ThreadPoolExecutor(4)

    def outcome(token: str, timeout: timedelta) -> Any:
        try:
            return client.verify_token(token, audience=AUDIENCE, timeout=timeout)
        except CallFailed as failed:
            return failed

    lone = threads.submit(outcome, "lone", LONG)
    await eventually(lambda: scripted.reached == 1, "the lone call")
    hasty = await asyncio.wrap_future(threads.submit(outcome, "hasty", timedelta(seconds=0.2)))
    assert hasty.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: scripted.reached == 2, "the overlapping call")
    scripted.fail = refusing(grpc.StatusCode.FAILED_PRECONDITION, error_info("UNKNOWN_APP"))
    scripted.hold.set()
    assert (await asyncio.wrap_future(lone)).reason == "UNKNOWN_APP"
    scripted.hold.clear()
    waiting = [threads.submit(outcome, f"t{n}", LONG) for n in range(2)]
    await eventually(lambda: scripted.reached >= 4, "both kinds of call")
    await asyncio.to_thread(client.close)
    codes = {(await asyncio.wrap_future(one)).code for one in waiting}
    assert codes == {grpc.StatusCode.CANCELLED}
    after = await asyncio.wrap_future(threads.submit(outcome, "late", LONG))
    assert isinstance(after, LibraryError)
    threads.shutdown()


def test_one_bad_request_of_threads_fails_alone() -> None:
    """
    A batch that is refused for one of its requests is asked again in halves: the others are answered.
    """

    gate, begun = threading.Event(), threading.Event()

    def one(asked: pb.VerifyTokenRequest, timeout_s: float) -> pb.VerifyTokenResponse:
        begun.set()
        gate.wait(30)
        return pb.VerifyTokenResponse()

    checks = BlockingCoalescer(one=one, many=lambda asked, _: Call(asked), clock=FakeClock(), most_calls=1)

    def outcome(token: str) -> Any:
        try:
            return checks.ask(pb.VerifyTokenRequest(access_token=token), timeout_s=60).active.user_id
        except CallFailed as failed:
            return failed.code

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(outcome, "first")
        assert begun.wait(30)
        others = {token: threads.submit(outcome, token) for token in ("a", "b", "bad", "c", "d")}
        while len(checks._waiting) < 5:
            threading.Event().wait(0.001)
        gate.set()
        assert first.result(30) == ""
        found = {token: one.result(30) for token, one in others.items()}

    assert found == {"a": "a", "b": "b", "c": "c", "d": "d", "bad": grpc.StatusCode.INVALID_ARGUMENT}
