"""
Watching the revocation log: snapshot, then changes, with a heartbeat at least once a second.

Four promises (DESIGN section 2): ascending order; a cursor to resume from; every message says how far it is
complete and how old that knowledge is; a cursor that is too old is refused with what to do instead.

Thousands watch at the cost of one: a message is made once for all who stand at the same position, one task notices
changes, heartbeats and readers that do not read, and a watcher is a position. What a message says of age is not part
of it: that is read when it is sent, and is the age of the cursor in it, not of what this process knows beyond.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import AuthError, CursorExpired, NotFresh, WatcherTooSlow
from authsvc.domain.revocations import Fact
from authsvc.ports import Clock, Event, Observer, RevocationLog
from authsvc.service.snapshots import Snapshot, Snapshots, is_public
from authsvc.service.tail import LogTail
from authsvc.service.throttling import Throttling

T = TypeVar("T")
# Promised is a message at least once a second: the rest is for the way.
HEARTBEAT = timedelta(milliseconds=900)
# Woken at once between two turns of the event loop: each then costs some 0.1 ms.
_WOKEN_AT_ONCE = 50
# What was made for one position is kept for others that stand there; some 70 kB each at most.
_KEPT = 64
# More facts than this in a message are paced like the parts of a snapshot.
_LONG = 100
# The longest pause between two broadcasts; it is as long as the last one took.
_LONGEST_PAUSE = timedelta(milliseconds=200)
# Who lags when the process drains gets this many messages more at most: what memory holds.
_LAST_MESSAGES = 10


@dataclass(frozen=True, slots=True)
class Changes:
    """Facts in ascending order (none: a heartbeat), complete through `through`."""

    facts: tuple[Fact, ...]
    through: Cursor


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server is stopping: reconnect elsewhere and resume from `through`."""

    through: Cursor


Message = Snapshot | Changes | GoAway
Cut = Callable[[AuthError], None]


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """
    The bounds of one process.

    `watchers` and `per_principal` are how many streams there may be, in all and of one caller; `blocked_for` is how long a message may wait for its reader; `sending_parts` how many snapshot parts and other
    long messages are on their way at once, some 80 kB each; `store_reads` how many pages of the log are read at once for watchers that come
    from far behind.
    """

    watchers: int = 5000
    per_principal: int = 5000
    retry_after: timedelta = timedelta(seconds=5)
    blocked_for: timedelta = timedelta(seconds=30)
    sending_parts: int = 32
    store_reads: int = 4


@dataclass(slots=True, eq=False)
class _Watcher:
    """A subscriber: where it stands, and since when the message it was sent waits to be taken (None: it does not)."""

    cut: Cut | None
    at: Cursor | None = None
    sent_at: float | None = None
    is_remembered: bool = False  # whether memory reached back to `at` when the message was sent
    dropped: bool = False
    principal: str = ""


