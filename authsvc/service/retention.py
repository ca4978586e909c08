"""
Keeps the record from growing with the service's age: sessions long over, used login codes, facts of dead tokens.

Every server process does it, each at its own moment: a batch is small, idempotent and indexed, so several at once are
harmless and one that was stopped half-way is taken up by the next. Between two batches the writer is left to others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Clock, Entropy, Event, Housekeeping, Observer

# Rows per transaction. docs/operations/backup.md states how long one holds the writer.
BATCH = 100
# Between two batches at least this, and so long that the writer is free for four fifths of the time.
PAUSE = timedelta(milliseconds=100)
_REST = 4
INTERVAL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows a round removed."""

    sessions: int
    login_codes: int
    facts: int
    audit: int


class Retention:
    """
    The background task of one process.

    `start` begins it, a random part of an interval later, so that replicas do not sweep together; `stop` ends it
    between two batches or in one, which then still completes as a whole.
    """

    def __init__(
        self,
        *,
        store: Housekeeping,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        session_retention: timedelta,
        audit_retention: timedelta,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._session_retention = session_retention
        self._audit_retention = audit_retention
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first round comes within one interval."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def sweep(self) -> Swept:
        """
        Remove all that nobody needs now, and say how much that was.

        Raises:
            StoreUnavailable: the record did not answer; what was removed before stays removed.

        """
        store = self._store
        swept = Swept(
            sessions=await self._exhaust(
                lambda: store.purge_sessions(retention=self._session_retention, limit=BATCH)
            ),
            login_codes=await self._exhaust(lambda: store.purge_codes(limit=BATCH)),
            facts=await self._exhaust(lambda: store.compact_log(limit=BATCH)),
            audit=await self._exhaust(
                lambda: store.purge_audit(retention=self._audit_retention, limit=BATCH)
            ),
        )
        if swept.sessions or swept.login_codes or swept.facts or swept.audit:
            self._observer.event(
                Event(
                    "retention.swept",
                    fields={
                        "sessions": swept.sessions,
                        "login_codes": swept.login_codes,
                        "facts": swept.facts,
                        "audit": swept.audit,
                    },
                )
            )
        return swept

    async def _exhaust(self, batch: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while True:
            began = self._clock.elapsed()
            removed = await batch()
            total += removed
            took = timedelta(seconds=self._clock.elapsed() - began)
            await self._clock.sleep(max(PAUSE, took * _REST))
            if removed < BATCH:
                return total

    async def _run(self) -> None:
        await self._clock.sleep(INTERVAL * self._entropy.fraction())
        while True:
            try:
                await self.sweep()
            except StoreUnavailable:
                self._report("StoreUnavailable")
            except Exception as error:  # noqa: BLE001 - the record must not grow for ever because of one surprise
                self._report(type(error).__name__)
            await self._clock.sleep(INTERVAL * (0.75 + self._entropy.fraction() / 2))

    def _report(self, error: str) -> None:
        self._observer.event(Event("retention.failed", level="warning", fields={"error": error}))
