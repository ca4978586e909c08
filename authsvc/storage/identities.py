"""
Who a login is: identities (app, openid), unionids (open-platform group, unionid), and the sealed session keys.

Linking trusts only what WeChat's code exchange said; a merge of two users that both exist is not made here.
"""

from dataclasses import dataclass

from sqlalchemy import LargeBinary, bindparam, insert, select, update

from authsvc.ports import Opening
from authsvc.storage.schema import Instant, identities, unionids, users
from authsvc.storage.tx import Overtaken, Tx

_IDENTITY = (
    select(identities.c.user_id)
    .where(identities.c.app_id == bindparam("app_id"), identities.c.openid == bindparam("openid"))
    .with_for_update()
)
_OWNER = select(unionids.c.user_id).where(
    unionids.c.platform_group == bindparam("platform_group"), unionids.c.unionid == bindparam("unionid")
)
_UNIONID_OF = (
    select(unionids.c.unionid)
    .where(
        unionids.c.user_id == bindparam("user_id"), unionids.c.platform_group == bindparam("platform_group")
    )
    .order_by(unionids.c.created_at, unionids.c.unionid)
    .limit(1)
)
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
_ADD_USER = insert(users)
_ADD_IDENTITY = insert(identities)
_ADD_UNIONID = insert(unionids)


@dataclass(frozen=True, slots=True)
class Known:
    """Whose login it is."""

    user_id: str
    is_new_user: bool


def identify(tx: Tx, opening: Opening) -> Known:
    """
    Return the user behind a login, made if nobody was; the identity then holds the login's session key.

    An identity never changes its user here. A new one joins the user of its unionid, if that is known in the app's
    group; an app without a group links nobody.
    """
    user_id = tx.connection.execute(
        _IDENTITY, {"app_id": opening.app.app_id, "openid": opening.openid}
    ).scalar_one_or_none()
    if user_id is not None:
        _keep_session_key(tx, opening)
        return Known(user_id=user_id, is_new_user=False)
    linked = _owner(tx, opening)
    user_id = linked or opening.fresh_user_id
    if linked is None:
        tx.connection.execute(_ADD_USER, {"user_id": user_id, "created_at": tx.now})
    tx.connection.execute(
        _ADD_IDENTITY,
        {
            "app_id": opening.app.app_id,
            "openid": opening.openid,
            "user_id": user_id,
            "created_at": tx.now,
            "session_key": opening.sealed_session_key,
            "session_key_at": opening.exchanged_at,
        },
    )
    return Known(user_id=user_id, is_new_user=linked is None)


def record_unionid(tx: Tx, opening: Opening, *, known: Known) -> None:
    """
    Record the login's unionid for the user if nobody has it and the user has none in the app's group.

    Somebody else's stays theirs (the merge is another decision), and a different one moves nothing.

    Raises:
        Overtaken: the unionid got an owner since the new user was made, who then has to be that owner.

    """
    group = opening.app.platform_group
    if not group or opening.unionid is None:
        return
    owner = _owner(tx, opening)
    if owner is not None:
        if known.is_new_user:
            raise Overtaken
        return
    if _unionid_of(tx, user_id=known.user_id, group=group) is None:
        tx.connection.execute(
            _ADD_UNIONID,
            {
                "platform_group": group,
                "unionid": opening.unionid,
                "user_id": known.user_id,
                "created_at": tx.now,
            },
        )


def known_unionid(tx: Tx, opening: Opening, *, user_id: str) -> str | None:
    """Return the unionid to report: what WeChat said now, else what it said of this user in the app's group before."""
    if opening.unionid is not None or not opening.app.platform_group:
        return opening.unionid
    return _unionid_of(tx, user_id=user_id, group=opening.app.platform_group)


def _owner(tx: Tx, opening: Opening) -> str | None:
    if not opening.app.platform_group or opening.unionid is None:
        return None
    return tx.connection.execute(
        _OWNER, {"platform_group": opening.app.platform_group, "unionid": opening.unionid}
    ).scalar_one_or_none()


def _unionid_of(tx: Tx, *, user_id: str, group: str) -> str | None:
    return tx.connection.execute(
        _UNIONID_OF, {"user_id": user_id, "platform_group": group}
    ).scalar_one_or_none()


def _keep_session_key(tx: Tx, opening: Opening) -> None:
    """Keep the two newest keys by the time of their exchange, in whatever order the exchanges come to be stored."""
    this = {"this_app": opening.app.app_id, "this_openid": opening.openid, "at": opening.exchanged_at}
    key = {"sealed": opening.sealed_session_key}
    if tx.connection.execute(_NEWEST_KEY, this | key).rowcount == 0:
        tx.connection.execute(_PREVIOUS_KEY, this | key)
