"""Undoing a merge: what moved goes back, with what was learned since by it alone, and nobody merges the two again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, select, tuple_, update

from authsvc.domain.people import MergeStep, Standing, Unmerged, standing_of, unmerge
from authsvc.domain.sessions import Ended, EndReason
from authsvc.domain.users import User
from authsvc.ports import MergeProblem, MergeRefused, Split
from authsvc.storage import audit
from authsvc.storage.aliases import hold_user, hold_users, resolve
from authsvc.storage.endings import settle, tell_of_session
from authsvc.storage.merges import DONE, IDENTITY, UNDONE, UNIONID
from authsvc.storage.pairs import are_apart, forget_held, mark_apart
from authsvc.storage.rows import SESSIONS, is_unsettled, killed
from authsvc.storage.schema import identities, merge_items, merges, sessions, unionids, user_aliases, users
from authsvc.storage.standings import from_json, to_json, write_previous_ids, write_standing
from authsvc.storage.tx import Overtaken, Tx

Key = tuple[str, str]


def split_user(
    tx: Tx, moved_id: str, *, survivor_id: str, by: str, reason: str
) -> Split | MergeRefused | None:
    """See ports.PersonStore.split_user."""
    done = _standing_merge(tx, moved_id)
    if done is None:
        return _settle_pair(tx, moved_id, survivor_id, by=by, reason=reason)
    if survivor_id and resolve(tx, survivor_id) != resolve(tx, done.survivor_id):
        return MergeRefused(MergeProblem.OTHER_SURVIVOR)
    if resolve(tx, done.survivor_id) != done.survivor_id:
        return MergeRefused(MergeProblem.MERGED_ONWARD)
    held = hold_users(tx, (moved_id, done.survivor_id))
    again = _standing_merge(tx, moved_id)
    if len(held) < 2 or again is None or again.merge_id != done.merge_id:
        raise Overtaken
    if resolve(tx, done.survivor_id) != done.survivor_id:
        raise Overtaken
    return _undo(tx, done, held[done.survivor_id], held[moved_id], by=by, reason=reason)


def _undo(tx: Tx, done: Row[Any], survivor: User, moved: User, *, by: str, reason: str) -> Split:
    back = _goes_back(tx, done.merge_id, survivor)
    _give_back(tx, back, moved)
    # What the moved user was called by stayed in its row, and all of it is the survivor's still: whoever wanted to
    # undo one of those merges was told to undo this one first.
    returning = {moved.user_id, *moved.previous_ids}
    tx.connection.execute(delete(user_aliases).where(user_aliases.c.alias_id == moved.user_id))
    tx.connection.execute(
        update(user_aliases)
        .where(user_aliases.c.alias_id.in_(moved.previous_ids))
        .values(user_id=moved.user_id)
    )
    remaining = tuple(each for each in survivor.previous_ids if each not in returning)
    write_previous_ids(tx, survivor.user_id, remaining)
    _take_apart(tx, done, survivor, moved)
    tx.connection.execute(
        update(merges)
        .where(merges.c.merge_id == done.merge_id)
        .values(state=UNDONE, undone_at=tx.now, undone_by=by)
    )
    mark_apart(tx, survivor.user_id, moved.user_id, by=by)
    ended = _settle_sessions(tx, survivor, back.identities, by=by)
    audit.record(
        tx,
        "user.split",
        user_id=moved.user_id,
        by=by,
        merge_id=done.merge_id,
        survivor_id=survivor.user_id,
        reason=reason,
        ended_sessions=sum(row.was_live for row in ended),
    )
    for row in ended:
        tell_of_session(
            tx, row.session_id, reason=EndReason.MERGED, latest_access_expiry=row.latest_access_expiry
        )
    return _split(tx, moved.user_id, survivor.user_id, ended_sessions=sum(row.was_live for row in ended))


def _settle_pair(tx: Tx, one_id: str, other_id: str, *, by: str, reason: str) -> Split | MergeRefused | None:
    """Mark a pending pair as two persons; a pair that is marked already, or was split, stays as it is."""
    held = hold_users(tx, (one_id, resolve(tx, other_id or _last_survivor(tx, one_id))))
    if one_id not in held:
        return None
    others = [user for user_id, user in held.items() if user_id != one_id]
    if not others:
        return MergeRefused(MergeProblem.NOT_MERGED)
    one, other = held[one_id], others[0]
    if any(resolve(tx, user_id) != user_id for user_id in held):
        raise Overtaken
    pending = forget_held(tx, one, other)
    if not pending and not are_apart(tx, one, other):
        return MergeRefused(MergeProblem.NOT_MERGED)
    if pending:
        mark_apart(tx, one.user_id, other.user_id, by=by)
        audit.record(
            tx,
            "user.kept_apart",
            user_id=one.user_id,
            by=by,
            merge_id=pending[0].merge_id,
            other_id=other.user_id,
            reason=reason,
        )
    return Split(one, other)


def _standing_merge(tx: Tx, moved_id: str) -> Row[Any] | None:
    return tx.connection.execute(
        select(merges).where(merges.c.moved_id == moved_id, merges.c.state == DONE)
    ).one_or_none()


def _last_survivor(tx: Tx, moved_id: str) -> str:
    """Return into whom a user had been merged before that was undone; the same id if it never was."""
    survivor: str | None = tx.connection.execute(
        select(merges.c.survivor_id)
        .where(merges.c.moved_id == moved_id, merges.c.state == UNDONE)
        .order_by(merges.c.undone_at.desc(), merges.c.merge_id)
        .limit(1)
    ).scalar_one_or_none()
    return survivor or moved_id


@dataclass(frozen=True, slots=True)
class _Back:
    """What goes back: identities (app id, openid) and unionids (platform group, unionid)."""

    identities: set[Key]
    unionids: set[Key]


def _goes_back(tx: Tx, merge_id: str, survivor: User) -> _Back:
    """
    Return what of the survivor's has to go back.

    What moved, and of what neither of the two had: unionids that an identity of the moved user told and none that
    stays, and identities that told a unionid which goes back.
    """
    had: dict[str, dict[bool, set[Key]]] = {
        kind: {moved: set() for moved in (True, False)} for kind in (IDENTITY, UNIONID)
    }
    for item in tx.connection.execute(select(merge_items).where(merge_items.c.merge_id == merge_id)):
        had[item.kind][bool(item.moved)].add((item.scope, item.value))
    told: dict[Key, str | None] = {
        (row.app_id, row.openid): row.unionid
        for row in tx.connection.execute(
            select(identities.c.app_id, identities.c.openid, identities.c.unionid).where(
                identities.c.user_id == survivor.user_id
            )
        )
    }
    known: set[Key] = {
        (row.platform_group, row.unionid)
        for row in tx.connection.execute(
            select(unionids.c.platform_group, unionids.c.unionid).where(
                unionids.c.user_id == survivor.user_id
            )
        )
    }
    moved_identities, own_identities = had[IDENTITY][True], had[IDENTITY][False]
    new_unionids = known - had[UNIONID][True] - had[UNIONID][False]
    theirs = _texts(told, moved_identities) - _texts(told, own_identities)
    back_unionids = (known & had[UNIONID][True]) | {key for key in new_unionids if key[1] in theirs}
    brought = {unionid for _, unionid in back_unionids}
    new_identities = told.keys() - moved_identities - own_identities
    back_identities = (told.keys() & moved_identities) | {
        key for key in new_identities if told[key] in brought
    }
    return _Back(back_identities, back_unionids)


def _texts(told: dict[Key, str | None], keys: Iterable[Key]) -> set[str | None]:
    return {told.get(key) for key in keys} - {None}


def _give_back(tx: Tx, back: _Back, moved: User) -> None:
    for table, keys in (
        (identities, (identities.c.app_id, identities.c.openid, back.identities)),
        (unionids, (unionids.c.platform_group, unionids.c.unionid, back.unionids)),
    ):
        scope, value, these = keys
        if these:
            tx.connection.execute(
                update(table).where(tuple_(scope, value).in_(sorted(these))).values(user_id=moved.user_id)
            )


def _take_apart(tx: Tx, done: Row[Any], survivor: User, moved: User) -> None:
    """Write what both users are without this merge, and what the merges that stand are as if it had never been."""
    rows = {
        row.moved_id: row
        for row in tx.connection.execute(
            select(merges).where(merges.c.survivor_id == survivor.user_id, merges.c.state == DONE)
        )
    }
    # The order of the aliases is that of the merges, which one clock need not be.
    in_order = [rows[user_id] for user_id in survivor.previous_ids if user_id in rows]
    steps = [
        MergeStep(
            survivor=from_json(row.survivor_before), moved=from_json(row.moved_before), at=row.merged_at
        )
        for row in in_order
    ]
    index = [row.merge_id for row in in_order].index(done.merge_id)
    result = unmerge(steps, index, current=standing_of(survivor))
    standing = [row for row in in_order if row.merge_id != done.merge_id]
    for row, step in zip(standing, result.steps, strict=True):
        tx.connection.execute(
            update(merges)
            .where(merges.c.merge_id == row.merge_id)
            .values(survivor_before=to_json(step.survivor))
        )
    _write(tx, result, survivor, moved, others=[row.moved_id for row in standing])


def _write(tx: Tx, result: Unmerged, survivor: User, moved: User, *, others: Sequence[str]) -> None:
    """Write the rows, each external id to one of them: the survivor's first, then the moved user's, then the others'."""
    wanted = {
        survivor.user_id: result.survivor,
        moved.user_id: result.moved,
        **{user_id: step.moved for user_id, step in zip(others, result.steps, strict=True)},
    }
    tx.connection.execute(update(users).where(users.c.user_id.in_(wanted)).values(external_id=None))
    free: dict[str, Standing] = {}
    given: set[str] = set()
    for user_id, standing in wanted.items():
        external_id = standing.external_id
        if external_id in given or (external_id is not None and _is_taken(tx, external_id)):
            external_id = None
        if external_id is not None:
            given.add(external_id)
        free[user_id] = Standing(roles=standing.roles, external_id=external_id, block=standing.block)
    for user_id in (survivor.user_id, moved.user_id):
        write_standing(tx, user_id, free[user_id])
    for user_id in others:
        tx.connection.execute(
            update(users).where(users.c.user_id == user_id).values(external_id=free[user_id].external_id)
        )


