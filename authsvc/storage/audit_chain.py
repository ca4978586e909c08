"""
The audit trail as it is sealed, read and shortened; the chain itself is domain.audit.

A sealer never waits for a row: who holds one (an erasure) may wait for us.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Integer, Row, Select, and_, bindparam, delete, func, insert, or_, select, update

from authsvc.domain.audit import AuditRow, Checkpoint
from authsvc.ports.audit import AuditQuery, Unsealed
from authsvc.storage.aliases import ids_of_person
from authsvc.storage.audit import to_audit_row
from authsvc.storage.schema import Instant, audit, audit_batches, signing_keys
from authsvc.storage.tx import Tx, View

_OPEN: Select[Any] = (
    select(audit)
    .where(audit.c.batch.is_(None), audit.c.at <= bindparam("until", type_=Instant))
    .order_by(audit.c.at, audit.c.audit_id)
    .limit(bindparam("at_most", type_=Integer))
)
_OLDEST_OPEN = select(func.min(audit.c.at)).where(audit.c.batch.is_(None))
_LAST: Select[Any] = select(audit_batches).order_by(audit_batches.c.batch.desc()).limit(1)
_KEY_STATE = select(signing_keys.c.state).where(signing_keys.c.kid == bindparam("kid"))
# Rows that somebody holds are left out, and then the batch is not closed: nobody waits for anybody.
_HOLD = (
    select(audit.c.audit_id)
    .where(audit.c.audit_id.in_(bindparam("these", expanding=True)), audit.c.batch.is_(None))
    .with_for_update(skip_locked=True)
)
_CLOSE = (
    update(audit)
    .where(audit.c.audit_id.in_(bindparam("these", expanding=True)))
    .values(batch=bindparam("this_batch"))
)
_OVER: Select[Any] = (
    select(audit_batches.c.batch)
    .where(audit_batches.c.sealed_at < bindparam("over_by", type_=Instant))
    .order_by(audit_batches.c.batch)
)
_ROWS_OF = (
    select(audit.c.audit_id)
    .where(audit.c.batch == bindparam("this_batch"))
    .order_by(audit.c.at, audit.c.audit_id)
    .limit(bindparam("at_most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_FORGET = delete(audit).where(audit.c.audit_id.in_(bindparam("gone", expanding=True)))


def read_unsealed(view: View, *, grace: timedelta, limit: int) -> Unsealed:
    """See ports.AuditTrail.read_unsealed."""
    rows = view.connection.execute(_OPEN, {"until": view.now - grace, "at_most": limit})
    return Unsealed(
        rows=[to_audit_row(row) for row in rows],
        last=_last(view),
        now=view.now,
        oldest_at=view.connection.execute(_OLDEST_OPEN).scalar_one(),
    )


def seal_batch(tx: Tx, checkpoint: Checkpoint, audit_ids: Sequence[str]) -> bool:
    """
    See ports.AuditTrail.seal_batch.

    Where two sealers are past the first look, the second INSERT of the same number fails, and its unit is run again.
    """
    last = _last(tx)
    if checkpoint.batch != (1 if last is None else last.batch + 1):
        return False
    if tx.connection.execute(_KEY_STATE, {"kid": checkpoint.kid}).scalar_one_or_none() == "withdrawn":
        return False
    held = tx.connection.execute(_HOLD, {"these": list(audit_ids)}).scalars().all()
    if len(held) != len(audit_ids):
        return False
    tx.connection.execute(
        insert(audit_batches).values(
            batch=checkpoint.batch,
            sealed_at=checkpoint.sealed_at,
            rows=checkpoint.rows,
            rows_hash=checkpoint.rows_hash,
            chain_hash=checkpoint.chain_hash,
            kid=checkpoint.kid,
            signature=checkpoint.signature,
        )
    )
    tx.connection.execute(_CLOSE, {"these": list(audit_ids), "this_batch": checkpoint.batch})
    return True


def list_audit(view: View, query: AuditQuery) -> Sequence[AuditRow]:
    """See ports.AuditTrail.list_audit."""
    wanted = select(audit)
    if query.user_id:
        wanted = wanted.where(audit.c.user_id.in_(ids_of_person(view, query.user_id)))
    if query.event.endswith("*"):
        wanted = wanted.where(audit.c.event.startswith(query.event[:-1], autoescape=True))
    elif query.event:
        wanted = wanted.where(audit.c.event == query.event)
    if query.by:
        wanted = wanted.where(audit.c.by == query.by)
    if query.since is not None:
        wanted = wanted.where(audit.c.at >= query.since)
    if query.after is not None:
        at, audit_id = query.after
        wanted = wanted.where(or_(audit.c.at > at, and_(audit.c.at == at, audit.c.audit_id > audit_id)))
    order = (audit.c.at, audit.c.audit_id)
    if query.newest:
        order = (audit.c.at.desc(), audit.c.audit_id.desc())  # type: ignore[assignment]
    rows = [to_audit_row(row) for row in view.connection.execute(wanted.order_by(*order).limit(query.limit))]
    return rows[::-1] if query.newest else rows


def list_checkpoints(view: View, *, after: int, limit: int) -> Sequence[Checkpoint]:
    """See ports.AuditTrail.list_checkpoints."""
    rows = view.connection.execute(
        select(audit_batches)
        .where(audit_batches.c.batch > after)
        .order_by(audit_batches.c.batch)
        .limit(limit)
    )
    return [_checkpoint(row) for row in rows]


def read_batches(
    view: View, *, after: int, through: int, limit: int
) -> Sequence[tuple[int, Checkpoint | None, Sequence[AuditRow]]]:
    """See ports.AuditTrail.read_batches."""
    numbers: set[int] = set()
    for column in (audit_batches.c.batch, audit.c.batch):
        numbers.update(
            view.connection.execute(
                select(column)
                .where(column > after, column <= through)
                .group_by(column)
                .order_by(column)
                .limit(limit)
            ).scalars()
        )
    wanted = sorted(numbers)[:limit]
    checkpoints = view.connection.execute(select(audit_batches).where(audit_batches.c.batch.in_(wanted)))
    by_batch = {row.batch: _checkpoint(row) for row in checkpoints}
    rows: dict[int, list[AuditRow]] = {number: [] for number in wanted}
    found = view.connection.execute(
        select(audit).where(audit.c.batch.in_(wanted)).order_by(audit.c.batch, audit.c.at, audit.c.audit_id)
    )
    for row in found:
        rows[row.batch].append(to_audit_row(row))
    return [(number, by_batch.get(number), rows[number]) for number in wanted]


def purge_audit(tx: Tx, *, retention: timedelta, limit: int) -> int:
    """See ports.Housekeeping.purge_audit; two replicas step round each other's rows."""
    over_by = {"over_by": tx.now - retention}
    removed = 0
    emptied = 0
    # Those before the first that still has rows are anchors of former rounds: one, or few.
    for batch in tx.connection.execute(_OVER.limit(limit), over_by).scalars().all():
        these = {"this_batch": batch, "at_most": limit - removed}
        gone = tx.connection.execute(_ROWS_OF, these).scalars().all()
        if gone:
            tx.connection.execute(_FORGET, {"gone": gone})
            removed += len(gone)
        if removed >= limit or _has_rows(tx, batch):
            break
        emptied = batch
    if emptied:
        tx.connection.execute(delete(audit_batches).where(audit_batches.c.batch < emptied))
    return removed


def _has_rows(tx: Tx, batch: int) -> bool:
    return (
        tx.connection.execute(select(audit.c.batch).where(audit.c.batch == batch).limit(1)).first()
        is not None
    )


def _last(view: View) -> Checkpoint | None:
    row = view.connection.execute(_LAST).one_or_none()
    return None if row is None else _checkpoint(row)


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(
        batch=row.batch,
        sealed_at=row.sealed_at,
        rows=row._mapping["rows"],  # noqa: SLF001 - public; a Row has methods of its own
        rows_hash=row.rows_hash,
        chain_hash=row.chain_hash,
        kid=row.kid,
        signature=row.signature,
    )
