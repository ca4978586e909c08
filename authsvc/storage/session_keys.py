"""The two newest session keys of an identity, by the time of their exchange, in whatever order they come to be stored."""

from datetime import datetime

from sqlalchemy import LargeBinary, String, bindparam, func, update

from authsvc.storage.schema import Instant, identities
from authsvc.storage.tx import Tx

_THIS = (
    update(identities)
    .where(identities.c.app_id == bindparam("this_app"), identities.c.openid == bindparam("this_openid"))
    .values(unionid=func.coalesce(identities.c.unionid, bindparam("told", type_=String)))
    .returning(identities.c.user_id)
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


def keep(
    tx: Tx, *, app_id: str, openid: str, sealed: bytes, exchanged_at: datetime, told: str | None = None
) -> str | None:
    """
    Keep a key if it is one of the two newest; return whose identity it is, None if there is no such identity.

    With *told*, the unionid that came with it is noted on an identity that told none before.
    """
    this = {"this_app": app_id, "this_openid": openid, "told": told}
    key = {"at": exchanged_at, "sealed": sealed}
    for statement, parameters in ((_NEWEST_KEY, this | key), (_PREVIOUS_KEY, this | key), (_THIS, this)):
        user_id: str | None = tx.connection.execute(statement, parameters).scalar_one_or_none()
        if user_id is not None:
            return user_id
    return None
