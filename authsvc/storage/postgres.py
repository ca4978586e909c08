"""
PostgreSQL: many writers at once, over a few connections (DESIGN section 5).

Reads run in REPEATABLE READ, so that a head and the facts below it are of one snapshot; writes in READ COMMITTED, with
locks in one order (users, apps, session, log head last). A unit that another transaction overtook is run again. BEGIN
and COMMIT are written out and sent with what belongs to them, so that each costs one round trip.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from sqlalchemy import DateTime, func, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.sql.functions import Function

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.revocations import Fact, LogHead
from authsvc.domain.sessions import Session
from authsvc.ports import Clock, Entropy, Observer, SessionQuery, Written
from authsvc.storage import listings
from authsvc.storage.postgres_batches import Batches, SharedTx
from authsvc.storage.postgres_faults import DRIVER_ERRORS, Fault, judge, unavailable
from authsvc.storage.postgres_listen import CHANNEL, Listener
from authsvc.storage.postgres_pool import ANSWER_WITHIN, Leased, Pool
from authsvc.storage.schema import log_head
from authsvc.storage.store import SqlStore, ensure_head
from authsvc.storage.tx import (
    HEAD_ID,
    Ledger,
    Overtaken,
    ReadUnit,
    Shared,
    Tx,
    View,
    WriteUnit,
    read_head,
    with_origin,
)
from authsvc.storage.versions import SchemaNotCurrent, SchemaState, state_in

T = TypeVar("T")

POOL_SIZE = 10
# A server that can answer does so before the deadline cuts the connection: a lock that is held elsewhere, a slow
# statement. The last bounds what a client that froze in mid-transaction keeps others from.
_LIMITS = (
    "SET LOCAL lock_timeout = '{lock:.0f}ms'; SET LOCAL statement_timeout = '{statement:.0f}ms';"
    " SET LOCAL idle_in_transaction_session_timeout = '5s'"
)
_LOCK_SHARE = 0.45
_STATEMENT_SHARE = 0.8
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
_BEGIN_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED; "
# An operator may have switched it off for a whole database; what we acknowledge is on the disk all the same.
_DURABLE = "; SET LOCAL synchronous_commit = on"
_COMMIT = "COMMIT"
_COMMIT_FACTS = f"NOTIFY {CHANNEL}; COMMIT"
# A unit is run again while somebody else's commits are what stops it; each try means that another one got through.
_TRIES = 12
# What must be left of the time for another try; after a lock, enough to wait for it once more.
_TRY_SHARE = 0.1
_TRY_LOCK_SHARE = 0.5
# And for a unit of a batch to be begun at all.
_WORTH_SHARE = 0.25

_CLOCK: Function[datetime] = func.clock_timestamp(type_=DateTime(timezone=True))
_NOW = select(_CLOCK)
_SYNCHRONOUS = select(func.current_setting("synchronous_commit"))
_TAKE = (
    update(log_head)
    .where(log_head.c.id == HEAD_ID)
    .values(position=log_head.c.position + 1)
    .returning(log_head.c.incarnation, log_head.c.position, log_head.c.compacted_through)
)


def as_read(instant: datetime) -> datetime:
    """Return the database's reading as it is."""
    return instant


