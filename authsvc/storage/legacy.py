"""Whom a legacy token names, and what stands against it, in one look."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from authsvc.domain.legacy_token import LegacyHolder, LegacyQuery, LegacySubject, user_revoked_id
from authsvc.storage.aliases import resolve
from authsvc.storage.listings import get_user
from authsvc.storage.schema import apps, identities, login_codes, users
from authsvc.storage.tx import View

_IN_APP: Select[Any] = (
    select(identities.c.openid)
    .where(identities.c.user_id == bindparam("user_id"), identities.c.app_id == bindparam("app_id"))
    .order_by(identities.c.session_key_at.desc(), identities.c.openid)
    .limit(1)
)
_BY_OPENID = select(identities.c.user_id).where(
    identities.c.app_id == bindparam("app_id"), identities.c.openid == bindparam("openid")
)
_BY_EXTERNAL_ID = select(users.c.user_id).where(users.c.external_id == bindparam("external_id"))
_APP_REVOKED_AT = select(func.max(apps.c.position_at)).where(apps.c.app_id == bindparam("app_id"))


def find_holder(view: View, query: LegacyQuery) -> LegacyHolder | None:
    """See ports.LegacyStore.find_legacy_holder."""
    user_id = _user_id(view, query)
    user = None if user_id is None else get_user(view, user_id)
    if user is None:
        return None
    openid = _openid(view, query, user_id=user.user_id)
    if openid is None:
        return None
    person = (user.user_id, *user.previous_ids)
    by_user = [user_revoked_id(one) for one in person]
    standing = _standing(view, app_id=query.app_id, names=[query.ids.revoked, *by_user])
    return LegacyHolder(
        user=user,
        openid=openid,
        user_revoked_at=_user_revoked_at(view, person),
        app_revoked_at=view.connection.execute(_APP_REVOKED_AT, {"app_id": query.app_id}).scalar_one(),
        token_revoked=query.ids.revoked in standing,
        app_user_revoked=not standing.isdisjoint(by_user),
    )


def _user_id(view: View, query: LegacyQuery) -> str | None:
    value = query.claims.subject
    match query.subject:
        case LegacySubject.OPENID:
            key = {"app_id": query.app_id, "openid": value}
            return view.connection.execute(_BY_OPENID, key).scalar_one_or_none()
        case LegacySubject.EXTERNAL_ID:
            # A user who was merged away may have kept one that the survivor did not take.
            holder = view.connection.execute(_BY_EXTERNAL_ID, {"external_id": value}).scalar_one_or_none()
            return None if holder is None else resolve(view, holder)
        case LegacySubject.USER_ID:
            return value


def _openid(view: View, query: LegacyQuery, *, user_id: str) -> str | None:
    if query.subject is LegacySubject.OPENID:
        return query.claims.subject
    found: str | None = view.connection.execute(
        _IN_APP, {"user_id": user_id, "app_id": query.app_id}
    ).scalar_one_or_none()
    return found


def _user_revoked_at(view: View, person: Sequence[str]) -> datetime | None:
    latest: datetime | None = view.connection.execute(
        select(func.max(users.c.position_at)).where(users.c.user_id.in_(person))
    ).scalar_one()
    return latest


def _standing(view: View, *, app_id: str, names: Sequence[bytes]) -> frozenset[bytes]:
    """Return which of the names are claimed now."""
    return frozenset(
        view.connection.execute(
            select(login_codes.c.code_hash).where(
                login_codes.c.app_id == app_id,
                login_codes.c.code_hash.in_(names),
                login_codes.c.expires_at > view.now,
            )
        ).scalars()
    )
