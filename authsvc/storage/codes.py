"""Claims on login codes: whoever holds one may send the code to WeChat, once (DESIGN section 3, login code)."""

from datetime import timedelta

from sqlalchemy import LargeBinary, String, bindparam, delete, insert, select

from authsvc.storage.schema import Instant, login_codes
from authsvc.storage.tx import Tx

# Each claim takes away at least as many old ones as it adds, so the table stays as small as the recent logins.
PURGE_AT_ONCE = 4
_THIS = (login_codes.c.app_id == bindparam("this_app", type_=String)) & (
    login_codes.c.code_hash == bindparam("this_code", type_=LargeBinary)
)
_CLAIM = select(login_codes.c.expires_at).where(_THIS)
_FORGET = delete(login_codes).where(_THIS)
_ADD = insert(login_codes)
_EXPIRED = (
    select(login_codes.c.app_id, login_codes.c.code_hash)
    .where(login_codes.c.expires_at <= bindparam("now", type_=Instant))
    .order_by(login_codes.c.expires_at)
    .limit(PURGE_AT_ONCE)
    .with_for_update(skip_locked=True)
)


def claim_code(tx: Tx, *, app_id: str, code_hash: bytes, ttl: timedelta) -> bool:
    """See ports.SessionStore.claim_code."""
    this = {"this_app": app_id, "this_code": code_hash}
    claimed_until = tx.connection.execute(_CLAIM, this).scalar_one_or_none()
    if claimed_until is not None:
        if claimed_until > tx.now:
            return False
        tx.connection.execute(_FORGET, this)
    claim = {"app_id": app_id, "code_hash": code_hash, "expires_at": tx.now + ttl}
    tx.connection.execute(_ADD, claim)
    _purge(tx)  # last, and past what others hold: two claims never wait for each other's leftovers
    return True


def release_code(tx: Tx, *, app_id: str, code_hash: bytes) -> None:
    """See ports.SessionStore.release_code."""
    tx.connection.execute(_FORGET, {"this_app": app_id, "this_code": code_hash})


def _purge(tx: Tx) -> None:
    expired = tx.connection.execute(_EXPIRED, {"now": tx.now}).all()
    if expired:
        tx.connection.execute(
            _FORGET, [{"this_app": row.app_id, "this_code": row.code_hash} for row in expired]
        )