class PostgresStore(SqlStore):
    """Implements ports.Store on a PostgreSQL database that any number of processes share."""

    def __init__(
        self,
        runner: "PostgresRunner",
        *,
        replica: "PostgresRunner | None" = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(runner)
        self._postgres = runner
        self._replica = replica
        self._listener = listener

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        entropy: Entropy,
        read_url: str | None = None,
        listen_url: str | None = None,
        observer: Observer | None = None,
        pool_size: int = POOL_SIZE,
        answer_within: timedelta = ANSWER_WITHIN,
        instant: Callable[[datetime], datetime] = as_read,
    ) -> Self:
        """
        Return a store on an existing database of the present schema.

        *read_url* names a replica that answers lists of sessions, and nothing else. *listen_url* is where
        notifications of new facts arrive, past any pooler; without it (or an *observer* to report to) nobody listens.
        Each call is answered or refused within *answer_within*. *instant* turns the database's
        reading of its clock into `now`; a test that moves time by hand replaces it.

        Raises:
            SchemaNotCurrent: nobody migrated it, or a newer release did.
            StoreUnavailable: it cannot be read or written.

        """

        def runner_on(each: str) -> PostgresRunner:
            return PostgresRunner(
                each,
                clock=clock,
                entropy=entropy,
                pool_size=pool_size,
                answer_within=answer_within,
                instant=instant,
            )

        runner = runner_on(url)
        replica = runner_on(read_url) if read_url else None
        listener = None
        if listen_url and observer is not None:
            listener = Listener(listen_url, notify=runner.notify, entropy=entropy, observer=observer)
        store = cls(runner, replica=replica, listener=listener)
        try:
            state = await runner.read(lambda view: state_in(view.connection))
            if state is not SchemaState.CURRENT:
                raise SchemaNotCurrent(state)
            await runner.make_durable()
            await runner.write(ensure_head)
        except BaseException:
            await store.close()
            raise
        if listener is not None:
            listener.start()
        return store

    async def close(self) -> None:
        """See SqlStore.close."""
        if self._listener is not None:
            await self._listener.stop()
        await super().close()
        if self._replica is not None:
            await self._replica.close()

    async def list_sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See ports.SessionStore.list_sessions. The replica answers, unless it is too far behind or gone."""

        def listed(view: View) -> Sequence[Session] | None:
            if query.as_of and read_head(view.connection).position < query.as_of:
                return None
            return listings.list_sessions(view, query)

        if self._replica is not None:
            with contextlib.suppress(StoreUnavailable):
                found = await self._replica.read(listed)
                if found is not None:
                    return found
        return await super().list_sessions(query)

    async def on_change(self, wake: Callable[[], None]) -> None:
        """See ports.RevocationLog.on_change."""
        if self._listener is not None:
            self._listener.on_change(wake)

    async def ping(self) -> timedelta:
        """See ports.Store.ping."""
        return await self._postgres.skew()


@dataclass(frozen=True, slots=True)
class _Done:
    value: Any
    facts: tuple[Fact, ...]
    head: LogHead


class PostgresLedger(Ledger):
    """The log's head, moved by one statement that also locks it."""

    def take(self) -> int:
        """Return the next position, holding the row from now on: nobody else gets one before we commit."""
        row = self._connection.execute(_TAKE).one_or_none()
        if row is None:
            raise StoreUnavailable("the log has no head")
        self._locked = True
        self._head = self._stored = LogHead(
            incarnation=row.incarnation, position=row.position, compacted_through=row.compacted_through
        )
        return self._head.position


