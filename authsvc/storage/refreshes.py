"""Applying a presented refresh token to its session (DESIGN section 3, refresh token)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, update

from authsvc.domain.apps import App, usable_app
from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.sessions import (
    ClientInfo,
    End,
    Ended,
    EndReason,
    Foreign,
    Over,
    Replay,
    Rotate,
    Session,
    judge_refresh,
)
from authsvc.domain.users import User
from authsvc.ports import Rotation, RotationRefused, UserIsBlocked
from authsvc.storage import audit_sessions
from authsvc.storage.endings import settle, tell_of_session
from authsvc.storage.rows import SESSIONS, killed, to_session, to_user
from authsvc.storage.schema import sessions
from authsvc.storage.tx import Tx

# On a backend with concurrent writers each failed try means that another one got through in between.
_TRIES = 8
_SESSION = SESSIONS.where(sessions.c.session_id == bindparam("session_id"))
_MOVE = update(sessions).where(
    sessions.c.session_id == bindparam("this_session"),
    sessions.c.counter == bindparam("this_counter"),
    sessions.c.nonce_hash == bindparam("this_nonce_hash"),
    sessions.c.ended_at.is_(None),
)
Outcome = Rotation | RotationRefused | UserIsBlocked


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token whose MAC holds, and what its successor is to be made with."""

    token: RefreshToken
    apps: Mapping[str, App]
    mac_key_id: bytes
    jitter: float
    client: ClientInfo


def rotate(tx: Tx, presented: Presented) -> Outcome:
    """
    See ports.SessionStore.rotate.

    The row is judged as read and changed by one statement that matches what was judged; where another transaction
    was faster, it is read and judged again. So no lock is held while judging and a hundred parallel callers rotate once.
    """
    for _ in range(_TRIES):
        row = tx.connection.execute(_SESSION, {"session_id": presented.token.session_id}).one_or_none()
        if row is None:
            return RotationRefused(reason=EndReason.STORE_RESTORED)
        outcome = _apply(tx, row, presented)
        if outcome is not None:
            return outcome
    raise StoreUnavailable("the session kept changing while it was judged")


def _apply(tx: Tx, row: Row[Any], presented: Presented) -> Outcome | None:
    """Return the outcome, or None if the row had changed meanwhile."""
    session, token = to_session(row), presented.token
    user = to_user(row, created_at=row.user_created_at, position=row.user_position)
    if token.nonce_hash != session.nonce_hash:
        return RotationRefused(reason=None, user_id=session.user_id, app_id=session.app_id)
    app = usable_app(presented.apps, session.app_id)
    if user.is_blocked(now=tx.now):
        return UserIsBlocked()
    dead = killed(row)
    verdict = judge_refresh(
        session,
        token,
        now=tx.now,
        grace=app.grace,
        dead_below=0 if dead is None else max(row.user_position, row.app_position or 0),
        dead_reason=EndReason.UNSPECIFIED if dead is None else dead.reason,
    )
    match verdict:
        case Over(reason):
            return RotationRefused(reason=reason, user_id=session.user_id, app_id=session.app_id)
        case End(reason):
            # A revocation of the user or app ended it then and by its author, and has its own fact.
            ended = dead or Ended(reason=reason, at=tx.now, by="service")
            latest = settle(tx, session.session_id, ended=ended)
            if latest is None:
                return None
            if dead is None:
                audit_sessions.ended_by_refresh(tx, session, reason=reason, client=presented.client)
                tell_of_session(tx, session.session_id, reason=reason, latest_access_expiry=latest)
            return RotationRefused(reason=reason, by_us=True, user_id=session.user_id, app_id=session.app_id)
        case Replay():
            return Rotation(session=session, user=user, replayed=True)
        case Rotate():
            return _rotate(tx, row, session, app=app, user=user, presented=presented)
        case Foreign():
            raise AssertionError("told apart above")


def _rotate(
    tx: Tx, row: Row[Any], session: Session, *, app: App, user: User, presented: Presented
) -> Rotation | None:
    successor = replace(
        session,
        counter=session.counter + 1,
        mac_key_id=presented.mac_key_id,
        rotated_at=tx.now,
        refresh_expires_at=app.refresh_expiry(now=tx.now, absolute_end=session.absolute_end),
        access_expires_at=app.access_expiry(
            now=tx.now, jitter=presented.jitter, absolute_end=session.absolute_end
        ),
        client=replace(
            session.client,
            ip=presented.client.ip or session.client.ip,
            user_agent=presented.client.user_agent or session.client.user_agent,
        ),
    )
    latest = max(row.latest_access_expiry, successor.access_expires_at)
    if not _move(tx, successor, nonce_hash=presented.token.nonce_hash, latest_access_expiry=latest):
        return None
    return Rotation(session=successor, user=user, replayed=False)


def _move(tx: Tx, successor: Session, *, nonce_hash: bytes, latest_access_expiry: datetime) -> bool:
    result = tx.connection.execute(
        _MOVE,
        {
            "this_session": successor.session_id,
            "this_counter": successor.counter - 1,
            "this_nonce_hash": nonce_hash,
            "counter": successor.counter,
            "mac_key_id": successor.mac_key_id,
            "rotated_at": successor.rotated_at,
            "refresh_expires_at": successor.refresh_expires_at,
            "access_expires_at": successor.access_expires_at,
            "latest_access_expiry": latest_access_expiry,
            "ip": successor.client.ip,
            "user_agent": successor.client.user_agent,
        },
    )
    return result.rowcount == 1
