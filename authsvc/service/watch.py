"""
Watching the revocation log: snapshot, then changes, with a heartbeat at least once a second.

Four promises (DESIGN section 2): ascending order; a cursor to resume from; every message says how far it is
complete and how old that knowledge is; a cursor that is too old is refused with what to do instead.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, NotFresh
from authsvc.domain.revocations import Fact, FactKind
from authsvc.ports import Clock, RevocationLog
from authsvc.service.tail import LogTail

# Promised is a message at least once a second: the rest is for the way.
HEARTBEAT = timedelta(milliseconds=900)
# A session fact is some 40 bytes packed, others below 150: a part stays far under 1 MB.
_PART_FACTS = 5000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A part of all live facts; `through` and `age` are set on the last part only."""

    facts: tuple[Fact, ...]
    through: Cursor | None
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Facts in ascending order (none: a heartbeat), complete through `through`, known to be so `age` ago."""

    facts: tuple[Fact, ...]
    through: Cursor
    age: timedelta


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server is stopping: reconnect elsewhere and resume from `through`."""

    through: Cursor
    age: timedelta


Message = Snapshot | Changes | GoAway


class Watches:
    """Serves subscribers from the tail's memory; each holds nothing but its own position."""

    def __init__(self, *, log: RevocationLog, tail: LogTail, clock: Clock) -> None:
        self._log = log
        self._tail = tail
        self._clock = clock
        self._draining: asyncio.Future[None] | None = None

    def drain(self) -> None:
        """Make every stream say GoAway and end."""
        signal = self._drain_signal()
        if not signal.done():
            signal.set_result(None)

    async def watch(self, resume_from: Cursor | None) -> AsyncIterator[Message]:
        """
        Yield messages until the process drains.

        Raises:
            CursorExpired: *resume_from* is too old, or of another incarnation: watch again without a cursor.
            NotFresh: this process has no complete snapshot itself yet.
            StoreUnavailable: the snapshot or the older part of the log cannot be read.

        """
        known = self._tail.view.known
        if known is None:
            raise NotFresh("no complete snapshot yet")
        if resume_from is None:
            async for part in self._snapshot(known):
                yield part
            at = known
        else:
            await self._tail.reach(resume_from)
            at = resume_from
        async for message in self._changes(at):
            yield message

    async def _snapshot(self, known: Cursor) -> AsyncIterator[Snapshot]:
        after = 0
        while True:
            _, facts = await self._log.read_live(after=after, limit=_PART_FACTS)
            within = tuple(fact for fact in facts if fact.position <= known.position and _is_public(fact))
            if len(facts) < _PART_FACTS or facts[-1].position > known.position:
                yield Snapshot(facts=within, through=known, age=self._tail.age())
                return
            yield Snapshot(facts=within, through=None, age=None)
            after = facts[-1].position

    async def _changes(self, at: Cursor) -> AsyncIterator[Message]:
        draining = self._drain_signal()
        while True:
            known = self._tail.view.known
            if known is None or known.incarnation != at.incarnation:
                raise CursorExpired
            facts, through = await self._tail.facts_after(at.position)
            at = Cursor(at.incarnation, through)
            age = self._tail.age()
            if draining.done():
                yield GoAway(through=at, age=age)
                return
            yield Changes(facts=tuple(fact for fact in facts if _is_public(fact)), through=at, age=age)
            await self._news(at, draining)

    async def _news(self, at: Cursor, draining: "asyncio.Future[None]") -> None:
        """Return when there is more than *at*, the process drains, or a heartbeat is due."""
        due = self._clock.elapsed() + HEARTBEAT.total_seconds()
        while not draining.done() and self._tail.view.known == at:
            left = timedelta(seconds=due - self._clock.elapsed())
            if left <= timedelta(0):
                return
            changed = asyncio.ensure_future(self._tail.wait_change(limit=left))
            either: set[asyncio.Future[Any]] = {changed, draining}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()

    def _drain_signal(self) -> "asyncio.Future[None]":
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_future()
        return self._draining


def _is_public(fact: Fact) -> bool:
    return fact.kind is not FactKind.PRINCIPAL
