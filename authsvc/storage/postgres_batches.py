"""
Group commit on PostgreSQL: writes that have to wait anyway share a transaction, a savepoint each.

PostgreSQL groups commits by itself, except where each holds the log's head until it is durable: then every fact costs an
fsync of its own, for all replicas together. A batch takes the head once, last, for the facts of all its units. A unit
that meets a lock is not waited for: others' rows are held meanwhile, so it leaves the batch and runs alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import FACT_ID_BYTES, Fact, FactKind, LogHead
from authsvc.domain.sessions import EndReason
from authsvc.ports import Written
from authsvc.storage.postgres_faults import DRIVER_ERRORS, Fault, judge, unavailable
from authsvc.storage.postgres_pool import Leased
from authsvc.storage.schema import log_head
from authsvc.storage.tx import HEAD_ID, Overtaken, Tx, WriteUnit, add_facts, read_head

BATCH_LIMIT = 16
# Each row lock a batch waits for keeps all of its rows from others.
_BRIEFLY = "SET LOCAL lock_timeout = '20ms'; SAVEPOINT unit"
_NEXT = "RELEASE unit; SAVEPOINT unit"
_BACK = "ROLLBACK TO unit"
_TAKE = (
    update(log_head)
    .where(log_head.c.id == HEAD_ID)
    .values(position=log_head.c.position + bindparam("count"))
    .returning(log_head.c.incarnation, log_head.c.position, log_head.c.compacted_through)
)


@dataclass(frozen=True, slots=True)
class SharedTx(Tx):
    """A `Tx` whose facts get their positions, and their place in the log, when all units of the batch have run."""

    def write_fact(
        self,
        kind: FactKind,
        target: str,
        *,
        reason: EndReason,
        useful_until: datetime | None,
        app_filter: str = "",
    ) -> Fact:
        """Note a fact for the log; its position is not known yet (0)."""
        fact = Fact(
            position=0,
            kind=kind,
            target=target,
            reason=reason,
            useful_until=useful_until,
            app_filter=app_filter,
            fact_id=self.entropy.token_bytes(FACT_ID_BYTES),
        )
        self.facts.append(fact)
        return fact

    def need_positions(self) -> None:
        """See Tx.need_positions."""
        raise Overtaken


@dataclass(slots=True, eq=False)
class Job:
    """A unit that waits; `deadline` is the loop's time at which its caller must have an answer."""

    unit: WriteUnit[Any]
    deadline: float
    answer: "asyncio.Future[Written[Any]]"
    value: Any = None
    tx: SharedTx | None = None


