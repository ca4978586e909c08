"""How sessions end: one by one, by user, by app; and the facts that tell the verifiers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, func, insert, select, update

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import Ended, EndReason
from authsvc.storage import audit_sessions
from authsvc.storage.aliases import hold_person
from authsvc.storage.rows import REFRESHABLE, SESSIONS, is_unsettled, killed
from authsvc.storage.schema import Instant, apps, sessions, users
from authsvc.storage.tx import Tx, accepted_from, could_be_accepted

_SESSION = SESSIONS.where(sessions.c.session_id == bindparam("session_id")).with_for_update(of=sessions)
_SETTLE = (
    update(sessions)
    .where(sessions.c.session_id == bindparam("this_session"), sessions.c.ended_at.is_(None))
    .values(
        ended_at=bindparam("ended_at", type_=Instant),
        end_reason=bindparam("end_reason"),
        ended_by=bindparam("ended_by"),
    )
    .returning(sessions.c.latest_access_expiry)
)


def end_session(
    tx: Tx,
    session_id: str,
    *,
    reason: EndReason,
    by: str,
    nonce_hash: bytes | None,
    fact_until: datetime | None,
) -> int | None:
    """
    See ports.SessionStore.end_session.

    *fact_until* is the fact's `useful_until` as the presented token asks for it; the row's own may be later. A
    session that a revocation of its user or app had killed stays as it is: the first reason stands.
    """
    row = tx.connection.execute(_SESSION, {"session_id": session_id}).one_or_none()
    if row is None:
        if fact_until is not None and tx.now < fact_until:
            audit_sessions.revoked(tx, "session", by=by, end_reason=reason, ended=0, session_id=session_id)
            tx.write_fact(FactKind.SESSION, session_id, reason=reason, useful_until=fact_until)
        return None
    if nonce_hash is not None and nonce_hash != row.nonce_hash:
        return 0
    if row.ended_at is not None or killed(row) is not None:
        return 0
    settle(tx, session_id, ended=Ended(reason=reason, at=tx.now, by=by))
    ended = 1 if tx.now < row.refresh_expires_at else 0
    audit_sessions.revoked(
        tx,
        "session",
        by=by,
        end_reason=reason,
        ended=ended,
        user_id=row.user_id,
        app_id=row.app_id,
        session_id=session_id,
    )
    useful_until = row.latest_access_expiry + FACT_MARGIN
    if could_be_accepted(row.latest_access_expiry, now=tx.now) or (
        fact_until is not None and tx.now < fact_until
    ):
        # A row set back in time may know less than the token that was presented.
        useful_until = max(useful_until, fact_until or useful_until)
        tx.write_fact(FactKind.SESSION, session_id, reason=reason, useful_until=useful_until)
    return ended


def settle(tx: Tx, session_id: str, *, ended: Ended) -> datetime | None:
    """
    Write into the row how the session ended; None if it had ended before (the first reason stands).

    The value is the row's `latest_access_expiry` as it now stays: a refresh may have moved it since the row was read.
    """
    return tx.connection.execute(
        _SETTLE,
        {
            "this_session": session_id,
            "ended_at": ended.at,
            "end_reason": int(ended.reason),
            "ended_by": ended.by,
        },
    ).scalar_one_or_none()


def tell_of_session(tx: Tx, session_id: str, *, reason: EndReason, latest_access_expiry: datetime) -> None:
    """Write the fact of an ended session if one of its access tokens may still be accepted."""
    if could_be_accepted(latest_access_expiry, now=tx.now):
        tx.write_fact(
            FactKind.SESSION, session_id, reason=reason, useful_until=latest_access_expiry + FACT_MARGIN
        )


def end_user_sessions(tx: Tx, user_id: str, *, app_id: str, reason: EndReason, by: str) -> int | None:
    """See ports.SessionStore.end_user_sessions."""
    user = hold_person(tx, user_id)
    if user is None:
        return None
    farewell = settle_user(tx, user.user_id, app_id=app_id, reason=reason, by=by)
    ended = farewell.ended_sessions
    if ended or farewell.latest is not None:
        audit_sessions.revoked(
            tx, "user", by=by, end_reason=reason, ended=ended, user_id=user.user_id, app_id=app_id
        )
    tell_of_user(tx, farewell)
    return ended


def end_held_user_sessions(tx: Tx, user_id: str, *, app_id: str = "", reason: EndReason, by: str) -> int:
    """End the sessions of a user whose row is held, rows and fact; return how many were live."""
    farewell = settle_user(tx, user_id, app_id=app_id, reason=reason, by=by)
    tell_of_user(tx, farewell)
    return farewell.ended_sessions


@dataclass(frozen=True, slots=True)
class Farewell:
    """A user's sessions whose rows are ended, and of which the log still has to be told; `latest` None: nothing."""

    user_id: str
    app_id: str
    ended: Ended
    ended_sessions: int
    latest: datetime | None


