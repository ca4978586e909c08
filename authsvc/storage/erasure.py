"""What is left of a person who was erased: nothing that names them, and nothing that comes alive again."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.domain.errors import UserBlocked
from authsvc.domain.sessions import EndReason
from authsvc.ports import ByIdentity
from authsvc.storage import audit as recorded
from authsvc.storage.aliases import hold_person, ids_of_person
from authsvc.storage.endings import end_held_user_sessions
from authsvc.storage.finding import find_users, get_person
from authsvc.storage.rows import SESSIONS, shown
from authsvc.storage.schema import (
    identities,
    merge_items,
    merges,
    no_merges,
    phones,
    sessions,
    tombstones,
    unionids,
    user_aliases,
    users,
)
from authsvc.storage.tx import Tx, View


def export_user(view: View, user_id: str) -> Mapping[str, Any] | None:
    """See ports.PersonalDataStore.export_user."""
    person = get_person(view, user_id)
    if person is None:
        return None
    ids = ids_of_person(view, person.user.user_id)
    took_part = or_(merges.c.survivor_id.in_(ids), merges.c.moved_id.in_(ids))
    merge_rows = view.connection.execute(
        select(
            merges.c.merge_id,
            merges.c.state,
            merges.c.survivor_id,
            merges.c.moved_id,
            merges.c.platform_group,
            merges.c.found_at,
            merges.c.merged_at,
            merges.c.undone_at,
        )
        .where(took_part)
        .order_by(merges.c.found_at, merges.c.merge_id)
    )
    session_rows = view.connection.execute(
        SESSIONS.where(sessions.c.user_id.in_(ids)).order_by(sessions.c.created_at, sessions.c.session_id)
    )
    return {
        "person": person,
        "sessions": [shown(row) for row in session_rows],
        "merges": [dict(row._mapping) for row in merge_rows],  # noqa: SLF001 - SQLAlchemy's public name
        "audit": recorded.of_users(view, ids),
    }


def erase_user(
    tx: Tx,
    user_id: str,
    *,
    index: BlindIndex,
    by: str,
    even_blocked: bool,
    identity: ByIdentity | None = None,
) -> int | None:
    """See ports.PersonalDataStore.erase_user."""
    user = hold_person(tx, user_id)
    if user is None or (identity is not None and list(find_users(tx, identity)) != [user.user_id]):
        return None
    if not even_blocked and user.is_blocked(now=tx.now):
        raise UserBlocked
    person = get_person(tx, user.user_id)
    assert person is not None
    ids = ids_of_person(tx, user.user_id)
    _entomb(tx, "identity", [index.identity(each.app_id, each.openid) for each in person.identities])
    _entomb(tx, "unionid", [index.unionid(group, unionid) for group, unionid in person.unionids])
    # A former id keeps the external id that its survivor did not take.
    external_ids = tx.connection.execute(
        select(users.c.external_id).where(users.c.user_id.in_(ids), users.c.external_id.is_not(None))
    ).scalars()
    _entomb(tx, "external_id", [index.external_id(external_id) for external_id in external_ids])
    for each in person.identities:
        tx.connection.execute(
            delete(phones).where(phones.c.app_id == each.app_id, phones.c.openid == each.openid)
        )
    tx.connection.execute(delete(identities).where(identities.c.user_id.in_(ids)))
    tx.connection.execute(delete(unionids).where(unionids.c.user_id.in_(ids)))
    tx.connection.execute(
        update(sessions)
        .where(sessions.c.user_id.in_(ids))
        .values(openid="", ip="", user_agent="", device_id="", device_name="")
    )
    took_part = or_(merges.c.survivor_id.in_(ids), merges.c.moved_id.in_(ids))
    tx.connection.execute(
        delete(merge_items).where(merge_items.c.merge_id.in_(select(merges.c.merge_id).where(took_part)))
    )
    tx.connection.execute(delete(merges).where(took_part))
    tx.connection.execute(
        delete(no_merges).where(or_(no_merges.c.user_a.in_(ids), no_merges.c.user_b.in_(ids)))
    )
    tx.connection.execute(delete(user_aliases).where(user_aliases.c.user_id == user.user_id))
    tx.connection.execute(
        update(users)
        .where(users.c.user_id.in_(ids))
        .values(
            external_id=None,
            roles="[]",
            previous_ids="[]",
            blocked_at=None,
            blocked_until=None,
            blocked_reason="",
            blocked_by="",
            erased_at=tx.now,
        )
    )
    recorded.erase(tx, ids)
    # After that, so that why an operator erased somebody stays. A person who erases themselves leaves no address.
    recorded.record(
        tx,
        "user.erased",
        user_id=user.user_id,
        by=by,
        ip=None if even_blocked else "",
        identities=len(person.identities),
        previous_user_ids=ids[1:],
    )
    # Last, as it locks the head of the log. The former ids have had no live session since their merge.
    return end_held_user_sessions(tx, user.user_id, reason=EndReason.ADMIN, by=by)


def _entomb(tx: Tx, kind: str, digests: list[Digest]) -> None:
    for digest in digests:
        found = tx.connection.execute(
            select(tombstones.c.digest).where(
                tombstones.c.key_id == digest.key_id, tombstones.c.digest == digest.value
            )
        ).one_or_none()
        if found is None:
            tx.connection.execute(
                insert(tombstones).values(
                    key_id=digest.key_id, digest=digest.value, kind=kind, erased_at=tx.now
                )
            )
