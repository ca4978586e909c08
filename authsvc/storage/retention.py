"""
What nobody needs any more goes away: a small batch per unit of work, found by an index.

A batch says how many rows it removed, so its caller goes on until one comes back short. On a backend with concurrent
writers two replicas' batches step round each other's rows instead of waiting.
"""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Integer, String, bindparam, delete, func, select, update

from authsvc.domain.apps import FACT_MARGIN
from authsvc.domain.revocations import FactKind
from authsvc.storage.schema import Instant, log_head, login_codes, metadata, revocations, sessions
from authsvc.storage.tx import HEAD_ID, Tx, View

_AT_MOST = bindparam("at_most", type_=Integer)
# By the one end that never moves: until then a refresh token of the session may still be good, and a row that is gone
# would turn an admin's decision (log in by a tap) into a silent login (store restored).
_OVER = (
    select(sessions.c.session_id)
    .where(sessions.c.absolute_end <= bindparam("over_by", type_=Instant))
    .order_by(sessions.c.absolute_end)
    .limit(_AT_MOST)
    .with_for_update(skip_locked=True)
)
_FORGET_SESSIONS = delete(sessions).where(sessions.c.session_id.in_(bindparam("gone", expanding=True)))
_EXPIRED_CODES = (
    select(login_codes.c.app_id, login_codes.c.code_hash)
    .where(login_codes.c.expires_at <= bindparam("now", type_=Instant))
    .order_by(login_codes.c.expires_at)
    .limit(_AT_MOST)
    .with_for_update(skip_locked=True)
)
_FORGET_CODES = delete(login_codes).where(
    login_codes.c.app_id == bindparam("this_app", type_=String),
    login_codes.c.code_hash == bindparam("this_code"),
)
_newest = select(func.max(revocations.c.position)).scalar_subquery()
# A tailer compares the fact it stands on, and at rest that is the newest one. What is useful for ever is not below.
_USELESS = (
    select(revocations.c.position)
    .where(
        revocations.c.useful_until <= bindparam("now", type_=Instant),
        revocations.c.position < _newest,
        revocations.c.kind != FactKind.KEY.value,
    )
    .order_by(revocations.c.useful_until)
    .limit(_AT_MOST)
    .with_for_update(skip_locked=True)
)
_FORGET_FACTS = delete(revocations).where(revocations.c.position.in_(bindparam("gone", expanding=True)))
_MOVE_MARK = (
    update(log_head)
    .where(log_head.c.id == HEAD_ID, log_head.c.compacted_through < bindparam("through"))
    .values(compacted_through=bindparam("through"))
)


def purge_sessions(tx: Tx, *, retention: timedelta, limit: int) -> int:
    """See ports.Housekeeping.purge_sessions."""
    over_by = tx.now - max(retention, FACT_MARGIN)
    gone = tx.connection.execute(_OVER, {"over_by": over_by, "at_most": limit}).scalars().all()
    if gone:
        tx.connection.execute(_FORGET_SESSIONS, {"gone": gone})
    return len(gone)


def purge_codes(tx: Tx, *, limit: int) -> int:
    """See ports.Housekeeping.purge_codes."""
    gone = tx.connection.execute(_EXPIRED_CODES, {"now": tx.now, "at_most": limit}).all()
    if gone:
        tx.connection.execute(
            _FORGET_CODES, [{"this_app": row.app_id, "this_code": row.code_hash} for row in gone]
        )
    return len(gone)


def compact_log(tx: Tx, *, limit: int) -> int:
    """
    See ports.Housekeeping.compact_log.

    The mark is the largest position removed, also where older facts stay: whoever stands below it may have lost the
    fact it stands on. The head's row is touched last, as by every other unit.
    """
    gone = tx.connection.execute(_USELESS, {"now": tx.now, "at_most": limit}).scalars().all()
    if gone:
        tx.connection.execute(_FORGET_FACTS, {"gone": gone})
        tx.connection.execute(_MOVE_MARK, {"through": max(gone)})
    return len(gone)


def count_rows(view: View) -> Mapping[str, int]:
    """See ports.Housekeeping.count_rows."""
    return {
        table.name: view.connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }
