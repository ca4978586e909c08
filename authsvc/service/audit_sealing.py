"""
Closes batches of the audit trail: hashed, chained to the batch before, signed, and told in the log stream.

Every server process does it; of several that close the same batch the record keeps one. The checkpoint in the log is
what an external log store proves truncation with: who can write to the database cannot take it back.
"""

import asyncio
from datetime import timedelta
from typing import Protocol

from authsvc.domain.audit import GENESIS, Checkpoint, chain, hash_rows, microseconds, signing_input
from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import AuditTrail, Clock, Entropy, Event, Observer, Signer, Unsealed

INTERVAL = timedelta(seconds=10)
# Beyond the longest transaction (storage.postgres: five seconds of idling are cut, each call is answered within less).
GRACE = timedelta(seconds=10)
# Rows per batch: one UPDATE holds a single writer for some milliseconds.
BATCH_ROWS = 500


class ActiveSigner(Protocol):
    """Whoever knows the active signing key: service.keys.KeyDirectory."""

    async def active_signer(self) -> Signer:
        """Return its private half, or raise StoreUnavailable where it is not held."""
        ...


class AuditSealer:
    """
    The background task of one process.

    `start` begins it; `stop` ends it, and a batch that was begun then still completes as a whole or not at all.
    """

    def __init__(
        self, *, trail: AuditTrail, keys: ActiveSigner, clock: Clock, entropy: Entropy, observer: Observer
    ) -> None:
        self._trail = trail
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._waiting_s = 0.0
        self._task: asyncio.Task[None] | None = None
        observer.gauge("audit_unsealed_age_seconds", lambda: self._waiting_s)

    def start(self) -> None:
        """Begin: the newest checkpoint is told once more, then batches are closed as rows come."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def seal(self) -> int:
        """
        Close batches until no row waits that may be sealed; say how many this process closed.

        Raises:
            StoreUnavailable: the record did not answer, or this replica does not hold the active key.

        """
        closed = 0
        while True:
            unsealed = await self._trail.read_unsealed(grace=GRACE, limit=BATCH_ROWS)
            oldest_at = unsealed.oldest_at
            self._waiting_s = 0.0 if oldest_at is None else (unsealed.now - oldest_at).total_seconds()
            if not unsealed.rows:
                return closed
            checkpoint = await _close(unsealed, await self._keys.active_signer())
            if not await self._trail.seal_batch(checkpoint, [row.audit_id for row in unsealed.rows]):
                return closed  # another replica is at it, or a row is held: the next round sees what it left
            closed += 1
            self._tell(checkpoint)
            if len(unsealed.rows) < BATCH_ROWS:
                return closed

    async def _run(self) -> None:
        told = False
        while True:
            # Replicas take turns by chance, so that they seldom do the same work.
            await self._clock.sleep(INTERVAL * (0.5 + self._entropy.fraction()))
            try:
                if not told:
                    await self._tell_last()
                    told = True
                await self.seal()
            except StoreUnavailable:
                self._report("StoreUnavailable")
            except Exception as error:  # noqa: BLE001 - one surprise must not leave the trail open for ever
                self._report(type(error).__name__)

    async def _tell_last(self) -> None:
        """Of a process that was killed between a batch and its line, the line is made up for by who comes after."""
        unsealed = await self._trail.read_unsealed(grace=GRACE, limit=0)
        if unsealed.last is not None:
            self._tell(unsealed.last)

    def _tell(self, checkpoint: Checkpoint) -> None:
        # Named so that the log's redaction, which knows the names of secrets, lets it through.
        fields: dict[str, str | int | float | bool] = {
            "batch": checkpoint.batch,
            "rows": checkpoint.rows,
            "sealed_at": microseconds(checkpoint.sealed_at),
            "chain_hash": checkpoint.chain_hash.hex(),
            "kid": checkpoint.kid,
            "proof": checkpoint.signature.hex(),
        }
        self._observer.event(Event("audit.checkpoint", fields=fields))

    def _report(self, error: str) -> None:
        self._observer.event(Event("audit.not_sealed", level="warning", fields={"error": error}))


async def _close(unsealed: Unsealed, signer: Signer) -> Checkpoint:
    last, rows = unsealed.last, unsealed.rows
    batch = 1 if last is None else last.batch + 1
    sealed_at = unsealed.now if last is None else max(unsealed.now, last.sealed_at)
    rows_hash = hash_rows(rows)
    chain_hash = chain(
        GENESIS if last is None else last.chain_hash,
        batch=batch,
        sealed_at=sealed_at,
        rows=len(rows),
        rows_hash=rows_hash,
    )
    return Checkpoint(
        batch=batch,
        sealed_at=sealed_at,
        rows=len(rows),
        rows_hash=rows_hash,
        chain_hash=chain_hash,
        kid=signer.header.kid,
        signature=await signer.sign(signing_input(batch, chain_hash)),
    )
