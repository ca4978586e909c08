"""
Bringing sealed texts under the newest master key, a batch at a time, while everything runs.

A batch holds the rows it looks at, so a login's newer key is never overwritten by an older one under another seal.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, Table, and_, or_, select, update

from authsvc.ports import Reseal, Resealed, ResealPhone
from authsvc.storage.schema import identities, phones
from authsvc.storage.tx import Tx

_KEY_ID = slice(1, 5)  # version 1 | key id 4 | ...


def reseal_session_keys(
    tx: Tx, reseal: Reseal, *, key_id: bytes, after: tuple[str, str], limit: int
) -> Resealed:
    """See ports.PersonalDataStore.reseal_session_keys."""
    rows = _batch(tx, identities, after=after, limit=limit)
    resealed = unopenable = 0
    for row in rows:
        changed: dict[str, bytes] = {}
        for column in ("session_key", "previous_session_key"):
            blob = getattr(row, column)
            if not blob or blob[_KEY_ID] == key_id:
                continue
            fresh = reseal(blob, row.app_id, row.openid)
            if fresh is None:
                unopenable += 1
            else:
                resealed += 1
                changed[column] = fresh
        if changed:
            tx.connection.execute(
                update(identities)
                .where(identities.c.app_id == row.app_id, identities.c.openid == row.openid)
                .values(changed)
            )
    return Resealed(resealed, unopenable, _next(rows, limit))


def reseal_phones(
    tx: Tx, reseal: ResealPhone, *, key_id: bytes, after: tuple[str, str], limit: int
) -> Resealed:
    """See ports.PersonalDataStore.reseal_phones."""
    rows = _batch(tx, phones, after=after, limit=limit)
    resealed = unopenable = 0
    for row in rows:
        if row.sealed_number[_KEY_ID] == key_id and row.index_key_id == key_id:
            continue
        fresh = reseal(row.sealed_number, row.app_id, row.openid)
        if fresh is None:
            unopenable += 1
            continue
        resealed += 1
        sealed, index = fresh
        tx.connection.execute(
            update(phones)
            .where(phones.c.app_id == row.app_id, phones.c.openid == row.openid)
            .values(sealed_number=sealed, index_key_id=index.key_id, blind_index=index.value)
        )
    return Resealed(resealed, unopenable, _next(rows, limit))


def _batch(tx: Tx, table: Table, *, after: tuple[str, str], limit: int) -> Sequence[Row[Any]]:
    app_id, openid = after
    rest: Select[Any] = (
        select(table)
        .where(or_(table.c.app_id > app_id, and_(table.c.app_id == app_id, table.c.openid > openid)))
        .order_by(table.c.app_id, table.c.openid)
        .limit(limit)
        .with_for_update()
    )
    return tx.connection.execute(rest).all()


def _next(rows: Sequence[Row[Any]], limit: int) -> tuple[str, str] | None:
    return (rows[-1].app_id, rows[-1].openid) if len(rows) == limit else None
