"""Pairs of users: those that wait for an operator, and those of whom an operator said that they are two persons."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select

from authsvc.domain.users import User
from authsvc.ports import HeldMerge
from authsvc.storage import audit
from authsvc.storage.aliases import resolve
from authsvc.storage.schema import merges, no_merges
from authsvc.storage.tx import Tx, View

HELD = "held"


def hold_for_operator(tx: Tx, survivor: User, moved: User, *, group: str) -> tuple[str, bool]:
    """Record the pair as pending, once; return its id and whether that is news. Both rows are held."""
    for row in _pairs(tx, survivor, moved):
        return row.merge_id, False
    merge_id = tx.fresh_id()
    tx.connection.execute(
        insert(merges).values(
            merge_id=merge_id,
            state=HELD,
            survivor_id=survivor.user_id,
            moved_id=moved.user_id,
            platform_group=group,
            found_at=tx.now,
        )
    )
    audit.record(
        tx,
        "user.merge_held",
        user_id=survivor.user_id,
        by="login",
        merge_id=merge_id,
        moved_id=moved.user_id,
        platform_group=group,
    )
    return merge_id, True


def list_held_merges(view: View, *, limit: int, after: tuple[datetime, str] | None) -> Sequence[HeldMerge]:
    """See ports.PersonStore.list_held_merges. A pair whose user was merged with a third one is told as it stands now."""
    query = select(merges).where(merges.c.state == HELD).order_by(merges.c.found_at, merges.c.merge_id)
    if after is not None:
        found_at, merge_id = after
        query = query.where(
            or_(
                merges.c.found_at > found_at,
                and_(merges.c.found_at == found_at, merges.c.merge_id > merge_id),
            )
        )
    return [
        HeldMerge(
            merge_id=row.merge_id,
            survivor_id=resolve(view, row.survivor_id),
            moved_id=resolve(view, row.moved_id),
            platform_group=row.platform_group,
            found_at=row.found_at,
        )
        for row in view.connection.execute(query.limit(limit))
    ]


def forget_held(tx: Tx, one: User, other: User) -> Sequence[Row[Any]]:
    """Remove the pending pairs between two persons and return them: they are decided."""
    rows = _pairs(tx, one, other)
    if rows:
        tx.connection.execute(delete(merges).where(merges.c.merge_id.in_([row.merge_id for row in rows])))
    return rows


def are_apart(view: View, one: User, other: User) -> bool:
    """Tell whether some id of the one person and some id of the other are marked as two."""
    return (
        view.connection.execute(select(no_merges.c.user_a).where(_marks(one, other)).limit(1)).first()
        is not None
    )


def mark_apart(tx: Tx, one_id: str, other_id: str, *, by: str) -> None:
    """Have no login merge the two, from now on. Idempotent; both rows are held."""
    first, second = sorted((one_id, other_id))
    tx.connection.execute(delete(no_merges).where(no_merges.c.user_a == first, no_merges.c.user_b == second))
    tx.connection.execute(
        insert(no_merges).values(user_a=first, user_b=second, marked_at=tx.now, marked_by=by)
    )


def lift_marks(tx: Tx, one: User, other: User) -> None:
    """Forget that anybody said that the two are two."""
    tx.connection.execute(delete(no_merges).where(_marks(one, other)))


def _pairs(view: View, one: User, other: User) -> Sequence[Row[Any]]:
    first, second = _ids(one), _ids(other)
    survivor, moved = merges.c.survivor_id, merges.c.moved_id
    query = select(merges).where(
        merges.c.state == HELD,
        or_(and_(survivor.in_(first), moved.in_(second)), and_(survivor.in_(second), moved.in_(first))),
    )
    return view.connection.execute(query.order_by(merges.c.found_at, merges.c.merge_id)).all()


def _marks(one: User, other: User) -> ColumnElement[bool]:
    first, second = _ids(one), _ids(other)
    a, b = no_merges.c.user_a, no_merges.c.user_b
    return or_(and_(a.in_(first), b.in_(second)), and_(a.in_(second), b.in_(first)))


def _ids(user: User) -> list[str]:
    return [user.user_id, *user.previous_ids]
