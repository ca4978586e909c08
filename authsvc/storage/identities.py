"""
Who a login is: identities (app, openid), unionids (open-platform group, unionid), and the sealed session keys.

Linking trusts only what WeChat's code exchange said. Looks come first and hold nothing; then the rows of the users are
held, in their order; then what was seen is looked at again, because until then a merge could move it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row, Select, bindparam, insert, select

from authsvc.domain.people import LinkVerdict, elder, judge_late_unionid
from authsvc.domain.users import User
from authsvc.ports import Linking, Opening
from authsvc.storage import session_keys
from authsvc.storage.aliases import hold_user, hold_users
from authsvc.storage.endings import Farewell
from authsvc.storage.merges import merge
from authsvc.storage.pairs import are_apart, hold_for_operator
from authsvc.storage.schema import identities, unionids, users
from authsvc.storage.tx import Overtaken, Tx

_IDENTITY: Select[Any] = select(identities.c.user_id, identities.c.unionid).where(
    identities.c.app_id == bindparam("app_id"), identities.c.openid == bindparam("openid")
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
_ADD_USER = insert(users)
_ADD_IDENTITY = insert(identities)
_ADD_UNIONID = insert(unionids)
_NO_LINKING = Linking()


@dataclass(frozen=True, slots=True)
class Known:
    """Whose login it is: a user whose row is held (or new), and what the log still has to be told of a merge."""

    user: User
    is_new_user: bool = False
    linking: Linking = _NO_LINKING
    farewells: list[Farewell] = field(default_factory=list)


def identify(tx: Tx, opening: Opening) -> Known:
    """
    Return the user behind a login, made if nobody was; the identity then holds the login's session key.

    A new identity joins the user of its unionid, if that is known in the app's group. A unionid that a known identity
    tells late is recorded, or leads to a merge, as domain.people.judge_late_unionid says; an app without a group links
    nobody.

    Raises:
        Overtaken: somebody moved what we had seen, or a merge has to run in a transaction of its own.

    """
    identity, owner_id = _identity(tx, opening), _owner(tx, opening)
    if identity is not None:
        if owner_id is None or owner_id == identity.user_id:
            return _again(tx, opening, identity, owner_id)
        return _meet(tx, opening, identity, owner_id)
    if owner_id is not None:
        return _join(tx, opening, owner_id)
    user = User(user_id=opening.fresh_user_id, created_at=tx.now)
    tx.connection.execute(_ADD_USER, {"user_id": user.user_id, "created_at": user.created_at})
    _add_identity(tx, opening, user)
    if _told(opening) is not None:
        _add_unionid(tx, opening, user)
    return Known(user, is_new_user=True)


def known_unionid(tx: Tx, opening: Opening, *, user_id: str) -> str | None:
    """Return the unionid to report: what WeChat said now, else what it said of this user in the app's group before."""
    if opening.unionid is not None or not opening.app.platform_group:
        return opening.unionid
    return _unionid_of(tx, opening, user_id)


def _join(tx: Tx, opening: Opening, owner_id: str) -> Known:
    """An identity seen for the first time, of a unionid that somebody has."""
    user = hold_user(tx, owner_id)
    if user is None or _owner(tx, opening) != owner_id:
        raise Overtaken
    _add_identity(tx, opening, user)
    return Known(user, linking=Linking(LinkVerdict.LINKED, user_id=owner_id, is_news=True))


def _again(tx: Tx, opening: Opening, identity: Row[Any], owner_id: str | None) -> Known:
    """A known identity whose unionid is its user's, nobody's or not told."""
    user = hold_user(tx, identity.user_id)
    if user is None:
        raise Overtaken
    verdict = LinkVerdict.NOTHING
    if _told(opening) is not None:
        verdict = _judge(tx, opening, identity, owner_id)
        if verdict is LinkVerdict.RECORDED:
            _add_unionid(tx, opening, user)
    _keep_session_key(tx, opening, user, told=_told(opening) if verdict is not LinkVerdict.MISMATCH else None)
    if verdict is LinkVerdict.NOTHING:
        return Known(user)
    return Known(user, linking=Linking(verdict, user_id=user.user_id, is_news=True))


