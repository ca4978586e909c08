"""
Keeps the view true to the log: loads it, tails it by watermark, notices a restored database, wakes who waits.

On start it notes the head, loads the live facts, then tails from the noted position; applying twice is harmless
(DESIGN section 5). A poll always runs underneath; `nudge` only makes it come sooner.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, NotFresh, StoreUnavailable
from authsvc.domain.revocations import Fact, LogHead
from authsvc.ports import Clock, Event, Observer, RevocationLog, T_co, Written
from authsvc.service.heads import Heads
from authsvc.service.view import RevocationView
from authsvc.service.waiting import wait_within

POLL_INTERVAL = timedelta(milliseconds=250)
REACH_LIMIT = timedelta(milliseconds=500)
_PAGE = 1000
_LOAD_PAGE = 5000
_RECENT = 10_000
_PRUNE_EVERY = 240  # polls: once a minute


class LogTail:
    """
    The one reader of the log in this process.

    `hard_bound`: older knowledge than this decides nothing. After `start` the view is complete; `stop` ends the
    polling. `recent` is the ordered end of the log that subscribers read from.
    """

    def __init__(
        self,
        *,
        log: RevocationLog,
        view: RevocationView,
        clock: Clock,
        observer: Observer,
        hard_bound: timedelta,
    ) -> None:
        self.view = view
        self.hard_bound = hard_bound
        self._hard_bound_s = hard_bound.total_seconds()
        self._log = log
        self._clock = clock
        self._observer = observer
        self._heads = Heads()
        self._fact_id_at_known = b""
        self._recent: deque[Fact] = deque(maxlen=_RECENT)
        self._recent_after = 0
        self._changed: asyncio.Future[None] | None = None
        self._nudge = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._polls = 0

    async def start(self) -> None:
        """
        Load the view and begin to tail.

        Raises:
            StoreUnavailable: the log cannot be read; nothing was started.

        """
        await self._load()
        self._observer.gauge("revocation_facts", lambda: float(len(self.view)))
        self._observer.gauge("revocation_age_seconds", lambda: self.age().total_seconds())
        self._observer.gauge(
            "revocation_position", lambda: float(self.view.known.position if self.view.known else 0)
        )
        await self._log.on_change(self.nudge)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the polling. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def age(self) -> timedelta:
        """Return how long ago the log was last confirmed, counted from before that read was sent."""
        elapsed = self._clock.elapsed() - self.view.confirmed_at
        return timedelta(seconds=min(elapsed, 10**9))

    def age_of(self, through: Cursor) -> timedelta:
        """
        Return how old the knowledge of one is who is complete through *through*, and no further.

        That is `age` where this process stands itself; else the time since *through* was last confirmed as the log's
        head; some 30 years where that is not remembered, which is beyond every hard bound.
        """
        elapsed = self._clock.elapsed() - self._heads.confirmed_at(through.position)
        return timedelta(seconds=min(elapsed, 10**9))

    def age_ms(self) -> int:
        """Return `age` in whole milliseconds, rounded up: never fresher than it is."""
        elapsed = self._clock.elapsed() - self.view.confirmed_at
        return -(-round(min(elapsed, 10**9) * 1_000_000) // 1000)

    def is_fresh(self) -> bool:
        """Tell whether this process may decide: a complete snapshot, confirmed within the hard bound."""
        elapsed = self._clock.elapsed() - self.view.confirmed_at
        return self.view.known is not None and elapsed <= self._hard_bound_s

    def require_fresh(self) -> None:
        """
        Return if this process may decide.

        Raises:
            NotFresh: it may not; that is no verdict.

        """
        if not self.is_fresh():
            raise NotFresh("the revocation log was not confirmed within the hard bound")

    def apply_own(self, written: Written[T_co]) -> T_co:
        """Apply what this process itself wrote, before anybody is answered, and return the write's value."""
        if written.facts:
            self.view.apply(written.facts)
            self.nudge()
        return written.value

    def nudge(self) -> None:
        """Make the next poll come now."""
        self._nudge.set()

    async def reach(self, cursor: Cursor) -> None:
        """
        Return once everything up to *cursor* is known here; asks the store at once and waits up to 500 ms.

        Raises:
            CursorExpired: it belongs to another incarnation of the log.
            NotFresh: it was not reached in time.

        """
        arrived_at = self._clock.elapsed()
        deadline = arrived_at + REACH_LIMIT.total_seconds()
        while True:
            known = self.view.known
            if known is not None:
                if known.incarnation == cursor.incarnation:
                    if known.position >= cursor.position:
                        return
                elif known.position >= cursor.position or self.view.confirmed_at >= arrived_at:
                    raise CursorExpired
                # Else it may be of a newer incarnation that another replica noticed first: look before judging.
            left = timedelta(seconds=deadline - self._clock.elapsed())
            self.nudge()
            if left <= timedelta(0) or not await self.wait_change(limit=left):
                raise NotFresh("at_least was not reached in time")

    async def wait_change(self, *, limit: timedelta) -> bool:
        """Return True after the next successful poll, False if *limit* passes first."""
        return await wait_within(self.next_change(), clock=self._clock, limit=limit)

    def next_change(self) -> "asyncio.Future[None]":
        """Return what is done after the next successful poll; all who ask share it, so nobody may cancel it."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    @property
    def remembers_after(self) -> int:
        """The position above which every known fact is in memory."""
        return self._recent_after

    async def facts_after(self, position: int) -> tuple[Sequence[Fact], int]:
        """
        Return known facts above *position*, ascending, and the position through which they are complete.

        A page at a time; from memory, or from the store where memory does not reach back far enough.

        Raises:
            CursorExpired: compaction has passed *position*.
            StoreUnavailable: the store had to be asked and did not answer.

        """
        known = self.view.known
        if known is None or position >= known.position:
            return (), position
        if position >= self._recent_after:
            newer = list(takewhile(lambda fact: fact.position > position, reversed(self._recent)))[::-1]
            through = known.position if len(newer) <= _PAGE else newer[_PAGE - 1].position
            return newer[:_PAGE], through
        head, facts = await self._log.read_from(position + 1, limit=_PAGE)
        if position < head.compacted_through:
            raise CursorExpired
        through = facts[-1].position if len(facts) == _PAGE else known.position
        return [fact for fact in facts if fact.position <= known.position], min(through, known.position)

    async def poll(self) -> None:
        """Read the log once, up to its head, and tell those who wait."""
        asked_at = self._clock.elapsed()
        known = self.view.known
        if known is None:
            await self._load()
            return
        while True:
            head, facts = await self._log.read_from(known.position, limit=_PAGE)
            if self._is_other_history(known, head, facts):
                await self._begin_again(known, head)
                return
            if self._is_too_old(known, head, facts):
                await self._load()
                return
            fresh = [fact for fact in facts if fact.position > known.position]
            self._take(fresh)
            if len(facts) < _PAGE:
                break
            known = Cursor(head.incarnation, facts[-1].position)
            self.view.known = known
        self._confirm(head, asked_at)

    def _take(self, facts: Sequence[Fact]) -> None:
        self.view.apply(facts)
        for fact in facts:
            if len(self._recent) == _RECENT:
                self._recent_after = self._recent[0].position
            self._recent.append(fact)
        if facts:
            self._fact_id_at_known = facts[-1].fact_id

    def _confirm(self, head: LogHead, asked_at: float) -> None:
        self.view.known = Cursor(head.incarnation, head.position)
        self.view.confirmed_at = asked_at
        self._heads.confirm(head.position, asked_at)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._changed = None

    def _is_other_history(self, known: Cursor, head: LogHead, facts: Sequence[Fact]) -> bool:
        if head.incarnation != known.incarnation or head.position < known.position:
            return True
        if not self._fact_id_at_known:
            return False
        # The fact we stood on must still be the very same one; compaction never removes the newest.
        if facts and facts[0].position == known.position:
            return facts[0].fact_id != self._fact_id_at_known
        return known.position > head.compacted_through

    def _is_too_old(self, known: Cursor, head: LogHead, facts: Sequence[Fact]) -> bool:
        """
        Tell whether compaction has passed the place we stand on, in a log that is no other as far as one can see.

        Then nothing proves that what is left is the rest of what we know (we were suspended, say, and the database
        was restored in the meantime): all live facts are loaded anew. What we know stays known.
        """
        if facts and facts[0].position == known.position:
            return False
        lost_ours = bool(self._fact_id_at_known) and known.position == head.compacted_through
        return known.position < head.compacted_through or lost_ours

    async def _begin_again(self, known: Cursor, head: LogHead) -> None:
        self._observer.event(
            Event(
                "log.incarnation_changed",
                level="warning",
                fields={"known": known.position, "head": head.position},
            )
        )
        if head.incarnation == known.incarnation or head.position <= known.position:
            # Nobody has noticed before us: the database was set back, so a new incarnation begins above all we saw.
            await self._log.begin_incarnation(above=known.position)
        # Facts we hold stay: what was once dead stays dead, also if the restored database has forgotten it.
        await self._load()

    async def _load(self) -> None:
        asked_at = self._clock.elapsed()
        noted = await self._log.read_head()
        # Asked for by itself: the fact we stand on may be one that no token needs any more.
        _, newest = await self._log.read_from(noted.position, limit=1)
        after = 0
        while True:
            _, facts = await self._log.read_live(after=after, limit=_LOAD_PAGE)
            within = [fact for fact in facts if fact.position <= noted.position]
            self.view.apply(within)
            if self.view.wants_packing:
                await self._pack()
            if len(facts) < _LOAD_PAGE or len(within) < len(facts):
                break
            after = facts[-1].position
        standing_on = newest[0] if newest and newest[0].position == noted.position else None
        self._fact_id_at_known = b"" if standing_on is None else standing_on.fact_id
        self._recent.clear()
        self._recent_after = noted.position
        self._confirm(noted, asked_at)

    async def _run(self) -> None:
        while True:
            nudged = asyncio.ensure_future(self._nudge.wait())
            try:
                await wait_within(nudged, clock=self._clock, limit=POLL_INTERVAL)
            finally:
                nudged.cancel()
            self._nudge.clear()  # before the poll: a nudge that comes during it makes another one
            try:
                await self.poll()
            except StoreUnavailable:
                self._report(failing=True)
            except Exception as error:  # noqa: BLE001 - the tail must outlive whatever a driver invents
                self._report(failing=True, error=type(error).__name__)
            else:
                self._report(failing=False)
            self._polls += 1
            if self.view.wants_packing or self._polls % _PRUNE_EVERY == 0:
                await self._pack()

    async def _pack(self) -> None:
        for _ in self.view.pack(now=self._clock.now()):
            await self._clock.sleep(timedelta(0))  # calls are served between the steps

    def _report(self, *, failing: bool, error: str = "StoreUnavailable") -> None:
        if failing != self._failing:
            self._failing = failing
            name = "log.unreachable" if failing else "log.reachable"
            fields: dict[str, str | int | float | bool] = {"error": error} if failing else {}
            self._observer.event(Event(name, level="error" if failing else "info", fields=fields))
