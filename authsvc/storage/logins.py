"""Recording a login: the user, what the new session replaces, the session itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert

from authsvc.domain.apps import LEEWAY
from authsvc.domain.legacy_token import LegacyQuery, judge_holder
from authsvc.domain.sessions import SUPERSEDE_AFTER, Ended, EndReason, Session
from authsvc.domain.users import User
from authsvc.ports import Opened, Opening, UserIsBlocked
from authsvc.storage import audit_sessions
from authsvc.storage.aliases import hold_person
from authsvc.storage.endings import settle, tell_of_session, tell_of_user
from authsvc.storage.identities import Known, identify, known_unionid
from authsvc.storage.legacy import find_holder
from authsvc.storage.rows import REFRESHABLE, SESSIONS
from authsvc.storage.schema import sessions
from authsvc.storage.tx import Tx

_LIVE = SESSIONS.where(
    sessions.c.user_id == bindparam("user_id"), sessions.c.app_id == bindparam("app_id"), REFRESHABLE
).order_by(sessions.c.created_at, sessions.c.session_id)
_ADD = insert(sessions)


def open_session(tx: Tx, opening: Opening) -> Opened | UserIsBlocked:
    """See ports.SessionStore.open_session. The log's head is locked by the facts, which come last."""
    return _open(tx, opening, identify(tx, opening))


def open_vouched_session(tx: Tx, opening: Opening, query: LegacyQuery) -> Opened | UserIsBlocked | None:
    """See ports.PersonalDataStore.open_vouched_session."""
    holder = find_holder(tx, query)
    user = None if holder is None else hold_person(tx, holder.user.user_id)
    if user is None:
        return None
    if user.is_blocked(now=tx.now):
        return UserIsBlocked(recorded=audit_sessions.refused(tx, opening, user_id=user.user_id))
    # Looked at again: whatever revoked the person or moved the identity held the row before us.
    holder = find_holder(tx, query)
    if holder is None or (holder.user.user_id, holder.openid) != (user.user_id, opening.openid):
        return None
    if judge_holder(holder, query.claims, now=tx.now, leeway_s=LEEWAY.total_seconds()) is not None:
        return None
    return _open(tx, opening, Known(user))


def _open(tx: Tx, opening: Opening, known: Known) -> Opened | UserIsBlocked:
    user = known.user
    if user.is_blocked(now=tx.now):
        recorded = audit_sessions.refused(tx, opening, user_id=user.user_id)
        _tell(tx, known)
        return UserIsBlocked(known.linking, recorded=recorded)
    replaced = _replaced(tx, opening, user_id=user.user_id)
    ended = [
        (
            old.session_id,
            reason,
            settle(tx, old.session_id, ended=Ended(reason=reason, at=tx.now, by="login")),
        )
        for old, reason in replaced
    ]
    session = _add(tx, opening, user=user)
    audit_sessions.opened(
        tx,
        opening,
        session,
        is_new_user=known.is_new_user,
        linking=known.linking,
        ended=[session_id for session_id, _, latest in ended if latest is not None],
    )
    for session_id, reason, latest in ended:
        if latest is not None:  # else it ended by itself in between, and was told of
            tell_of_session(tx, session_id, reason=reason, latest_access_expiry=latest)
    _tell(tx, known)
    return Opened(
        session=session,
        user=user,
        is_new_user=known.is_new_user,
        unionid=known_unionid(tx, opening, user_id=user.user_id),
        linking=known.linking,
    )


def _tell(tx: Tx, known: Known) -> None:
    for farewell in known.farewells:
        tell_of_user(tx, farewell)


def _replaced(tx: Tx, opening: Opening, *, user_id: str) -> list[tuple[Row[Any], EndReason]]:
    """Return which live sessions this login ends: those of the same device, then the oldest beyond the cap."""
    live = tx.connection.execute(
        _LIVE, {"user_id": user_id, "app_id": opening.app.app_id, "now": tx.now}
    ).all()
    device = opening.client.device_id
    superseded = [
        row
        for row in live
        if device and row.device_id == device and tx.now - row.created_at > SUPERSEDE_AFTER
    ]
    others = [row for row in live if row not in superseded]
    excess = max(len(others) + 1 - opening.app.max_sessions, 0)
    return [(row, EndReason.SUPERSEDED) for row in superseded] + [
        (row, EndReason.REPLACED) for row in others[:excess]
    ]


def _add(tx: Tx, opening: Opening, *, user: User) -> Session:
    app, now = opening.app, tx.now
    absolute_end = now + app.absolute_lifetime
    access_expires_at: datetime = app.access_expiry(now=now, jitter=opening.jitter, absolute_end=absolute_end)
    session = Session(
        session_id=opening.session_id,
        user_id=user.user_id,
        app_id=app.app_id,
        openid=opening.openid,
        created_at=now,
        rotated_at=now,
        refresh_expires_at=app.refresh_expiry(now=now, absolute_end=absolute_end),
        absolute_end=absolute_end,
        access_expires_at=access_expires_at,
        counter=0,
        nonce_hash=opening.nonce_hash,
        mac_key_id=opening.mac_key_id,
        # Read while the user's row is held: a later revocation of the user gets a larger position.
        position=tx.ledger.head.position,
        client=opening.client,
    )
    tx.connection.execute(
        _ADD,
        {
            "session_id": session.session_id,
            "user_id": session.user_id,
            "app_id": session.app_id,
            "openid": session.openid,
            "created_at": session.created_at,
            "rotated_at": session.rotated_at,
            "refresh_expires_at": session.refresh_expires_at,
            "absolute_end": session.absolute_end,
            "access_expires_at": session.access_expires_at,
            "latest_access_expiry": session.access_expires_at,
            "counter": session.counter,
            "nonce_hash": session.nonce_hash,
            "mac_key_id": session.mac_key_id,
            "position": session.position,
            "ip": session.client.ip,
            "user_agent": session.client.user_agent,
            "device_id": session.client.device_id,
            "device_name": session.client.device_name,
        },
    )
    return session