def _meet(tx: Tx, opening: Opening, identity: Row[Any], owner_id: str) -> Known:
    """A known identity tells a unionid that another user has."""
    held = hold_users(tx, (identity.user_id, owner_id))
    again = _identity(tx, opening)
    if len(held) < 2 or again is None or (again.user_id, _owner(tx, opening)) != (identity.user_id, owner_id):
        raise Overtaken
    user, owner = held[identity.user_id], held[owner_id]
    verdict = _judge(tx, opening, again, owner_id, apart=are_apart(tx, user, owner))
    linking = Linking(verdict, user_id=user.user_id, other_user_id=owner_id)
    if verdict is LinkVerdict.MERGED:
        tx.need_positions()
    _keep_session_key(tx, opening, user, told=_told(opening) if verdict is not LinkVerdict.MISMATCH else None)
    group = opening.app.platform_group
    if verdict is LinkVerdict.MISMATCH:
        return Known(user, linking=replace(linking, other_user_id="", is_news=True))
    if verdict is LinkVerdict.HELD:
        survivor, moved = elder(user, owner)
        merge_id, is_news = hold_for_operator(tx, survivor, moved, group=group)
        return Known(user, linking=replace(linking, merge_id=merge_id, is_news=is_news))
    if verdict is LinkVerdict.APART:
        return Known(user, linking=linking)
    survivor, moved = elder(user, owner)
    merging = merge(tx, survivor, moved, group=group, by="login", reason="")
    return Known(
        merging.user,
        linking=Linking(
            LinkVerdict.MERGED,
            user_id=survivor.user_id,
            other_user_id=moved.user_id,
            merge_id=merging.merge_id,
            ended_sessions=merging.ended_sessions,
            is_news=True,
        ),
        farewells=merging.farewells,
    )


def _judge(
    tx: Tx, opening: Opening, identity: Row[Any], owner_id: str | None, *, apart: bool = False
) -> LinkVerdict:
    user_id: str = identity.user_id
    another = None if owner_id == user_id else _unionid_of(tx, opening, user_id)
    assert opening.unionid is not None
    return judge_late_unionid(
        opening.unionid,
        user_id=user_id,
        owner_id=owner_id,
        told_before=identity.unionid,
        has_another=another is not None,
        apart=apart,
        policy=opening.app.merge_policy,
    )


def _told(opening: Opening) -> str | None:
    """Return the unionid as far as it is a key: an app without a group has none."""
    return opening.unionid if opening.app.platform_group else None


def _identity(tx: Tx, opening: Opening) -> Row[Any] | None:
    this = {"app_id": opening.app.app_id, "openid": opening.openid}
    return tx.connection.execute(_IDENTITY, this).one_or_none()


def _owner(tx: Tx, opening: Opening) -> str | None:
    if _told(opening) is None:
        return None
    return tx.connection.execute(
        _OWNER, {"platform_group": opening.app.platform_group, "unionid": opening.unionid}
    ).scalar_one_or_none()


def _unionid_of(tx: Tx, opening: Opening, user_id: str) -> str | None:
    return tx.connection.execute(
        _UNIONID_OF, {"user_id": user_id, "platform_group": opening.app.platform_group}
    ).scalar_one_or_none()


def _add_identity(tx: Tx, opening: Opening, user: User) -> None:
    tx.connection.execute(
        _ADD_IDENTITY,
        {
            "app_id": opening.app.app_id,
            "openid": opening.openid,
            "user_id": user.user_id,
            "created_at": tx.now,
            "session_key": opening.sealed_session_key,
            "session_key_at": opening.exchanged_at,
            "unionid": _told(opening),
        },
    )


def _add_unionid(tx: Tx, opening: Opening, user: User) -> None:
    tx.connection.execute(
        _ADD_UNIONID,
        {
            "platform_group": opening.app.platform_group,
            "unionid": opening.unionid,
            "user_id": user.user_id,
            "created_at": tx.now,
        },
    )


def _keep_session_key(tx: Tx, opening: Opening, user: User, *, told: str | None) -> None:
    """
    Keep the login's key, and the unionid that came with it.

    Raises:
        Overtaken: the identity is another user's by now, or was erased.

    """
    holder = session_keys.keep(
        tx,
        app_id=opening.app.app_id,
        openid=opening.openid,
        sealed=opening.sealed_session_key,
        exchanged_at=opening.exchanged_at,
        told=told,
    )
    if holder != user.user_id:
        raise Overtaken
