"""The verifier for asyncio services."""

from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.connection import AioCalls, MetadataSource, aio_channel
from authsvc_client.engine import Engine
from authsvc_client.hooks import Hooks
from authsvc_client.settings import Settings
from authsvc_client.verdicts import CannotKnow, Cause, Verdict

Position = bytes | int
"""A position of the revocation log as RevokeResponse.position has it (8 bytes, big-endian), or as a number."""


class Verifier:
    """
    Verifies access tokens in this process, with keys and revocations pushed to it.

    ```python
    async with Verifier("authsvc:50051", audience="orders") as verifier:
        verdict = await verifier.verify(token, scopes=["orders.read"])
    ```

    *target* is an address or a ready `grpc.aio.Channel`, which stays its maker's to close. An address without
    *credentials* is spoken to in plaintext. *audience* is what tokens must be meant for. *metadata* goes with every
    call. Belongs to the event loop it was started on.
    """

    def __init__(
        self,
        target: str | grpc.aio.Channel,
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
        self._own_channel: grpc.aio.Channel | None = None
        self._engine: Engine | None = None

    async def start(self, *, wait: timedelta | None = None) -> bool:
        """
        Begin to follow the server, and return whether the verifier is ready: it has keys and a complete, fresh snapshot.

        Returns as soon as it is, or after *wait* (`Settings.start_wait` if None; zero does not wait). False is no
        failure: it keeps trying, and until it is ready every answer is by `Settings.when_stale`.
        """
        if self._engine is None:
            channel = self._target
            if isinstance(channel, str):
                channel = self._own_channel = aio_channel(channel, self._credentials)
            self._engine = Engine(
                calls=AioCalls(channel, self._metadata),
                audience=self._audience,
                settings=self._settings,
                hooks=self._hooks,
                clock=self._clock,
            )
            self._engine.start()
        return await self._engine.until_ready(self._settings.start_wait if wait is None else wait)

    async def aclose(self) -> None:
        """Stop. Idempotent; a stopped verifier can be started again, and knows nothing then."""
        engine, self._engine = self._engine, None
        channel, self._own_channel = self._own_channel, None
        if engine is not None:
            await engine.stop()
        if channel is not None:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def verify(
        self,
        token: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        audience: str | None = None,
    ) -> Verdict:
        """
        Judge *token* (without "Bearer "): Active if it is good, is meant for the audience, and has all scopes and roles.

        Waits only for a first read of an unknown key, or, by policy, for the server's answer. *audience* replaces the
        verifier's for this call.

        Raises:
            CannotKnow: it cannot be decided; that is no verdict.

        """
        engine = self._engine or self._running()
        demand = engine.demand(audience, scopes, roles)
        outcome = engine.decide(token, demand)
        if isinstance(outcome, Cause):
            return await engine.verify(token, demand)
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
        Do what `verify` does as far as no wait is needed, which is nearly always.

        Raises:
            CannotKnow: not by what is known here; `verify` may still find out.

        """
        engine = self._running()
        try:
            return engine.check(token, engine.demand(audience, scopes, roles))
        except CannotKnow as unknown:
            if unknown.cause is Cause.UNKNOWN_KEY:
                engine.keys.request()
            raise

    async def wait_for(self, position: Position, *, timeout: timedelta = timedelta(seconds=1)) -> bool:  # noqa: ASYNC109 - on the injected clock
        """
        Return True once every revocation up to *position* is known here, False if it is not after *timeout*.

        Give it `RevokeResponse.position` to read your own write.
        """
        if self._engine is None:
            return False
        return await self._engine.wait_for(as_number(position), timeout)

    @property
    def age(self) -> timedelta | None:
        """How old the knowledge of revocations is; None before the first complete snapshot."""
        return None if self._engine is None else age_of(self._engine)

    @property
    def is_fresh(self) -> bool:
        """Whether that age is within the hard bound."""
        return self._engine is not None and self._engine.freshness.is_fresh()

    @property
    def is_ready(self) -> bool:
        """Whether it is fresh and has keys: what a readiness probe may ask."""
        return self._engine is not None and self._engine.is_ready

    @property
    def position(self) -> int | None:
        """The log position through which revocations are known; None before the first complete snapshot."""
        return None if self._engine is None else position_of(self._engine)

    def _running(self) -> Engine:
        if self._engine is None:
            raise CannotKnow(Cause.CLOSED)
        return self._engine


def as_number(position: Position) -> int:
    """Return a position as a number."""
    return position if isinstance(position, int) else int.from_bytes(position, "big")


def age_of(engine: Engine) -> timedelta | None:
    """Return the age of what is known; None before the first complete snapshot."""
    age_s = engine.freshness.age_s()
    return timedelta(seconds=min(age_s, 10**9)) if engine.freshness.is_known else None


def position_of(engine: Engine) -> int | None:
    """Return the position of what is known; None before the first complete snapshot."""
    return engine.freshness.position if engine.freshness.is_known else None
