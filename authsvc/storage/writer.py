"""
The one thread that writes to SQLite, with group commit.

It takes what is queued (up to a limit) into one transaction, a savepoint per unit of work, commits once, then answers
all. So a burst of logins costs one fsync per batch instead of one each, and no caller hears of anything that is not
durable. A unit that raises takes back its own savepoint only; if the commit fails, nobody in the batch was served.
"""

import asyncio
import contextlib
import queue
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import Fact
from authsvc.ports import Clock, Entropy, Written
from authsvc.storage.faults import DRIVER_ERRORS, is_busy, translated, unavailable
from authsvc.storage.tx import Ledger, Tx, WriteUnit

T = TypeVar("T")

BATCH_LIMIT = 64
# More waiting than this is an overload that should be refused while the caller still waits.
QUEUE_LIMIT = 10_000
# Another process may hold the write lock. SQLite's own busy handler sleeps up to 100 ms between tries and starves
# beside a busy neighbour, so we knock often ourselves: about 0.6 s in all (DESIGN section 11: refused in < 1 s).
_LOCK_TRIES = 300
_LOCK_PAUSE_S = 0.002


@dataclass(slots=True)
class _Job:
    unit: WriteUnit[Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    refused: bool = False  # its caller was told that nothing was done, so it must not begin any more


_Outcome = Written[Any] | Exception
_TOO_LATE = StoreUnavailable("refused before it began")


class Writer:
    """
    Runs units of work, one transaction at a time, in its own thread.

    *engine* hands out connections in autocommit mode (every BEGIN and COMMIT is ours). The thread starts with the
    first unit and ends with `close`.
    """

    def __init__(
        self, engine: Engine, *, clock: Clock, entropy: Entropy, batch_limit: int = BATCH_LIMIT
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._entropy = entropy
        self._batch_limit = batch_limit
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._closed = False
        self._pause = threading.Event()  # never set: a bounded wait for the lock
        self._thread = threading.Thread(target=self._serve, name="authsvc-sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, unit: WriteUnit[T], *, within_s: float | None = None) -> Written[T]:
        """
        Return the unit's result once it is durable.

        A caller that is cancelled stops waiting; the unit still runs to its end. After *within_s* the caller is
        refused, and a unit that has not begun by then never does.

        Raises:
            StoreUnavailable: closed, overloaded, too late, or the database failed; the outcome is then unknown.
            Exception: whatever the unit raised; nothing of it was kept.

        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._queue.qsize() >= QUEUE_LIMIT:
            raise StoreUnavailable("too many writes are waiting")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Written[T]] = loop.create_future()
        job = _Job(unit, loop, answer)
        self._queue.put(job)
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            job.refused = True
        raise StoreUnavailable("the database did not answer in time")

    async def close(self) -> None:
        """Finish what is queued, then stop; later units are refused. Idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- below here: the writer's thread ---------------------------------------------------------------------------

    def _serve(self) -> None:
        going = True
        while going:
            batch: list[_Job] = []
            going = self._collect(batch)
            if batch:
                _deliver(batch, self._perform(batch))
        self._disconnect()
        self._engine.dispose()

    def _collect(self, batch: list[_Job]) -> bool:
        """Fill *batch* with what is queued, waiting for the first; False once the end was reached."""
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) >= self._batch_limit:
                return True
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _perform(self, batch: Sequence[_Job]) -> list[_Outcome]:
        try:
            connection = self._begin()
            ledger = Ledger(connection)
            # Judged when the lock is held: until then a unit may have waited too long for its caller.
            outcomes = [
                _TOO_LATE if job.refused else self._run_one(job.unit, connection, ledger) for job in batch
            ]
            head = ledger.flush()
            connection.exec_driver_sql("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, every caller must hear of it
            self._disconnect()
            failure = error if isinstance(error, StoreUnavailable) else unavailable(error)
            return [failure] * len(batch)
        cursor = Cursor(incarnation=head.incarnation, position=head.position)
        return [
            outcome if isinstance(outcome, Exception) else Written(outcome[0], outcome[1], cursor)
            for outcome in outcomes
        ]

    def _run_one(
        self, unit: WriteUnit[Any], connection: Connection, ledger: Ledger
    ) -> tuple[Any, tuple[Fact, ...]] | Exception:
        before = ledger.peek()
        tx = Tx(connection=connection, now=self._clock.now(), entropy=self._entropy, ledger=ledger)
        connection.exec_driver_sql("SAVEPOINT unit")
        try:
            value = unit(tx)
        except Exception as error:  # noqa: BLE001 - its own caller gets it; the neighbours go on
            try:
                connection.exec_driver_sql("ROLLBACK TO unit")
                connection.exec_driver_sql("RELEASE unit")
            except DRIVER_ERRORS:
                # SQLite itself gave up the whole transaction (disk full), so the batch fails, for this reason.
                raise error from None
            ledger.rewind(before)
            return translated(error)
        connection.exec_driver_sql("RELEASE unit")
        return value, tuple(tx.facts)

    def _begin(self) -> Connection:
        """
        Return a connection inside a transaction that holds the write lock.

        IMMEDIATE, because a transaction that reads first and then wants to write fails beside another writer
        whatever the timeout (pitfalls page, SQL).
        """
        if self._connection is None:
            self._connection = self._engine.connect()
        for _ in range(_LOCK_TRIES - 1):
            try:
                self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                if not is_busy(error):
                    raise
                self._pause.wait(_LOCK_PAUSE_S)
            else:
                return self._connection
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        return self._connection

    def _disconnect(self) -> None:
        """Let go of the connection, whatever state it is in; an open transaction is rolled back with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                connection.invalidate()
            with contextlib.suppress(*DRIVER_ERRORS):
                connection.close()


def _deliver(batch: Sequence[_Job], outcomes: Sequence[_Outcome]) -> None:
    """Hand each caller its outcome: one wake-up per event loop, however many callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], _Outcome]]] = defaultdict(list)
    for job, outcome in zip(batch, outcomes, strict=True):
        by_loop[job.loop].append((job.answer, outcome))
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, answers)


def _answer(answers: Sequence[tuple[asyncio.Future[Any], _Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
