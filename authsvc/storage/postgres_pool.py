"""
Connections to PostgreSQL: few, bounded in time, and never a crowd in front of a server that does not answer.

Nothing here waits for a frozen server longer than its deadline: a connection in use is cut from this side, which ends
whatever waits on it (asyncpg's own time-outs would open one more socket to ask the server to cancel). After a sign
of an outage one connection at a time is tried, and all who come meanwhile share its outcome.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from authsvc.domain.errors import StoreUnavailable
from authsvc.storage.postgres_faults import DRIVER_ERRORS, unavailable

# From the call to its answer (DESIGN section 11: refused in < 1 s).
ANSWER_WITHIN = timedelta(seconds=0.9)
# Of that, how much may pass in the queue; and what a unit must have been given for its silence to speak of the server
# instead of a full queue.
_QUEUE_SHARE = 0.75
_SILENCE_SHARE = 0.4
_CLOSE_WITHIN_S = 0.5


@dataclass(slots=True, eq=False)
class Leased:
    """
    A connection that belongs to one unit at a time; in autocommit mode, so that BEGIN and COMMIT are the unit's.

    `sound` is set by the borrower once the connection is outside of any transaction again; else it is thrown away.
    `cut_off` is True once the deadline has cut it.
    """

    connection: AsyncConnection
    driver: asyncpg.Connection
    sound: bool = False
    cut_off: bool = False

    def cut(self) -> None:
        """End it from this side, at once."""
        self.cut_off = True
        self.driver.terminate()


def connect_directly(url: str, *, timeout_s: float) -> Any:
    """Return the awaitable of a driver's connection; the URL is libpq's, with all its options."""
    return asyncpg.connect(_libpq(url), timeout=timeout_s, server_settings={"application_name": "authsvc"})


def engine_for(url: str, *, timeout_s: float) -> AsyncEngine:
    """Return an engine that opens a connection for each `connect`, and leaves transactions to its user."""

    async def creator() -> asyncpg.Connection:
        return await connect_directly(url, timeout_s=timeout_s)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
    )


@dataclass(slots=True)
class Pool:
    """At most *size* connections to one server; each lease is answered or cut within its deadline."""

    url: str
    size: int
    answer_within: timedelta = ANSWER_WITHIN
    _engine: AsyncEngine = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)
    _idle: list[Leased] = field(default_factory=list)
    _suspect: bool = False
    _knock: asyncio.Task[Leased] | None = None
    _closed: bool = False

    def __post_init__(self) -> None:
        self._engine = engine_for(self.url, timeout_s=self.answer_within.total_seconds())
        self._slots = asyncio.Semaphore(self.size)

    @contextlib.asynccontextmanager
    async def lease(self, deadline: float) -> AsyncIterator[Leased]:
        """
        Lend a connection until *deadline* (the loop's time), then cut it.

        Raises:
            StoreUnavailable: closed, no connection came free in time, or none could be made.

        """
        loop = asyncio.get_running_loop()
        patience = min(deadline, loop.time() + _QUEUE_SHARE * self.answer_within.total_seconds())
        try:
            async with asyncio.timeout_at(patience):
                await self._slots.acquire()
        except TimeoutError:
            raise StoreUnavailable("too many calls wait for the record") from None
        try:
            leased = await self._take(deadline)
            began = loop.time()
            alarm = loop.call_at(deadline, leased.cut)
            try:
                yield leased
            finally:
                alarm.cancel()
                if (
                    leased.cut_off
                    and loop.time() - began >= _SILENCE_SHARE * self.answer_within.total_seconds()
                ):
                    self._suspected()
                await self._give_back(leased)
        finally:
            self._slots.release()

    def suspect(self) -> None:
        """Say that a connection was lost: the others are tried with care."""
        self._suspected()

    async def close(self) -> None:
        """Close what is idle; leases that are out are cut by their deadlines. Idempotent."""
        self._closed = True
        if self._knock is not None:
            await asyncio.gather(self._knock, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_dismiss(leased, politely=True) for leased in idle))
        await self._engine.dispose()

    async def _take(self, deadline: float) -> Leased:
        while not self._closed:
            while self._idle:
                leased = self._idle.pop()
                if not leased.driver.is_closed():
                    leased.sound = False
                    return leased
                await _dismiss(leased)
            if not self._suspect:
                return await self._connect(deadline)
            await self._await_knock(deadline)
        raise StoreUnavailable("the store is closed")

    async def _connect(self, deadline: float) -> Leased:
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._engine.connect()
                raw = await connection.get_raw_connection()
        except DRIVER_ERRORS as error:
            self._suspected()
            raise unavailable(error) from None
        driver = raw.driver_connection
        assert driver is not None
        return Leased(connection, driver)

    async def _await_knock(self, deadline: float) -> None:
        """Wait for the one try that is under way, starting it if there is none."""
        loop = asyncio.get_running_loop()
        if self._knock is None:
            self._knock = asyncio.ensure_future(
                self._connect(loop.time() + self.answer_within.total_seconds())
            )
            self._knock.add_done_callback(self._knocked)
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(self._knock)
        except TimeoutError:
            raise StoreUnavailable("the record does not answer") from None

    def _knocked(self, knock: "asyncio.Task[Leased]") -> None:
        self._knock = None
        if knock.cancelled() or knock.exception() is not None:
            return
        self._idle.append(knock.result())
        self._suspect = False

    def _suspected(self) -> None:
        """Throw away idle connections: they lead to the same server. The next one is tried alone."""
        self._suspect = True
        for leased in self._idle:
            leased.driver.terminate()

    async def _give_back(self, leased: Leased) -> None:
        if leased.sound and not self._closed and not leased.driver.is_closed():
            self._idle.append(leased)
        else:
            await _dismiss(leased)


async def _dismiss(leased: Leased, *, politely: bool = False) -> None:
    """Let go of a connection, whatever state it is in; *politely* lets the server know."""
    with contextlib.suppress(*DRIVER_ERRORS):
        if politely:
            await leased.driver.close(timeout=_CLOSE_WITHIN_S)
    with contextlib.suppress(*DRIVER_ERRORS):
        leased.driver.terminate()
        await leased.connection.close()


def _libpq(url: str) -> str:
    """Return the URL as libpq spells it: a driver named in SQLAlchemy's way is dropped."""
    scheme, colon, rest = url.partition("://")
    return scheme.partition("+")[0] + colon + rest
