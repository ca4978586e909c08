"""The audit trail: who did what to which user, told in the transaction that does it."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update

from authsvc.domain.audit import MAX_REASON, SALT_BYTES, AuditRow
from authsvc.ports.audit import AuditEntry
from authsvc.storage.schema import audit
from authsvc.storage.tx import Tx, View

_ADD = insert(audit)
_ADDRESS_LENGTH = 64
# Those of an erased person are read and written back so many at a time.
_ERASE_AT_ONCE = 500


def record(
    tx: Tx,
    event: str,
    *,
    by: str,
    user_id: str = "",
    app_id: str = "",
    session_id: str = "",
    ip: str | None = None,
    reason: str = "",
    **details: str | int | bool | list[str],
) -> None:
    """
    Add a row. *event* is `noun.verb`.

    *details* hold ids of ours, app ids, counts and names; never openids, unionids, external ids, phone numbers or
    anything else of the person: the trail outlives an erasure. What an operator gave as a *reason* may name somebody,
    and is taken out with an erasure, like the address (default: where the call came from; what the erasure itself says
    stays).
    """
    _write(tx, [AuditEntry(event, by, user_id, app_id, session_id, ip, reason, None, details)])


def record_all(tx: Tx, entries: Sequence[AuditEntry]) -> None:
    """See ports.AuditTrail.record_audit."""
    _write(tx, entries)


def erase(tx: Tx, user_ids: Sequence[str]) -> None:
    """Take address and reason out of every row about these users; the rows' hashes stay what they were."""
    while True:
        rows = tx.connection.execute(
            select(audit)
            .where(audit.c.user_id.in_(user_ids), audit.c.commitment.is_(None))
            .order_by(audit.c.audit_id)
            .limit(_ERASE_AT_ONCE)
            .with_for_update()
        ).all()
        for row in rows:
            tx.connection.execute(
                update(audit)
                .where(audit.c.audit_id == row.audit_id)
                .values(ip="", reason="", salt=None, commitment=to_audit_row(row).erased().commitment)
            )
        if len(rows) < _ERASE_AT_ONCE:
            return


def of_users(view: View, user_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return what an export tells of the rows about these users, oldest first."""
    rows = view.connection.execute(
        select(
            audit.c.at,
            audit.c.event,
            audit.c.user_id,
            audit.c.app_id,
            audit.c.session_id,
            audit.c.ip,
            audit.c.reason,
            audit.c.details,
        )
        .where(audit.c.user_id.in_(user_ids))
        .order_by(audit.c.at, audit.c.audit_id)
    )
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def to_audit_row(row: Row[Any]) -> AuditRow:
    """Return the domain's value of a row of the table."""
    return AuditRow(
        audit_id=row.audit_id,
        at=row.at,
        by=row.by,
        event=row.event,
        user_id=row.user_id,
        app_id=row.app_id,
        session_id=row.session_id,
        request_id=row.request_id,
        trace_id=row.trace_id,
        details=row.details,
        ip=row.ip,
        reason=row.reason,
        salt=row.salt,
        commitment=row.commitment,
        batch=row.batch,
    )


def _write(tx: Tx, entries: Sequence[AuditEntry]) -> None:
    if entries:
        tx.connection.execute(_ADD, [_values(tx, entry) for entry in entries])


def _values(tx: Tx, entry: AuditEntry) -> dict[str, Any]:
    origin = entry.origin or tx.origin
    ip = origin.address() if entry.ip is None else entry.ip
    return {
        "audit_id": tx.fresh_id(),
        "at": tx.now,
        "by": entry.by or origin.caller or "service",
        "event": entry.event,
        "user_id": entry.user_id,
        "app_id": entry.app_id,
        "session_id": entry.session_id,
        "ip": ip[:_ADDRESS_LENGTH],
        "request_id": origin.request_id,
        "trace_id": origin.trace_id,
        "reason": (entry.reason or origin.reason)[:MAX_REASON],
        "salt": tx.entropy.token_bytes(SALT_BYTES),
        "details": json.dumps(entry.details, ensure_ascii=False, sort_keys=True),
    }