def _is_taken(tx: Tx, external_id: str) -> bool:
    query = select(users.c.user_id).where(users.c.external_id == external_id)
    return tx.connection.execute(query).first() is not None


@dataclass(frozen=True, slots=True)
class _EndedNow:
    session_id: str
    was_live: bool
    latest_access_expiry: Any


def _settle_sessions(tx: Tx, survivor: User, these: set[Key], *, by: str) -> list[_EndedNow]:
    """End the sessions that the survivor has through identities which are not its own any more."""
    ended = Ended(reason=EndReason.MERGED, at=tx.now, by=by)
    done: list[_EndedNow] = []
    unsettled = SESSIONS.where(sessions.c.user_id == survivor.user_id, is_unsettled(tx.now))
    for row in tx.connection.execute(unsettled).all():
        if (row.app_id, row.openid) not in these or killed(row) is not None:
            continue
        latest = settle(tx, row.session_id, ended=ended)
        if latest is not None:
            done.append(_EndedNow(row.session_id, tx.now < row.refresh_expires_at, latest))
    return done


def _split(tx: Tx, moved_id: str, survivor_id: str, *, ended_sessions: int) -> Split:
    moved, survivor = hold_user(tx, moved_id), hold_user(tx, survivor_id)
    assert moved is not None
    assert survivor is not None
    return Split(moved, survivor, ended_sessions)
