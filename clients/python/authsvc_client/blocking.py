"""The verifier for threaded services: the same, with its stream on a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.connection import MetadataSource, ThreadedCalls, blocking_channel
from authsvc_client.engine import Engine
from authsvc_client.hooks import Hooks
from authsvc_client.judgement import Demand
from authsvc_client.settings import Settings
from authsvc_client.verdicts import CannotKnow, Cause, Verdict
from authsvc_client.verifier import Position, age_of, as_number, position_of

T = TypeVar("T")


class SyncVerifier:
    """
    Verifies access tokens in this process, for code without an event loop; safe to use from many threads.

    ```python
    with SyncVerifier("authsvc:50051", audience="orders") as verifier:
        verdict = verifier.verify(token, scopes=["orders.read"])
    ```

    The arguments are those of Verifier, except that a ready channel is a plain `grpc.Channel`. Start it after a fork,
    never before.
    """

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        audience: str,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataSource = (),
        settings: Settings | None = None,
        hooks: Hooks | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not audience:
            raise ValueError("a verifier needs an audience")
        self._target = target
        self._audience = audience
        self._credentials = credentials
        self._metadata = metadata
        self._settings = settings or Settings()
        self._hooks = hooks or Hooks()
        self._clock = clock or SystemClock()
        self._starting = threading.Lock()
        self._runner: _Runner | None = None

    def start(self, *, wait: timedelta | None = None) -> bool:
        """See Verifier.start."""
        with self._starting:
            if self._runner is None:
                self._runner = _Runner(self)
            runner = self._runner
        return runner.run(runner.engine.until_ready(self._settings.start_wait if wait is None else wait))

    def close(self) -> None:
        """Stop and let the thread end. Idempotent."""
        with self._starting:
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """
        See Verifier.verify. Judges on the calling thread; other threads are asked only where it has to wait.

        Raises:
            CannotKnow: it cannot be decided; that is no verdict.

        """
        runner = self._running()
        engine = runner.engine
        demand = engine.demand(audience, scopes, roles)
        outcome = engine.decide(token, demand)
        if isinstance(outcome, Cause):
            if outcome is Cause.UNKNOWN_KEY and engine.keys.current and not engine.keys.wants_reading():
                raise engine.cannot_know(outcome)
            return runner.run(engine.verify(token, demand))
        self._hooks.verdict(outcome, by="local")
        return outcome

    def check(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """
        See Verifier.check.

        Raises:
            CannotKnow: not by what is known here; `verify` may still find out.

        """
        runner = self._running()
        demand: Demand = runner.engine.demand(audience, scopes, roles)
        try:
            return runner.engine.check(token, demand)
        except CannotKnow as unknown:
            if unknown.cause is Cause.UNKNOWN_KEY:
                runner.loop.call_soon_threadsafe(runner.engine.keys.request)
            raise

    def wait_for(self, position: Position, *, timeout: timedelta = timedelta(seconds=1)) -> bool:
        """See Verifier.wait_for."""
        runner = self._runner
        if runner is None:
            return False
        number = as_number(position)
        return runner.engine.freshness.position >= number or runner.run(
            runner.engine.wait_for(number, timeout)
        )

    @property
    def age(self) -> timedelta | None:
        """How old the knowledge of revocations is; None before the first complete snapshot."""
        runner = self._runner
        return None if runner is None else age_of(runner.engine)

    @property
    def is_fresh(self) -> bool:
        """Whether that age is within the hard bound."""
        runner = self._runner
        return runner is not None and runner.engine.freshness.is_fresh()

    @property
    def is_ready(self) -> bool:
        """Whether it is fresh and has keys: what a readiness probe may ask."""
        runner = self._runner
        return runner is not None and runner.engine.is_ready

    @property
    def position(self) -> int | None:
        """The log position through which revocations are known; None before the first complete snapshot."""
        runner = self._runner
        return None if runner is None else position_of(runner.engine)

    def _running(self) -> "_Runner":
        runner = self._runner
        if runner is None:
            raise CannotKnow(Cause.CLOSED)
        return runner


class _Runner:
    """A thread with an event loop on which the engine lives."""

    def __init__(self, verifier: SyncVerifier) -> None:
        own = isinstance(verifier._target, str)  # noqa: SLF001 - its other half
        channel = verifier._target  # noqa: SLF001
        if isinstance(channel, str):
            channel = blocking_channel(channel, verifier._credentials)  # noqa: SLF001
        self._channel = channel if own else None
        self._calls = ThreadedCalls(channel, verifier._metadata)  # noqa: SLF001
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="authsvc-verifier", daemon=True)
        self._thread.start()
        self.engine: Engine = self.run(self._make(verifier))

    async def _make(self, verifier: SyncVerifier) -> Engine:
        engine = Engine(
            calls=self._calls,
            audience=verifier._audience,  # noqa: SLF001 - its other half
            settings=verifier._settings,  # noqa: SLF001
            hooks=verifier._hooks,  # noqa: SLF001
            clock=verifier._clock,  # noqa: SLF001
        )
        engine.start()
        return engine

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what *work* returns on the loop; whoever waits while it stops is told that it stopped."""
        try:
            future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:  # the loop was closed in this moment
            work.close()
            raise CannotKnow(Cause.CLOSED) from None
        try:
            return future.result()
        except CancelledError:
            raise CannotKnow(Cause.CLOSED) from None

    def stop(self) -> None:
        """End everything."""
        self.run(self.engine.stop())
        if self._channel is not None:
            self._channel.close()
        self._calls.close()
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_others() -> None:
    """Whoever still waits on this loop waits no more."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
