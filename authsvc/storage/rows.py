"""From rows to the domain's values, and the SQL that says which sessions are alive."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, or_, select

from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import ClientInfo, Ended, EndReason, Session
from authsvc.domain.users import Block, User
from authsvc.storage.schema import Instant, apps, revocations, sessions, users
from authsvc.storage.tx import accepted_from

# A session with its user, and with the first revocation of its whole app since it began (few apps ever had one).
_later = apps.alias("later")
_first_revocation = (
    select(func.min(_later.c.position))
    .where(_later.c.app_id == sessions.c.app_id, _later.c.position > sessions.c.position)
    .correlate(sessions)
    .scalar_subquery()
)
_session_with_owners = sessions.join(users, users.c.user_id == sessions.c.user_id).outerjoin(
    apps, and_(apps.c.app_id == sessions.c.app_id, apps.c.position == _first_revocation)
)
_USER_STATE = (
    "roles",
    "external_id",
    "blocked_at",
    "blocked_until",
    "blocked_reason",
    "blocked_by",
    "previous_ids",
)
_POSITION = ("position", "position_reason", "position_at", "position_by")

# Statements are built once and take parameters: building one costs several times what SQLite needs to run it.
# Sessions with what `to_session`, `to_user`, `killed` and `shown` need.
SESSIONS: Select[Any] = select(
    sessions,
    users.c.created_at.label("user_created_at"),
    *(users.c[name] for name in _USER_STATE),
    *(users.c[name].label(f"user_{name}") for name in _POSITION),
    *(apps.c[name].label(f"app_{name}") for name in _POSITION),
).select_from(_session_with_owners)

# The condition, over `SESSIONS`, of a session that can still be refreshed; takes the parameter `now`.
REFRESHABLE: ColumnElement[bool] = and_(
    sessions.c.ended_at.is_(None),
    sessions.c.refresh_expires_at > bindparam("now", type_=Instant),
    sessions.c.position >= users.c.position,
    apps.c.position.is_(None),
)


def is_unsettled(now: datetime) -> ColumnElement[bool]:
    """Return the condition, over the sessions table alone, of a row that a revocation at *now* has to end."""
    return and_(
        sessions.c.ended_at.is_(None),
        or_(sessions.c.refresh_expires_at > now, sessions.c.latest_access_expiry > accepted_from(now)),
    )


def to_session(row: Row[Any]) -> Session:
    """Return the session as its own row has it."""
    ended = None
    if row.ended_at is not None:
        ended = Ended(reason=EndReason(row.end_reason), at=row.ended_at, by=row.ended_by)
    return Session(
        session_id=row.session_id,
        user_id=row.user_id,
        app_id=row.app_id,
        openid=row.openid,
        created_at=row.created_at,
        rotated_at=row.rotated_at,
        refresh_expires_at=row.refresh_expires_at,
        absolute_end=row.absolute_end,
        access_expires_at=row.access_expires_at,
        counter=row.counter,
        nonce_hash=row.nonce_hash,
        mac_key_id=row.mac_key_id,
        position=row.position,
        client=ClientInfo(
            ip=row.ip, user_agent=row.user_agent, device_id=row.device_id, device_name=row.device_name
        ),
        ended=ended,
    )


def killed(row: Row[Any]) -> Ended | None:
    """
    Return how a revocation of the whole user or app killed the session of `SESSIONS`, if one did.

    The first reason stands: of two that killed it the earlier one, and none if it had expired before, tokens and all.
    """
    killers = sorted(
        killer
        for killer in (
            (row.user_position, row.user_position_reason, row.user_position_at, row.user_position_by),
            (row.app_position or 0, row.app_position_reason, row.app_position_at, row.app_position_by),
        )
        if row.position < killer[0]
    )
    if not killers:
        return None
    _, reason, at, by = killers[0]
    if row.refresh_expires_at <= at and row.latest_access_expiry <= accepted_from(at):
        return None
    return Ended(reason=EndReason(reason), at=at, by=by)


def shown(row: Row[Any]) -> Session:
    """Return the session of `SESSIONS` as a reader must see it: ended also where only a position killed it."""
    session = to_session(row)
    if session.ended is None and (ended := killed(row)) is not None:
        return replace(session, ended=ended)
    return session


def to_user(row: Row[Any], *, created_at: datetime, position: int) -> User:
    """Return the user; the two columns that clash with a session's are passed by name."""
    block = None
    if row.blocked_at is not None:
        block = Block(
            reason=row.blocked_reason, by=row.blocked_by, at=row.blocked_at, until=row.blocked_until
        )
    return User(
        user_id=row.user_id,
        created_at=created_at,
        position=position,
        roles=tuple(json.loads(row.roles)),
        external_id=row.external_id,
        block=block,
        previous_ids=tuple(json.loads(row.previous_ids)),
    )


_KINDS = {kind.value: kind for kind in FactKind}
_REASONS = {reason.value: reason for reason in EndReason}
# In the order of Fact's fields: a start reads a million of them.
FACTS: Select[Any] = select(
    revocations.c.position,
    revocations.c.kind,
    revocations.c.target,
    revocations.c.reason,
    revocations.c.useful_until,
    revocations.c.app_filter,
    revocations.c.fact_id,
).order_by(revocations.c.position)


def to_fact(row: Sequence[Any]) -> Fact:
    """Return a fact of the log, of a row of `FACTS`."""
    position, kind, target, reason, useful_until, app_filter, fact_id = row
    return Fact(position, _KINDS[kind], target, _REASONS[reason], useful_until, app_filter, fact_id)