def settle_user(tx: Tx, user_id: str, *, app_id: str = "", reason: EndReason, by: str) -> Farewell:
    """End the rows of a user that is held. What is told of it comes last in a unit: it locks the log's head."""
    ended = Ended(reason=reason, at=tx.now, by=by)
    theirs = sessions.c.user_id == user_id
    if app_id:
        theirs = and_(theirs, sessions.c.app_id == app_id)
    alive = 0
    # A user's sessions are few. Those that a revocation of their app had killed get its reason into their row.
    for row in tx.connection.execute(SESSIONS.where(theirs, is_unsettled(tx.now))).all():
        before = killed(row)
        settled = settle(tx, row.session_id, ended=before or ended) is not None
        alive += settled and before is None and tx.now < row.refresh_expires_at
    # Looked at after the rows were ended (and with that locked), so a refresh in between cannot hand out a later one.
    latest = tx.connection.execute(
        select(func.max(sessions.c.latest_access_expiry)).where(
            theirs, sessions.c.latest_access_expiry > accepted_from(tx.now)
        )
    ).scalar_one()
    return Farewell(user_id=user_id, app_id=app_id, ended=ended, ended_sessions=alive, latest=latest)


def tell_of_user(tx: Tx, farewell: Farewell) -> None:
    """
    Write the fact, if some access token may still be accepted; one of all apps leaves its position with the user.

    When it was is kept with the user in any case: it is what ends the tokens of a home-made service, which stand in no
    log.
    """
    ended = farewell.ended
    if farewell.latest is None:
        if not farewell.app_id:
            tx.connection.execute(
                update(users).where(users.c.user_id == farewell.user_id).values(position_at=ended.at)
            )
        return
    fact = tx.write_fact(
        FactKind.USER,
        farewell.user_id,
        reason=ended.reason,
        useful_until=farewell.latest + FACT_MARGIN,
        app_filter=farewell.app_id,
    )
    if not farewell.app_id:
        tx.connection.execute(
            update(users)
            .where(users.c.user_id == farewell.user_id)
            .values(
                position=fact.position,
                position_reason=int(ended.reason),
                position_at=ended.at,
                position_by=ended.by,
            )
        )


def end_app_sessions(tx: Tx, app_id: str, *, reason: EndReason, by: str, longest_lifetime: timedelta) -> int:
    """
    See ports.SessionStore.end_app_sessions.

    The rows are left alone, however many there are: readers and refreshes compare positions. The fact is always
    written, since tokens of the app may be out there without a row (a restored database).
    """
    alive = tx.connection.execute(
        SESSIONS.with_only_columns(func.count())
        .where(sessions.c.app_id == app_id, REFRESHABLE)
        .params(now=tx.now)
    ).scalar_one()
    audit_sessions.revoked(tx, "app", by=by, end_reason=reason, ended=int(alive), app_id=app_id)
    fact = tx.write_fact(
        FactKind.APP, app_id, reason=reason, useful_until=tx.now + longest_lifetime + FACT_MARGIN
    )
    tx.connection.execute(
        insert(apps).values(
            app_id=app_id,
            position=fact.position,
            position_reason=int(reason),
            position_at=tx.now,
            position_by=by,
        )
    )
    return int(alive)