class Watches:
    """
    All watchers of this process: their number, the task that wakes them, and the drain.

    `broadcast` makes the messages, in one form. Gauges: `watchers`, and `watchers_behind`, those that do not stand
    where the log does.
    """

    def __init__(
        self,
        *,
        log: RevocationLog,
        tail: LogTail,
        clock: Clock,
        observer: Observer,
        settings: WatchSettings | None = None,
    ) -> None:
        self.settings = settings or WatchSettings()
        self.log = log
        self.tail = tail
        self.clock = clock
        self.on_tick: list[Callable[[], None]] = []
        self._observer = observer
        self._throttling = Throttling(clock=clock, observer=observer)
        self._watchers: set[_Watcher] = set()
        self._by_principal: Counter[str] = Counter()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._draining: asyncio.Future[None] | None = None
        observer.gauge("watchers", lambda: float(len(self._watchers)))
        observer.gauge("watchers_behind", lambda: float(self._behind()))

    def broadcast(self, form: Callable[[Message], T]) -> "Broadcast[T]":
        """Return a source of messages in this form; make one per transport."""
        return Broadcast(self, form=form)

    def drain(self) -> None:
        """Make every stream say GoAway and end."""
        signal = self._drain_signal()
        if not signal.done():
            signal.set_result(None)

    @property
    def draining(self) -> bool:
        """Whether streams say GoAway."""
        return self._draining is not None and self._draining.done()

    def join(self, cut: Cut | None, principal: str = "") -> _Watcher:
        """
        Return a new watcher of *principal*, to be given to `leave`.

        Raises:
            RateLimited: there are as many as this process, or this principal, may have.

        """
        if len(self._watchers) >= self.settings.watchers:
            self._throttling.refuse("watchers", self.settings.retry_after)
        if self._by_principal[principal] >= self.settings.per_principal:
            self._throttling.refuse("principal.watchers", self.settings.retry_after)
        watcher = _Watcher(cut, principal=principal)
        self._watchers.add(watcher)
        self._by_principal[principal] += 1
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._run())
        return watcher

    def leave(self, watcher: _Watcher) -> None:
        """Forget a watcher. Idempotent."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            self._by_principal[watcher.principal] -= 1
            if not self._by_principal[watcher.principal]:
                del self._by_principal[watcher.principal]
        if not self._watchers and self._pump is not None:
            self._pump.cancel()
            self._pump = None

    def sending(self, watcher: _Watcher) -> None:
        """Note that a message is on its way to *watcher*."""
        watcher.sent_at = self.clock.elapsed()
        watcher.is_remembered = watcher.at is not None and watcher.at.position >= self.tail.remembers_after

    def taken(self, watcher: _Watcher) -> None:
        """
        Note that the message was taken.

        Raises:
            WatcherTooSlow: not in time.

        """
        because = self._is_too_slow(watcher)
        if because and not watcher.dropped:
            self._report(watcher, because)
        watcher.sent_at = None
        if because:
            raise WatcherTooSlow(because)

    async def news(self, at: Cursor) -> None:
        """Return when the log has moved from *at*, a heartbeat is due, or the process drains."""
        if self.tail.view.known == at and not self.draining:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    async def _run(self) -> None:
        told = self.tail.view.known
        tick_at = self.clock.elapsed() + HEARTBEAT.total_seconds()
        while not self.draining:
            is_due = await self._until_news(told, tick_at)
            began = self.clock.elapsed()
            if is_due:
                tick_at = began + HEARTBEAT.total_seconds()
                self._tick()
            told = self.tail.view.known
            await self._wake()
            # At most half of this process's time goes into broadcasts, however fast the log grows.
            spent = timedelta(seconds=self.clock.elapsed() - began)
            if spent > timedelta(0):
                await self.clock.sleep(min(spent, _LONGEST_PAUSE))
        await self._wake()

    async def _until_news(self, told: Cursor | None, tick_at: float) -> bool:
        """Return when the log has moved from *told* or the process drains, or True once a heartbeat is due."""
        draining = self._drain_signal()
        while not draining.done() and self.tail.view.known == told:
            left = timedelta(seconds=tick_at - self.clock.elapsed())
            if left <= timedelta(0):
                return True
            # Asked for before anything else can run: a change between the look above and the wait would be missed.
            changed = self.tail.next_change()
            timer = asyncio.ensure_future(self.clock.sleep(left))
            either: set[asyncio.Future[Any]] = {changed, draining, timer}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
        return self.clock.elapsed() >= tick_at  # also while the log moves all the time

    async def _wake(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            for _ in range(min(_WOKEN_AT_ONCE, len(waiting))):
                future = waiting.popleft()
                if not future.done():
                    future.set_result(None)
            await self.clock.sleep(timedelta(0))

    def _tick(self) -> None:
        for look in self.on_tick:
            look()
        for watcher in list(self._watchers):
            because = self._is_too_slow(watcher)
            if because and watcher.cut is not None:
                self._report(watcher, because)
                watcher.dropped = True
                self.leave(watcher)
                watcher.cut(WatcherTooSlow(because))

    def _is_too_slow(self, watcher: _Watcher) -> str:
        if watcher.sent_at is None:
            return ""
        if self.clock.elapsed() - watcher.sent_at > self.settings.blocked_for.total_seconds():
            return "blocked"
        # Only if it fell behind while it did not read: one that resumes from far behind is read to from the store.
        if watcher.is_remembered and watcher.at is not None:
            return "behind" if watcher.at.position < self.tail.remembers_after else ""
        return ""

    def _report(self, watcher: _Watcher, because: str) -> None:
        known = self.tail.view.known
        fields: dict[str, str | int | float | bool] = {"because": because}
        if watcher.sent_at is not None:
            fields["blocked_s"] = round(self.clock.elapsed() - watcher.sent_at, 3)
        if watcher.at is not None and known is not None:
            fields["behind"] = known.position - watcher.at.position
        self._observer.event(Event("watcher.dropped", level="warning", fields=fields))

    def _behind(self) -> int:
        known = self.tail.view.known
        return sum(watcher.at != known for watcher in self._watchers)

    def _drain_signal(self) -> "asyncio.Future[None]":
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_future()
        return self._draining


_Made = tuple[T, Cursor, bool]


class Broadcast(Generic[T]):
    """Messages in one form, each made once for all who stand where it begins."""

    def __init__(self, watches: Watches, *, form: Callable[[Message], T]) -> None:
        self._watches = watches
        self._tail = watches.tail
        self._form = form
        self._snapshots = Snapshots(log=watches.log, clock=watches.clock, form=form)
        self._made: OrderedDict[Cursor, _Made[T]] = OrderedDict()
        self._parts = asyncio.Semaphore(watches.settings.sending_parts)
        self._reads = asyncio.Semaphore(watches.settings.store_reads)
        watches.on_tick.append(self._snapshots.expire)

    async def watch(
        self, resume_from: Cursor | None, *, cut: Cut | None = None, principal: str = ""
    ) -> AsyncIterator[tuple[T, timedelta | None]]:
        """
        Yield messages until the process drains, each with the age of the knowledge it completes, if it does.

        Then what is still untold, if it is in memory, and GoAway.

        *cut* ends the stream from outside, with this error, while it waits in a `yield`: for a reader that does not
        read. Without it such a reader is told when it reads again.

        Raises:
            CursorExpired: *resume_from* is too old, or of another incarnation: watch again without a cursor.
            NotFresh: this process has no complete snapshot itself yet.
            RateLimited: this process, or this *principal*, has as many watchers as it may.
            StoreUnavailable: the snapshot or the older part of the log cannot be read.
            WatcherTooSlow: the reader did not read; it may resume from its last cursor.

        """
        known = self._tail.view.known
        if known is None:
            raise NotFresh("no complete snapshot yet")
        watcher = self._watches.join(cut, principal)
        try:
            if resume_from is None:
                parts = self._snapshots.parts(known, remembered_after=self._tail.remembers_after)
                async with aclosing(parts) as source:  # type: ignore[type-var]
                    async for part, through in source:
                        async with self._parts:
                            watcher.at = through
                            self._watches.sending(watcher)
                            yield part, None if through is None else self._tail.age_of(through)
                            self._watches.taken(watcher)
            else:
                await self._tail.reach(resume_from)
                watcher.at = resume_from
            assert watcher.at is not None
            left = _LAST_MESSAGES
            while not self._watches.draining or (left and self._is_untold(watcher.at)):
                left -= self._watches.draining
                message, watcher.at, is_long = await self._after(watcher.at)
                async with self._parts if is_long else nullcontext():
                    self._watches.sending(watcher)
                    yield message, self._tail.age_of(watcher.at)
                    self._watches.taken(watcher)
                await self._watches.news(watcher.at)
            yield self._form(GoAway(watcher.at)), self._tail.age_of(watcher.at)
        finally:
            self._watches.leave(watcher)

    def _is_untold(self, at: Cursor) -> bool:
        """Tell whether memory holds what takes a reader on from *at*."""
        known = self._tail.view.known
        remembers = at.position >= self._tail.remembers_after
        return remembers and known is not None and known.incarnation == at.incarnation and known != at

    async def _after(self, at: Cursor) -> _Made[T]:
        """Return what takes a reader on from *at*, where to, and whether it is long; a heartbeat if there is nothing."""
        known = self._tail.view.known
        if known is None or known.incarnation != at.incarnation:
            raise CursorExpired
        made = self._kept(at, known)
        if made is not None:
            return made
        if at.position >= self._tail.remembers_after:
            return await self._make(at)
        async with self._reads:
            return self._kept(at, known) or await self._make(at)

    def _kept(self, at: Cursor, known: Cursor) -> _Made[T] | None:
        made = self._made.get(at)
        # A heartbeat is one only as long as there is nothing to tell.
        return None if made is None or (made[1] == at and at != known) else made

    async def _make(self, at: Cursor) -> _Made[T]:
        facts, position = await self._tail.facts_after(at.position)
        known = self._tail.view.known
        if known is None or known.incarnation != at.incarnation:  # while the store was read
            raise CursorExpired
        through = Cursor(at.incarnation, position)
        message = Changes(tuple(fact for fact in facts if is_public(fact)), through)
        self._made[at] = made = (self._form(message), through, len(facts) > _LONG)
        self._made.move_to_end(at)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return made
