"""
Snapshots of the live facts, read from the store once for everybody who asks meanwhile.

A snapshot is kept in the form in which it is sent, never as facts: of a million ended sessions some 17 MB. At most
two are kept, the newest and the one before it; whoever still reads an older one has been too slow. The reading is a
task of its own, so that a reader that leaves takes nothing from the others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import WatcherTooSlow
from authsvc.domain.revocations import Fact, FactKind
from authsvc.ports import Clock, RevocationLog

T = TypeVar("T")
# A session fact is 16 bytes packed, any other below 200: a part stays below 1 MB and is made within some 10 ms.
PART_FACTS = 5000
# This long a snapshot also serves those who come after it was begun: what happened since reaches them as changes.
# So two snapshots in memory leave everybody at least as long again to read one.
SHARED_FOR = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A part of all live facts; `through` is set on the last part only."""

    facts: tuple[Fact, ...]
    through: Cursor | None


@dataclass(slots=True, eq=False)
class _Shot(Generic[T]):
    through: Cursor
    begun_at: float
    parts: list[T] = field(default_factory=list)
    complete: bool = False
    failure: Exception | None = None
    retired: bool = False
    readers: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def moved(self) -> None:
        """Wake those who have read all there is."""
        self.progress.set()
        self.progress = asyncio.Event()


class Snapshots(Generic[T]):
    """Makes and shares snapshots; `form` encodes a part, in a step short enough for an event loop."""

    def __init__(self, *, log: RevocationLog, clock: Clock, form: Callable[[Snapshot], T]) -> None:
        self._log = log
        self._clock = clock
        self._form = form
        self._kept: list[_Shot[T]] = []  # oldest first

    async def parts(self, known: Cursor, *, remembered_after: int) -> AsyncIterator[tuple[T, Cursor | None]]:
        """
        Yield the parts, the last one with the cursor from which to go on.

        It is a snapshot of *known*, or a recent one whose cursor is not below *remembered_after*.

        Raises:
            StoreUnavailable: the store cannot be read; all who share the snapshot are told.
            WatcherTooSlow: two newer snapshots were begun before this one was read to its end.

        """
        shot = self._joinable(known, remembered_after) or self._begin(known)
        shot.readers += 1
        at = 0
        try:
            while True:
                progress = shot.progress
                while at < len(shot.parts):
                    part, at = shot.parts[at], at + 1
                    last = shot.complete and at == len(shot.parts)
                    yield part, shot.through if last else None
                    if last:
                        return
                    _require_held(shot)
                if shot.failure is not None:
                    raise shot.failure
                await progress.wait()
                _require_held(shot)
        finally:
            shot.readers -= 1
            if not shot.readers and not shot.complete:
                self._forget(shot)

    def expire(self) -> None:
        """Let go of snapshots that nobody may join any more; who still reads one holds it."""
        for shot in [shot for shot in self._kept if not shot.readers and not self._is_recent(shot)]:
            self._forget(shot)

    def _joinable(self, known: Cursor, remembered_after: int) -> _Shot[T] | None:
        if not self._kept:
            return None
        shot = self._kept[-1]
        fits = shot.through.incarnation == known.incarnation and shot.through.position >= remembered_after
        fresh = shot.through == known or self._is_recent(shot)
        return shot if shot.failure is None and fits and fresh else None

    def _is_recent(self, shot: _Shot[T]) -> bool:
        return self._clock.elapsed() - shot.begun_at < SHARED_FOR.total_seconds()

    def _begin(self, known: Cursor) -> _Shot[T]:
        for old in self._kept[:-1]:
            old.retired = True
            old.parts.clear()
            old.moved()
            self._forget(old)
        shot = _Shot[T](through=known, begun_at=self._clock.elapsed())
        self._kept.append(shot)
        shot.task = asyncio.ensure_future(self._read(shot))
        return shot

    def _forget(self, shot: _Shot[T]) -> None:
        if shot in self._kept:
            self._kept.remove(shot)
        if shot.task is not None:
            shot.task.cancel()

    async def _read(self, shot: _Shot[T]) -> None:
        after, through = 0, shot.through
        try:
            while not shot.complete:
                _, facts = await self._log.read_live(after=after, limit=PART_FACTS)
                within = tuple(
                    fact for fact in facts if fact.position <= through.position and is_public(fact)
                )
                last = len(facts) < PART_FACTS or facts[-1].position > through.position
                shot.parts.append(self._form(Snapshot(within, through if last else None)))
                shot.complete = last
                after = facts[-1].position if facts else after
                shot.moved()
        except Exception as error:  # noqa: BLE001 - handed to those who wait for it, whatever it is
            shot.failure = error
            shot.moved()
            self._forget(shot)


def _require_held(shot: _Shot[T]) -> None:
    if shot.retired:
        raise WatcherTooSlow("newer snapshots have replaced the one it was reading")


def is_public(fact: Fact) -> bool:
    """Tell whether a fact may leave the servers."""
    return fact.kind is not FactKind.PRINCIPAL
