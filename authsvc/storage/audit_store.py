"""ports.AuditTrail over any backend that runs units of work: each method is one of them, no more."""

from collections.abc import Sequence
from datetime import timedelta

from authsvc.domain.audit import AuditRow, Checkpoint
from authsvc.ports.audit import AuditEntry, AuditQuery, Unsealed
from authsvc.storage import audit, audit_chain
from authsvc.storage.runner import Runner
from authsvc.storage.tx import Shared


class SqlAuditTrail:
    """Implements ports.AuditTrail."""

    _runner: Runner

    async def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See ports.AuditTrail.record_audit."""
        await self._runner.write(Shared(lambda tx: audit.record_all(tx, entries)))

    async def read_unsealed(self, *, grace: timedelta, limit: int) -> Unsealed:
        """See ports.AuditTrail.read_unsealed."""
        return await self._runner.read(lambda view: audit_chain.read_unsealed(view, grace=grace, limit=limit))

    async def seal_batch(self, checkpoint: Checkpoint, audit_ids: Sequence[str]) -> bool:
        """See ports.AuditTrail.seal_batch."""
        written = await self._runner.write(lambda tx: audit_chain.seal_batch(tx, checkpoint, audit_ids))
        return written.value

    async def list_audit(self, query: AuditQuery) -> Sequence[AuditRow]:
        """See ports.AuditTrail.list_audit."""
        return await self._runner.read(lambda view: audit_chain.list_audit(view, query))

    async def list_checkpoints(self, *, after: int, limit: int) -> Sequence[Checkpoint]:
        """See ports.AuditTrail.list_checkpoints."""
        return await self._runner.read(
            lambda view: audit_chain.list_checkpoints(view, after=after, limit=limit)
        )

    async def read_batches(
        self, *, after: int, through: int, limit: int
    ) -> Sequence[tuple[int, Checkpoint | None, Sequence[AuditRow]]]:
        """See ports.AuditTrail.read_batches."""
        return await self._runner.read(
            lambda view: audit_chain.read_batches(view, after=after, through=through, limit=limit)
        )

    async def purge_audit(self, *, retention: timedelta, limit: int) -> int:
        """See ports.Housekeeping.purge_audit."""
        written = await self._runner.write(
            lambda tx: audit_chain.purge_audit(tx, retention=retention, limit=limit)
        )
        return written.value
