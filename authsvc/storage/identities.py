"""
Who a login is: identities (app, openid), unionids (open-platform group, unionid), and the sealed session keys.

Linking trusts only what WeChat's code exchange said; a merge of two users that both exist is not made here.
"""

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from authsvc.ports import Opening
from authsvc.storage.schema import identities, unionids, users
from authsvc.storage.tx import Tx


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
    here = (identities.c.app_id == opening.app.app_id) & (identities.c.openid == opening.openid)
    identity = tx.connection.execute(select(identities).where(here).with_for_update()).one_or_none()
    if identity is not None:
        _keep_session_key(tx, opening)
        return Known(user_id=identity.user_id, is_new_user=False)
    linked = _owner(tx, opening)
    user_id = linked or opening.fresh_user_id
    if linked is None:
        tx.connection.execute(insert(users).values(user_id=user_id, created_at=tx.now))
    tx.connection.execute(
        insert(identities).values(
            app_id=opening.app.app_id,
            openid=opening.openid,
            user_id=user_id,
            created_at=tx.now,
            session_key=opening.sealed_session_key,
            session_key_at=opening.exchanged_at,
        )
    )
    return Known(user_id=user_id, is_new_user=linked is None)


def record_unionid(tx: Tx, opening: Opening, *, user_id: str) -> None:
    """
    Record the login's unionid for the user if nobody has it and the user has none in the app's group.

    Somebody else's stays theirs (the merge is another decision), and a different one moves nothing.
    """
    group = opening.app.platform_group
    if not group or opening.unionid is None or _owner(tx, opening) is not None:
        return
    if _unionid_of(tx, user_id=user_id, group=group) is None:
        tx.connection.execute(
            insert(unionids).values(
                platform_group=group, unionid=opening.unionid, user_id=user_id, created_at=tx.now
            )
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
        select(unionids.c.user_id).where(
            unionids.c.platform_group == opening.app.platform_group, unionids.c.unionid == opening.unionid
        )
    ).scalar_one_or_none()


def _unionid_of(tx: Tx, *, user_id: str, group: str) -> str | None:
    return tx.connection.execute(
        select(unionids.c.unionid)
        .where(unionids.c.user_id == user_id, unionids.c.platform_group == group)
        .order_by(unionids.c.created_at, unionids.c.unionid)
        .limit(1)
    ).scalar_one_or_none()


def _keep_session_key(tx: Tx, opening: Opening) -> None:
    """Keep the two newest keys by the time of their exchange, in whatever order the exchanges come to be stored."""
    this = update(identities).where(
        identities.c.app_id == opening.app.app_id, identities.c.openid == opening.openid
    )
    newer = tx.connection.execute(
        this.where(identities.c.session_key_at <= opening.exchanged_at).values(
            previous_session_key=identities.c.session_key,
            previous_session_key_at=identities.c.session_key_at,
            session_key=opening.sealed_session_key,
            session_key_at=opening.exchanged_at,
        )
    )
    if newer.rowcount == 0:
        tx.connection.execute(
            this.where(
                identities.c.previous_session_key_at.is_(None)
                | (identities.c.previous_session_key_at < opening.exchanged_at)
            ).values(
                previous_session_key=opening.sealed_session_key,
                previous_session_key_at=opening.exchanged_at,
            )
        )
