"""Coalescing: whatever callers, cancellations and failures there are, everybody gets exactly their own answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authapi.v1 import BatchVerifyTokensResponse, VerifyTokenRequest, VerifyTokenResponse
from authsvc_client.coalescing import Coalescer
from authsvc_client.errors import CallFailed, LibraryError
from authsvc_client.testing import FakeClock
from tests.client.conftest import eventually, moved

MOST_CALLS, MOST_IN_BATCH = 2, 5


def failure(code: str) -> CallFailed:
    return LibraryError(grpc.StatusCode[code])


def request(token: str) -> VerifyTokenRequest:
    return VerifyTokenRequest(access_token=token)


def answer(token: str) -> VerifyTokenResponse:
    response = VerifyTokenResponse()
    response.active.user_id = f"user of {token}"
    return response


@dataclass
class Backend:
    """A server whose calls take some turns; a token with `bad` in it fails its call, as do the calls numbered in *down*."""

    turns: int = 0
    down: frozenset[int] = frozenset()
    ones: list[str] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    at_once: int = 0
    peak: int = 0
    hold: asyncio.Event | None = None
    timeouts: list[float] = field(default_factory=list)

    async def one(self, asked: VerifyTokenRequest, timeout_s: float) -> VerifyTokenResponse:
        self.ones.append(asked.access_token)
        return (await self._serve([asked], timeout_s))[0]

    async def many(self, asked: Sequence[VerifyTokenRequest], timeout_s: float) -> BatchVerifyTokensResponse:
        self.batches.append([one.access_token for one in asked])
        return BatchVerifyTokensResponse(responses=await self._serve(asked, timeout_s))

    async def _serve(
        self, asked: Sequence[VerifyTokenRequest], timeout_s: float
    ) -> list[VerifyTokenResponse]:
        number = len(self.ones) + len(self.batches)
        self.timeouts.append(timeout_s)
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        try:
            if self.hold is not None:
                await self.hold.wait()
            await turns(self.turns)
            if number in self.down:
                raise failure("UNAVAILABLE")
            if any("bad" in one.access_token for one in asked):
                raise failure("INVALID_ARGUMENT")
            return [answer(one.access_token) for one in asked]
        finally:
            self.at_once -= 1

    def coalescer(self, clock: FakeClock) -> Coalescer:
        return Coalescer(
            one=self.one,
            many=self.many,
            failure=failure,
            clock=clock,
            most_calls=MOST_CALLS,
            most_in_batch=MOST_IN_BATCH,
        )


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, no time


@dataclass(frozen=True)
class Caller:
    begins: int
    gives_up_after: int | None
    is_bad: bool
    asks: int


CALLERS = st.lists(
    st.builds(
        Caller,
        begins=st.integers(0, 12),
        gives_up_after=st.none() | st.integers(0, 12),
        is_bad=st.booleans() | st.just(False),
        asks=st.integers(1, 3),
    ),
    min_size=1,
    max_size=40,
)


@given(callers=CALLERS, down=st.frozensets(st.integers(1, 12), max_size=4), takes=st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_everybody_gets_exactly_their_own(callers: list[Caller], down: frozenset[int], takes: int) -> None:
    """
    Whoever stays gets the answer to their own token, or an error that is theirs alone: INVALID_ARGUMENT only for bad
    tokens, UNAVAILABLE only where calls failed so. Bounds of calls and batches hold, and nothing is left behind.
    """
    backend = Backend(turns=takes, down=down)
    errors: list[CallFailed] = []

    async def play() -> None:
        clock = FakeClock()
        coalescer = backend.coalescer(clock)

        async def ask_all(number: int, caller: Caller) -> None:
            await turns(caller.begins)
            for n in range(caller.asks):
                token = f"{'bad' if caller.is_bad else 'good'}-{number}-{n}"
                try:
                    response = await coalescer.ask(request(token), timeout_s=60)
                except CallFailed as error:
                    errors.append(error)
                    allowed = {grpc.StatusCode.UNAVAILABLE} if down else set()
                    assert error.code in allowed | (
                        {grpc.StatusCode.INVALID_ARGUMENT} if caller.is_bad else set()
                    )
                else:
                    assert not caller.is_bad
                    assert response.active.user_id == f"user of {token}"

        async def live(number: int, caller: Caller) -> None:
            asking = asyncio.ensure_future(ask_all(number, caller))
            if caller.gives_up_after is None:
                await asking
                return
            await turns(caller.gives_up_after)
            asking.cancel()
            outcome = (await asyncio.gather(asking, return_exceptions=True))[0]
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome

        everybody = asyncio.gather(*(live(number, caller) for number, caller in enumerate(callers)))
        while not everybody.done():
            # Time passes too: slow calls may be overlapped by others, and no deadline is near.
            clock.advance(0.02)
            await turns(3)
        await everybody
        assert not coalescer._waiting
        await coalescer.aclose()
        await turns(3)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(play())
    assert backend.peak <= MOST_CALLS
    assert max(map(len, backend.batches), default=0) <= MOST_IN_BATCH
    assert len({id(error) for error in errors}) == len(errors)


async def test_a_lone_caller_goes_alone_and_at_once() -> None:
    """
    One after the other: as many unbatched calls as checks, each with its own timeout.
    """
    backend = Backend(turns=3)
    coalescer = backend.coalescer(FakeClock())
    for n in range(5):
        response = await coalescer.ask(request(f"t{n}"), timeout_s=7)
        assert response.active.user_id == f"user of t{n}"

    assert (backend.ones, backend.batches) == ([f"t{n}" for n in range(5)], [])
    assert backend.timeouts == [7] * 5
    with pytest.raises(CallFailed):
        await coalescer.ask(request("bad"), timeout_s=7)


async def test_who_comes_together_goes_together() -> None:
    """
    The first of a crowd goes at once, all that came with it are one call; so are those that come while that is on its
    way. From then on a crowd goes as one from the start, until somebody is alone again.
    """
    backend = Backend(hold=asyncio.Event())
    assert backend.hold is not None
    coalescer = backend.coalescer(FakeClock())

    def crowd(name: str, number: int) -> list[asyncio.Future[VerifyTokenResponse]]:
        return [
            asyncio.ensure_future(coalescer.ask(request(f"{name}{n}"), timeout_s=60)) for n in range(number)
        ]

    first = crowd("a", 5)
    await turns(5)
    assert (backend.ones, backend.batches) == (["a0"], [])
    first += crowd("b", 1)
    backend.hold.set()
    answers = await asyncio.gather(*first)
    assert backend.batches == [["a1", "a2", "a3", "a4", "b0"]]
    assert [one.active.user_id[-2:] for one in answers] == ["a0", "a1", "a2", "a3", "a4", "b0"]
    await turns(5)
    await asyncio.gather(*crowd("c", 4))
    assert backend.batches[1:] == [["c0", "c1", "c2", "c3"]]
    for name in "de":
        await turns(5)
        await asyncio.gather(*crowd(name, 1))
    assert backend.ones == ["a0", "d0", "e0"]
    await coalescer.aclose()


async def test_a_slow_call_holds_up_nobody_for_long() -> None:
    """
    After a moment the next call overlaps it, but never more than allowed; deadlines are kept by everybody's own.
    """
    clock, backend = FakeClock(), Backend(hold=asyncio.Event())
    coalescer = backend.coalescer(clock)
    waiting = [asyncio.ensure_future(coalescer.ask(request("a"), timeout_s=1))]
    await turns(3)
    for token, timeout_s in (("b", 2.0), ("c", 3.0), ("d", 4.0)):
        waiting.append(asyncio.ensure_future(coalescer.ask(request(token), timeout_s=timeout_s)))
        await turns(3)
    await eventually(lambda: moved(clock.advance, 0.02) or bool(backend.batches), "an overlapping call")
    waiting.append(asyncio.ensure_future(coalescer.ask(request("e"), timeout_s=5)))
    late = asyncio.ensure_future(coalescer.ask(request("f"), timeout_s=0.5))
    await eventually(lambda: moved(clock.advance, 0.02) or late.done(), "the nearest deadline")

    assert (backend.ones, backend.batches, backend.peak) == (["a"], [["b", "c", "d"]], MOST_CALLS)
    error = late.exception()
    assert isinstance(error, LibraryError)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    for number in (1, 2, 3):  # the lone one has gRPC's own deadline
        await eventually(lambda n=number: moved(clock.advance, 0.02) or waiting[n].done(), "a deadline")  # type: ignore[misc]
        assert isinstance(waiting[number].exception(), LibraryError)
        assert not waiting[4].done()
    assert backend.hold is not None
    backend.hold.set()
    assert (await waiting[4]).active.user_id == "user of e"
    assert (await waiting[0]).active.user_id == "user of a"
    await coalescer.aclose()


async def test_a_wrong_number_of_answers_is_nobodys() -> None:
    """
    A server that answers fewer than asked: nobody is handed somebody else's.
    """

    async def fewer(asked: Sequence[VerifyTokenRequest], timeout_s: float) -> BatchVerifyTokensResponse:
        return BatchVerifyTokensResponse(responses=[answer(one.access_token) for one in asked[1:]])

    coalescer = Coalescer(many=fewer, failure=failure, clock=FakeClock())
    outcomes = await asyncio.gather(
        *(coalescer.ask(request(f"t{n}"), timeout_s=60) for n in range(3)), return_exceptions=True
    )

    assert [one.code for one in outcomes if isinstance(one, CallFailed)] == [grpc.StatusCode.INTERNAL] * 3
    await coalescer.aclose()


async def test_a_batch_stays_below_what_a_message_may_hold() -> None:
    """
    Tokens of the greatest length: 3 MB a call, however many may be in one; one that is too long alone goes alone.
    """
    backend = Backend(hold=asyncio.Event())
    coalescer = Coalescer(many=backend.many, failure=failure, clock=FakeClock())
    asking = [
        asyncio.ensure_future(coalescer.ask(request(f"{n:03}" + "x" * 8189), timeout_s=60))
        for n in range(500)
    ]
    assert backend.hold is not None
    backend.hold.set()
    await asyncio.gather(*asking)

    assert [len(batch) for batch in backend.batches] == [384, 116]
    await coalescer.aclose()


async def test_closing_tells_everybody() -> None:
    """
    Who waits for a batch, on its way or not, gets CANCELLED; nobody hangs.
    """
    backend = Backend(hold=asyncio.Event())
    coalescer = Coalescer(many=backend.many, failure=failure, clock=FakeClock())
    asking = [asyncio.ensure_future(coalescer.ask(request(f"t{n}"), timeout_s=60)) for n in range(3)]
    await turns(3)
    asking.append(asyncio.ensure_future(coalescer.ask(request("later"), timeout_s=60)))
    await turns(3)
    await coalescer.aclose()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)

    assert [one.code for one in outcomes if isinstance(one, CallFailed)] == [grpc.StatusCode.CANCELLED] * 4
