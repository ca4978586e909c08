"""
Buckets that replicas share, in Redis; while it does not answer, those of this process, and that is said.

Redis is never the record (DESIGN section 5): nothing here is missed when it is gone but the sum over replicas. One
round trip decides (`redis_limits.lua`). What is taken there is taken from this process's buckets too, so whoever is
stopped stays stopped when Redis goes.

A command that was begun is never cancelled: it runs as a task of its own and is bounded by its own timeouts, because a
cancelled one once left its reply on the connection for the next caller (CVE-2023-28858, -28859).
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from authsvc.ports import Clock, Event, Observer
from authsvc.ports.limits import Ask, Limits, Refusal

_SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
_CONNECTIONS = 32
# How soon, and how often, a Redis that failed is asked again.
_FIRST_PROBE = timedelta(milliseconds=250)
_NEXT_PROBES = timedelta(seconds=1)
_PREFIX = "authsvc:limit:"
_NOTE = "per process: Redis does not answer"


class RedisLimits:
    """
    Implements ports.limits.Limits over one Redis (a primary; not a cluster, whose slots a decision would straddle).

    The first fault turns to *fallback* at once; then a probe asks, first after 250 ms and then every second, until Redis
    decides again. *patience* is what a caller waits at most, and also what connecting, sending and reading may take each,
    in the task that nobody waits for any more. Gauge: `limits_shared`, 1 while replicas share limits.
    """

    def __init__(
        self,
        url: str,
        *,
        fallback: Limits,
        clock: Clock,
        observer: Observer,
        patience: timedelta = timedelta(milliseconds=100),
    ) -> None:
        self._patience_s = patience.total_seconds()
        # The plain pool raises when all connections are taken; without Retry(NoBackoff(), 0) a frozen server held
        # a command for 5 s in spite of the timeouts (pitfalls page, Redis).
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=self._patience_s,
                socket_timeout=self._patience_s,
                socket_connect_timeout=self._patience_s,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._fallback = fallback
        self._clock = clock
        self._observer = observer
        self._commands: set[asyncio.Task[Refusal | None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._is_down = False
        self._closed = False
        observer.gauge("limits_shared", lambda: float(not self._is_down))

    async def start(self) -> None:
        """Find out whether Redis decides; return within 200 ms either way."""
        await self._decide("take", ())

    async def close(self) -> None:
        """End what is under way and close the connections. Idempotent."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        if self._commands:  # each is bounded by its timeouts
            await asyncio.wait(self._commands)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def take(self, asks: Sequence[Ask]) -> Refusal | None:
        """See ports.limits.Limits.take."""
        if not self._is_down:
            decided = await self._decide("take", asks)
            if decided is not None:
                refusal = decided[0]
                if refusal is None:
                    await self._fallback.charge([ask for ask in asks if ask.cost and not ask.waives])
                return refusal
        return await self._fallback.take(asks)

    async def charge(self, asks: Sequence[Ask]) -> None:
        """See ports.limits.Limits.charge."""
        await self._fallback.charge(asks)
        if not self._is_down:
            await self._decide("charge", asks)

    def note(self) -> str:
        """See ports.limits.Limits.note."""
        return _NOTE if self._is_down else ""

    async def _decide(self, how: str, asks: Sequence[Ask]) -> tuple[Refusal | None] | None:
        """Return what Redis decided, or None if it did not in time."""
        if self._closed:
            return None
        task = asyncio.ensure_future(self._run(how, asks))
        self._commands.add(task)
        task.add_done_callback(self._finished)
        done, _ = await asyncio.wait({task}, timeout=self._patience_s)
        if not done:
            self._fell("TimeoutError")
            return None
        if error := task.exception():
            self._fell(type(error).__name__)
            return None
        return (task.result(),)

    async def _run(self, how: str, asks: Sequence[Ask]) -> Refusal | None:
        arguments: list[str] = [how]
        for ask in asks:
            rate = ask.limit.rate
            arguments += (
                repr(rate.interval),
                repr(rate.depth),
                repr(float(ask.cost)),
                "1" if ask.waives else "0",
            )
        keys = [f"{_PREFIX}{ask.limit.name}:{ask.key}" for ask in asks]
        index, wait_us = await self._script(keys=keys, args=arguments)
        if not index:
            return None
        return Refusal(asks[int(index) - 1].limit.name, timedelta(microseconds=int(wait_us)))

    def _finished(self, task: "asyncio.Task[Refusal | None]") -> None:
        self._commands.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: one that came too late is nobody's any more

    def _fell(self, error: str) -> None:
        if self._is_down or self._closed:
            return
        self._is_down = True
        self._observer.event(Event("limits.fallback", level="warning", fields={"error": error}))
        self._probing = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        began = self._clock.elapsed()
        pause = _FIRST_PROBE
        while self._is_down:
            await self._clock.sleep(pause)
            pause = _NEXT_PROBES
            try:
                await self._run("take", ())
            except Exception:  # noqa: BLE001, S112 - whatever it is, Redis does not decide yet; the log has been told
                continue
            self._is_down = False
            down_s = round(self._clock.elapsed() - began, 3)
            self._observer.event(Event("limits.shared", fields={"down_s": down_s}))
