"""Claims on login codes: whoever holds one may send the code to WeChat, once (DESIGN section 3, login code)."""

from datetime import timedelta

from sqlalchemy import delete, insert, select, tuple_

from authsvc.storage.schema import login_codes
from authsvc.storage.tx import Tx

# Each claim takes away at least as many old ones as it adds, so the table stays as small as the recent logins.
PURGE_AT_ONCE = 4


def claim_code(tx: Tx, *, app_id: str, code_hash: bytes, ttl: timedelta) -> bool:
    """See ports.SessionStore.claim_code."""
    _purge(tx)
    here = (login_codes.c.app_id == app_id) & (login_codes.c.code_hash == code_hash)
    claimed_until = tx.connection.execute(select(login_codes.c.expires_at).where(here)).scalar_one_or_none()
    if claimed_until is not None:
        if claimed_until > tx.now:
            return False
        tx.connection.execute(delete(login_codes).where(here))
    tx.connection.execute(
        insert(login_codes).values(app_id=app_id, code_hash=code_hash, expires_at=tx.now + ttl)
    )
    return True


def release_code(tx: Tx, *, app_id: str, code_hash: bytes) -> None:
    """See ports.SessionStore.release_code."""
    tx.connection.execute(
        delete(login_codes).where(login_codes.c.app_id == app_id, login_codes.c.code_hash == code_hash)
    )


def _purge(tx: Tx) -> None:
    expired = tx.connection.execute(
        select(login_codes.c.app_id, login_codes.c.code_hash)
        .where(login_codes.c.expires_at <= tx.now)
        .order_by(login_codes.c.expires_at)
        .limit(PURGE_AT_ONCE)
    ).all()
    if expired:
        tx.connection.execute(
            delete(login_codes).where(
                tuple_(login_codes.c.app_id, login_codes.c.code_hash).in_([tuple(row) for row in expired])
            )
        )