class PostgresRunner:
    """Runs units of work on a PostgreSQL database; what `SqlStore` needs of a backend."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        entropy: Entropy,
        pool_size: int = POOL_SIZE,
        answer_within: timedelta = ANSWER_WITHIN,
        instant: Callable[[datetime], datetime] = as_read,
    ) -> None:
        self.pool = Pool(url, pool_size, answer_within)
        milliseconds = answer_within / timedelta(milliseconds=1)
        limits = _LIMITS.format(lock=_LOCK_SHARE * milliseconds, statement=_STATEMENT_SHARE * milliseconds)
        self._clock = clock
        self._entropy = entropy
        self._instant = instant
        self._answer_within_s = answer_within.total_seconds()
        self._begin_read = _BEGIN_READ + limits
        self._begin_write = _BEGIN_WRITE + limits
        self._batches = Batches(
            workers=max(1, pool_size // 2),
            alone=self._alone,
            together=self._together,
            begin=self._begin_batch,
            commit=self._commit,
            full_limits=f"RELEASE unit; {limits}",
            worth_s=_WORTH_SHARE * answer_within.total_seconds(),
        )
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def read(self, unit: ReadUnit[T]) -> T:
        """
        Return what the unit sees in one snapshot.

        Raises:
            StoreUnavailable: closed, or the database failed or did not answer in time.

        """
        return await self._uncut(lambda: self._persist(lambda leased: self._look(leased, unit)))

    async def write(self, unit: WriteUnit[T]) -> Written[T]:
        """
        Return the unit's result once it is durable.

        A caller that is cancelled stops waiting; the unit still runs to its end. The unit may be run several times,
        but only one run is kept.

        Raises:
            StoreUnavailable: closed, overloaded, or the database failed; the outcome may then be unknown.
            Exception: whatever the unit raised; nothing of it was kept.

        """
        deadline = asyncio.get_running_loop().time() + self._answer_within_s
        unit = with_origin(unit)
        if isinstance(unit, Shared):
            return await self._uncut(lambda: self._batches.run(unit, deadline))
        return await self._uncut(lambda: self._alone(unit, deadline))

    async def close(self) -> None:
        """Finish what was begun; later units raise StoreUnavailable. Idempotent."""
        self._closed = True
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        await self.pool.close()

    async def skew(self) -> timedelta:
        """Return how far this host's clock is ahead of the database's, less what the question's way may explain."""

        async def ask(leased: Leased) -> timedelta:
            asked = self._clock.now()
            reading = self._instant((await leased.connection.execute(_NOW)).scalar_one())
            answered = self._clock.now()
            leased.sound = True
            if asked <= reading <= answered:
                return timedelta(0)
            return asked - reading if reading < asked else answered - reading

        return await self._uncut(lambda: self._persist(ask))

    async def notify(self, payload: str) -> None:
        """Send *payload* on the log's channel, as writers send that there are facts."""
        told = select(func.pg_notify(CHANNEL, payload))

        async def tell(leased: Leased) -> None:
            await leased.connection.execute(told)
            leased.sound = True

        await self._uncut(lambda: self._persist(tell))

    async def make_durable(self) -> None:
        """From now on, sync commits also where the database's settings say otherwise."""
        setting = await self.read(lambda view: view.connection.execute(_SYNCHRONOUS).scalar_one())
        if setting == "off":
            self._begin_write += _DURABLE

    async def _uncut(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work in a task of its own, which a cancelled caller does not cut."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        task: asyncio.Task[T] = asyncio.ensure_future(work())
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not complain where its caller has gone

    async def _alone(self, unit: WriteUnit[T], deadline: float) -> Written[T]:
        done = await self._persist(lambda leased: self._perform(leased, unit), deadline=deadline)
        return Written(done.value, done.facts, Cursor(done.head.incarnation, done.head.position))

    async def _together(self, attempt: Callable[[Leased], Awaitable[None]], deadline: float) -> None:
        """Run a batch once: what comes of a failure is the batch's to decide."""
        async with self.pool.lease(deadline) as leased:
            try:
                await attempt(leased)
            except (*DRIVER_ERRORS, Overtaken) as error:
                if judge(error) is Fault.GONE:
                    self.pool.suspect()
                await _roll_back(leased)
                raise

    async def _begin_batch(self, leased: Leased) -> Callable[[Connection], SharedTx]:
        await leased.driver.execute(self._begin_write)
        now = self._instant((await leased.connection.execute(_NOW)).scalar_one())

        def make(connection: Connection) -> SharedTx:
            # A ledger of its own: a login reads the head after it holds its user, not when a neighbour did.
            ledger = PostgresLedger(connection)
            return SharedTx(connection=connection, now=now, entropy=self._entropy, ledger=ledger)

        return make

    async def _persist(
        self, attempt: Callable[[Leased], Awaitable[T]], *, deadline: float | None = None
    ) -> T:
        """Run the attempt until it comes through, is refused, or there is no time left."""
        loop = asyncio.get_running_loop()
        deadline = deadline or loop.time() + self._answer_within_s
        tries = 0
        while True:
            tries += 1
            try:
                async with self.pool.lease(deadline) as leased:
                    return await attempt(leased)
            except (*DRIVER_ERRORS, Overtaken) as error:
                verdict = judge(error)
                if verdict is Fault.GONE:
                    self.pool.suspect()
                share = _TRY_LOCK_SHARE if verdict is Fault.LOCKED else _TRY_SHARE
                late = loop.time() + share * self._answer_within_s > deadline
                if late or verdict is Fault.REFUSED or tries >= _TRIES:
                    raise unavailable(error) from None

    async def _look(self, leased: Leased, unit: ReadUnit[T]) -> T:
        await leased.driver.execute(self._begin_read)

        def see(connection: Connection) -> T:
            now = self._instant(connection.execute(_NOW).scalar_one())
            return unit(View(connection=connection, now=now))

        try:
            return await leased.connection.run_sync(see)
        finally:
            await _roll_back(leased)

    async def _perform(self, leased: Leased, unit: WriteUnit[T]) -> _Done:
        await leased.driver.execute(self._begin_write)

        def work(connection: Connection) -> _Done:
            now = self._instant(connection.execute(_NOW).scalar_one())
            ledger = PostgresLedger(connection)
            tx = Tx(connection=connection, now=now, entropy=self._entropy, ledger=ledger)
            value = unit(tx)
            return _Done(value, tuple(tx.facts), ledger.flush())

        try:
            done: _Done = await leased.connection.run_sync(work)
        except BaseException:
            await _roll_back(leased)
            raise
        await self._commit(leased, bool(done.facts))
        return done

    async def _commit(self, leased: Leased, facts: bool) -> None:
        """
        Return once the transaction is durable.

        Raises:
            StoreUnavailable: whether it was committed is unknown, or it was not.
            PostgresError: it was rolled back, and the unit may be run again.

        """
        try:
            answer = await leased.driver.execute(_COMMIT_FACTS if facts else _COMMIT)
        except DRIVER_ERRORS as error:
            if judge(error) is Fault.AGAIN:
                await _roll_back(leased)
                raise
            if judge(error) is Fault.GONE:
                self.pool.suspect()
            raise unavailable(error) from None
        leased.sound = True
        if answer != _COMMIT:  # "ROLLBACK": a statement of the unit had failed and the unit went on
            raise StoreUnavailable("the record took the transaction back")


async def _roll_back(leased: Leased) -> None:
    """Leave the transaction; a connection on which that fails is not used again."""
    if leased.driver.is_closed():
        return
    try:
        await leased.driver.execute("ROLLBACK")
    except DRIVER_ERRORS:
        return
    leased.sound = True
