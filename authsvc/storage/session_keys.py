"""The two newest session keys of an identity, by the time of their exchange, in whatever order they come to be stored."""

from datetime import datetime

from sqlalchemy import LargeBinary, bindparam, update

from authsvc.storage.schema import Instant, identities
from authsvc.storage.tx import Tx

_THIS = update(identities).where(
    identities.c.app_id == bindparam("this_app"), identities.c.openid == bindparam("this_openid")
)
_AT = bindparam("at", type_=Instant)
_SEALED = bindparam("sealed", type_=LargeBinary)
_NEWEST_KEY = _THIS.where(identities.c.session_key_at <= _AT).values(
    previous_session_key=identities.c.session_key,
    previous_session_key_at=identities.c.session_key_at,
    session_key=_SEALED,
    session_key_at=_AT,
)
_PREVIOUS_KEY = _THIS.where(
    identities.c.previous_session_key_at.is_(None) | (identities.c.previous_session_key_at < _AT)
).values(previous_session_key=_SEALED, previous_session_key_at=_AT)
_TOUCH = _THIS.values(app_id=bindparam("this_app"))


def keep(tx: Tx, *, app_id: str, openid: str, sealed: bytes, exchanged_at: datetime) -> bool:
    """Keep a key if it is one of the two newest; False if there is no such identity."""
    this = {"this_app": app_id, "this_openid": openid}
    key = {"at": exchanged_at, "sealed": sealed}
    for statement in (_NEWEST_KEY, _PREVIOUS_KEY):
        if tx.connection.execute(statement, this | key).rowcount:
            return True
    return bool(tx.connection.execute(_TOUCH, this).rowcount)
