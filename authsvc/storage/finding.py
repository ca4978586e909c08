"""Whom an id, an openid, a unionid, an external id or a phone number names, and what names a user."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, or_, select

from authsvc.ports import (
    ByExternalId,
    ByIdentity,
    ByPhone,
    ByUnionid,
    IdentityRecord,
    Person,
    SealedKey,
)
from authsvc.storage.aliases import resolve
from authsvc.storage.rows import to_user
from authsvc.storage.schema import identities, phones, unionids, users
from authsvc.storage.tx import View

_MOST = 100
_IDENTITIES: Select[Any] = (
    select(identities, phones.c.sealed_number, phones.c.bound_at)
    .outerjoin(phones, and_(phones.c.app_id == identities.c.app_id, phones.c.openid == identities.c.openid))
    .where(identities.c.user_id == bindparam("user_id"))
)
_OLDEST_FIRST = _IDENTITIES.order_by(identities.c.created_at, identities.c.app_id, identities.c.openid)
_LATEST_LOGIN_FIRST = _IDENTITIES.where(identities.c.app_id == bindparam("app_id")).order_by(
    identities.c.session_key_at.desc(), identities.c.openid
)


def get_person(view: View, user_id: str) -> Person | None:
    """See ports.PersonalDataStore.get_person."""
    row = view.connection.execute(
        select(users).where(users.c.user_id == resolve(view, user_id), users.c.erased_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    found = view.connection.execute(_OLDEST_FIRST, {"user_id": row.user_id}).all()
    named = view.connection.execute(
        select(unionids.c.platform_group, unionids.c.unionid)
        .where(unionids.c.user_id == row.user_id)
        .order_by(unionids.c.platform_group, unionids.c.unionid)
    ).all()
    return Person(
        user=to_user(row, created_at=row.created_at, position=row.position),
        identities=tuple(_to_identity(each) for each in found),
        unionids=tuple((each.platform_group, each.unionid) for each in named),
    )


def find_users(view: View, key: ByIdentity | ByUnionid | ByExternalId | ByPhone) -> Sequence[str]:
    """See ports.PersonalDataStore.find_users."""
    match key:
        case ByIdentity(app_id=app_id, openid=openid):
            whose: Select[Any] = select(identities.c.user_id).where(
                identities.c.app_id == app_id, identities.c.openid == openid
            )
        case ByUnionid(platform_group=group, unionid=unionid):
            whose = select(unionids.c.user_id).where(
                unionids.c.platform_group == group, unionids.c.unionid == unionid
            )
        case ByExternalId(external_id=external_id):
            # A user who was merged away may have kept one that the survivor did not take.
            holder = view.connection.execute(
                select(users.c.user_id).where(users.c.external_id == external_id)
            ).scalar_one_or_none()
            return [] if holder is None else [resolve(view, holder)]
        case ByPhone(digests=digests):
            whose = (
                select(identities.c.user_id)
                .join(
                    phones,
                    and_(phones.c.app_id == identities.c.app_id, phones.c.openid == identities.c.openid),
                )
                .where(
                    or_(
                        *(
                            and_(phones.c.blind_index == digest.value, phones.c.index_key_id == digest.key_id)
                            for digest in digests
                        )
                    )
                )
            )
    return (
        view.connection.execute(
            select(users.c.user_id)
            .where(users.c.user_id.in_(whose))
            .order_by(users.c.created_at.desc(), users.c.user_id)
            .limit(_MOST)
        )
        .scalars()
        .all()
    )


def find_identities(view: View, user_id: str, *, app_id: str) -> Sequence[IdentityRecord]:
    """See ports.PersonalDataStore.find_identities."""
    rows = view.connection.execute(
        _LATEST_LOGIN_FIRST, {"user_id": resolve(view, user_id), "app_id": app_id}
    ).all()
    return [_to_identity(row) for row in rows]


def _to_identity(row: Row[Any]) -> IdentityRecord:
    keys = [SealedKey(row.session_key, row.session_key_at)]
    if row.previous_session_key is not None:
        keys.append(SealedKey(row.previous_session_key, row.previous_session_key_at))
    return IdentityRecord(
        user_id=row.user_id,
        app_id=row.app_id,
        openid=row.openid,
        created_at=row.created_at,
        session_keys=tuple(keys),
        unionid=row.unionid,
        sealed_phone=row.sealed_number,
        phone_bound_at=row.bound_at,
    )
