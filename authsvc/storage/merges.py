"""
Making two users one (docs/decisions/0007-merging-users.md).

Both rows are held. What moves is remembered item by item, and so is what the survivor had itself: what neither had is
what was learned later, and an undo has to say whose it is.
"""

from dataclasses import dataclass, field, replace

from sqlalchemy import insert, literal, select, update

from authsvc.domain.people import combine, standing_of
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import User
from authsvc.ports import Merged, MergeProblem, MergeRefused
from authsvc.storage import audit
from authsvc.storage.aliases import hold_user, hold_users, resolve
from authsvc.storage.endings import Farewell, settle_user, tell_of_user
from authsvc.storage.pairs import forget_held, lift_marks
from authsvc.storage.schema import identities, merge_items, merges, unionids, user_aliases
from authsvc.storage.standings import to_json, write_previous_ids, write_standing
from authsvc.storage.tx import Overtaken, Tx

DONE, UNDONE = "done", "undone"
IDENTITY, UNIONID = "identity", "unionid"


@dataclass(frozen=True, slots=True)
class Merging:
    """A merge whose rows are written: the survivor as it is now, and what the log still has to be told."""

    merge_id: str
    user: User
    ended_sessions: int
    farewells: list[Farewell] = field(default_factory=list)


def merge_users(
    tx: Tx, survivor_id: str, moved_id: str, *, by: str, reason: str
) -> Merged | MergeRefused | None:
    """See ports.PersonStore.merge_users."""
    if survivor_id == moved_id:
        return MergeRefused(MergeProblem.SAME_USER)
    survivor_id, moved_id = resolve(tx, survivor_id), resolve(tx, moved_id)
    held = hold_users(tx, (survivor_id, moved_id))
    if any(resolve(tx, user_id) != user_id for user_id in held):
        raise Overtaken
    if not held.keys() >= {survivor_id, moved_id}:
        return None
    if survivor_id == moved_id:
        return Merged(held[survivor_id], moved_id="")
    merging = merge(tx, held[survivor_id], held[moved_id], group="", by=by, reason=reason)
    for farewell in merging.farewells:
        tell_of_user(tx, farewell)
    survivor = hold_user(tx, survivor_id)  # again: a block moved its position
    assert survivor is not None
    return Merged(survivor, moved_id, merging.merge_id, merging.ended_sessions)


def merge(tx: Tx, survivor: User, moved: User, *, group: str, by: str, reason: str) -> Merging:
    """
    Make two users that stand, and whose rows are held, one; the facts are left to be told when all rows are written.
    """
    pending = forget_held(tx, survivor, moved)
    lift_marks(tx, survivor, moved)
    merge_id = pending[0].merge_id if pending else tx.fresh_id()
    group = pending[0].platform_group if pending else group
    before = (standing_of(survivor), standing_of(moved))
    combined = combine(*before, at=tx.now)
    became = replace(
        survivor,
        roles=combined.roles,
        external_id=combined.external_id,
        block=combined.block,
        previous_ids=(*survivor.previous_ids, *moved.previous_ids, moved.user_id),
    )
    _move(tx, survivor, moved, merge_id=merge_id)
    if combined.external_id != survivor.external_id:  # it was the moved user's, and is unique
        write_standing(tx, moved.user_id, replace(before[1], external_id=None))
    write_standing(tx, survivor.user_id, combined)
    write_previous_ids(tx, survivor.user_id, became.previous_ids)
    tx.connection.execute(
        insert(merges).values(
            merge_id=merge_id,
            state=DONE,
            survivor_id=survivor.user_id,
            moved_id=moved.user_id,
            platform_group=group,
            found_at=pending[0].found_at if pending else tx.now,
            merged_at=tx.now,
            merged_by=by,
            reason=reason,
            survivor_before=to_json(before[0]),
            moved_before=to_json(before[1]),
        )
    )
    farewells = [settle_user(tx, moved.user_id, reason=EndReason.MERGED, by=by)]
    if became.block != survivor.block:
        farewells.append(settle_user(tx, survivor.user_id, reason=EndReason.BLOCKED, by=by))
    ended = sum(farewell.ended_sessions for farewell in farewells)
    audit.record(
        tx,
        "user.merged",
        user_id=survivor.user_id,
        by=by,
        merge_id=merge_id,
        moved_id=moved.user_id,
        platform_group=group,
        reason=reason,
        ended_sessions=ended,
    )
    return Merging(merge_id, became, ended, farewells)


def _move(tx: Tx, survivor: User, moved: User, *, merge_id: str) -> None:
    """Give what the moved user has to the survivor, and remember what each had."""
    both = (survivor.user_id, moved.user_id)
    had = [
        *tx.connection.execute(
            select(literal(IDENTITY), identities.c.app_id, identities.c.openid, identities.c.user_id).where(
                identities.c.user_id.in_(both)
            )
        ),
        *tx.connection.execute(
            select(literal(UNIONID), unionids.c.platform_group, unionids.c.unionid, unionids.c.user_id).where(
                unionids.c.user_id.in_(both)
            )
        ),
    ]
    if had:
        tx.connection.execute(
            insert(merge_items),
            [
                {
                    "merge_id": merge_id,
                    "kind": kind,
                    "scope": scope,
                    "value": value,
                    "moved": int(user_id == moved.user_id),
                }
                for kind, scope, value, user_id in had
            ],
        )
    for table in (identities, unionids, user_aliases):
        tx.connection.execute(
            update(table).where(table.c.user_id == moved.user_id).values(user_id=survivor.user_id)
        )
    tx.connection.execute(
        insert(user_aliases).values(
            alias_id=moved.user_id, user_id=survivor.user_id, merge_id=merge_id, created_at=tx.now
        )
    )