@dataclass(slots=True)
class Batches:
    """
    Runs units handed to `run`, together where they queue up.

    *alone* runs one unit in a transaction of its own until a deadline; *together* lends a connection to a batch, and
    *begin* opens its transaction and returns what makes a unit's Tx; *commit* ends it. A unit that has less than *worth_s*
    seconds left when its turn comes is not begun: it would take the time of those behind it, and be late as well.
    """

    workers: int
    alone: Callable[[WriteUnit[Any], float], Awaitable[Written[Any]]]
    together: Callable[[Callable[[Leased], Awaitable[None]], float], Awaitable[None]]
    begin: Callable[[Leased], Awaitable[Callable[[Connection], SharedTx]]]
    commit: Callable[[Leased, bool], Awaitable[None]]
    full_limits: str
    worth_s: float
    _waiting: deque[Job] = field(default_factory=deque)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def run(self, unit: WriteUnit[Any], deadline: float) -> Written[Any]:
        """Return the unit's durable result; see PostgresRunner.write."""
        job = Job(unit, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if len(self._tasks) < self.workers:
            self._start(self._work())
        return await job.answer

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._waiting:
            jobs = self._next()
            if len(jobs) > 1:
                jobs = await self._batch(jobs)
            # What is left has to run alone, each on a connection of its own.
            await asyncio.gather(*(self._solo(job) for job in jobs))

    def _next(self) -> list[Job]:
        """Return those that have waited longest, without those that have waited too long."""
        begin_by = asyncio.get_running_loop().time() + self.worth_s
        jobs: list[Job] = []
        while self._waiting and len(jobs) < BATCH_LIMIT:
            job = self._waiting.popleft()
            if job.deadline < begin_by:
                _refuse(job, StoreUnavailable("too many calls wait for the record"))
            else:
                jobs.append(job)
        return jobs

    async def _solo(self, job: Job) -> None:
        try:
            _answer(job, await self.alone(job.unit, job.deadline))
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller must hear of it
            _refuse(job, error)

    async def _batch(self, jobs: Sequence[Job]) -> list[Job]:
        """Answer what can be answered together; return the jobs of which nothing was kept, to be run alone."""
        try:
            await self.together(lambda leased: self._perform(leased, jobs), min(job.deadline for job in jobs))
        except StoreUnavailable as error:
            for job in jobs:
                _refuse(job, error)
        except (*DRIVER_ERRORS, Overtaken) as error:
            # Before COMMIT was sent: nothing of anybody's was kept.
            if judge(error) is Fault.REFUSED:
                for job in jobs:
                    _refuse(job, unavailable(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, every caller must hear of it, and the work goes on
            for job in jobs:
                _refuse(job, unavailable(error))
        return [job for job in jobs if not job.answer.done()]

    async def _perform(self, leased: Leased, jobs: Sequence[Job]) -> None:
        make = await self.begin(leased)
        await leased.driver.execute(_BRIEFLY)
        kept: list[Job] = []
        for job in jobs:
            if await self._one(leased, job, make):
                kept.append(job)
                await leased.driver.execute(_NEXT)
        await leased.driver.execute(self.full_limits)
        head = await leased.connection.run_sync(_assign, kept)
        await self.commit(leased, any(job.tx is not None and job.tx.facts for job in kept))
        cursor = Cursor(head.incarnation, head.position)
        for job in kept:
            assert job.tx is not None
            _answer(job, Written(job.value, tuple(job.tx.facts), cursor))

    async def _one(self, leased: Leased, job: Job, make: Callable[[Connection], SharedTx]) -> bool:
        """Run a unit; tell whether it is to be kept. One that is not was taken back, refused or left for later."""

        def work(connection: Connection) -> None:
            job.tx = make(connection)
            job.value = job.unit(job.tx)

        try:
            await leased.connection.run_sync(work)
        except Exception as error:
            if isinstance(error, (*DRIVER_ERRORS, Overtaken)):
                verdict = judge(error)
                if verdict is Fault.GONE:
                    raise
                if verdict is Fault.REFUSED:
                    _refuse(job, unavailable(error))
            else:
                _refuse(job, error)
            await leased.driver.execute(_BACK)
            return False
        return True


def _assign(connection: Connection, jobs: Sequence[Job]) -> LogHead:
    """Give the facts of all units their positions, in the units' order, and put them into the log."""
    count = sum(len(job.tx.facts) for job in jobs if job.tx is not None)
    if not count:
        return read_head(connection)
    row = connection.execute(_TAKE, {"count": count}).one_or_none()
    if row is None:
        raise StoreUnavailable("the log has no head")
    units = [job.tx for job in jobs if job.tx is not None]
    position = row.position - count
    for tx in units:
        for place, fact in enumerate(tx.facts):
            position += 1
            tx.facts[place] = replace(fact, position=position)
    facts = [fact for tx in units for fact in tx.facts]
    add_facts(connection, facts, written_at=max(tx.now for tx in units))
    return LogHead(
        incarnation=row.incarnation, position=row.position, compacted_through=row.compacted_through
    )


def _answer(job: Job, written: Written[Any]) -> None:
    if not job.answer.done():
        job.answer.set_result(written)


def _refuse(job: Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
