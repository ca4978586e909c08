"""A fake authsvc on a real socket, and verifiers on a clock that the test moves."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from authsvc_client import Cause, Hooks, Settings, Verdict, Verifier
from authsvc_client.testing import FakeAuthsvc, FakeClock

T = TypeVar("T")
AUDIENCE = "orders"
PATIENCE_S = 30.0


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """
    Return as soon as *holds*: for what only a real socket can bring about.

    Raises:
        AssertionError: it did not come about in time.

    """
    deadline = time.monotonic() + PATIENCE_S  # noqa: TID251 - bounds a wait for a real socket
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"  # noqa: TID251 - as above
        await asyncio.sleep(0.002)  # noqa: TID251 - as above


def moved(advance: Callable[[T], None], by: T) -> bool:
    """Let time pass while something is waited for: `moved(clock.advance, 1) or is_there`."""
    advance(by)
    return False


class Heard(Hooks):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.verdicts: list[tuple[Verdict, str]] = []
        self.unknown: list[Cause] = []
        self.ended: list[str] = []
        self.snapshots: list[int] = []
        self.reads: list[bool] = []
        self.questions: list[tuple[int, bool]] = []

    def verdict(self, verdict: Verdict, *, by: str) -> None:
        self.verdicts.append((verdict, by))

    def cannot_know(self, cause: Cause) -> None:
        self.unknown.append(cause)

    def stream_ended(self, why: str) -> None:
        self.ended.append(why)

    def snapshot(self, facts: int) -> None:
        self.snapshots.append(facts)

    def keys_read(self, *, ok: bool) -> None:
        self.reads.append(ok)

    def asked(self, tokens: int, *, ok: bool) -> None:
        self.questions.append((tokens, ok))


class Scene:
    """A fake authsvc with a started verifier on the test's clock; heartbeats come only when told."""

    def __init__(self, fake: FakeAuthsvc, clock: FakeClock, hooks: Heard, verifier: Verifier) -> None:
        self.fake = fake
        self.clock = clock
        self.hooks = hooks
        self.verifier = verifier

    def token(self, user_id: str = "alice", **more: Any) -> str:
        return self.fake.mint.token(user_id, audience=AUDIENCE, **more)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in steps small enough for a process that is awake."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            await asyncio.sleep(0.0005)  # noqa: TID251 - gives the sockets their turn


@asynccontextmanager
async def scene_of(**settings: Any) -> AsyncIterator[Scene]:
    """A scene whose verifier is ready."""
    clock, hooks = FakeClock(), Heard()
    async with FakeAuthsvc(heartbeats=None, clock=clock) as fake:
        verifier = Verifier(
            fake.target, audience=AUDIENCE, settings=Settings(**settings), hooks=hooks, clock=clock
        )
        await verifier.start(wait=timedelta(0))
        try:
            await eventually(lambda: verifier.is_ready, "readiness")
            yield Scene(fake, clock, hooks, verifier)
        finally:
            await verifier.aclose()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scene_of(when_stale="unavailable") as built:
        yield built
