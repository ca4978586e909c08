"""The audit trail: who did what to which user, told in the transaction that does it."""

import json

from sqlalchemy import insert

from authsvc.storage.schema import audit
from authsvc.storage.tx import Tx

_ADD = insert(audit)


def record(tx: Tx, event: str, *, user_id: str, by: str, **details: str | int | bool | list[str]) -> None:
    """
    Add a row. *event* is `noun.verb`.

    *details* hold ids of ours, app ids, counts and what an operator gave as a reason; never openids, unionids, external
    ids, phone numbers or anything else of the person: the trail outlives an erasure.
    """
    tx.connection.execute(
        _ADD,
        {
            "audit_id": tx.fresh_id(),
            "at": tx.now,
            "by": by,
            "event": event,
            "user_id": user_id,
            "details": json.dumps(details, ensure_ascii=False, sort_keys=True),
        },
    )
