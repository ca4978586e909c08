"""
One person behind several users: when a login links or merges, who survives, and what the survivor is then.

A merge is an operation on values that remembers its operands, so that undoing it is exact, whatever merges came after
it and in whatever order they are undone. A decision that an operator made in between was about the one person: it
stands, and is not undone with the merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from authsvc.domain.apps import MergePolicy
from authsvc.domain.users import Block, User


class LinkVerdict(StrEnum):
    """What a login does with the unionid that WeChat told."""

    NOTHING = "nothing"  # none was told, the app has no group, or all of it is known
    LINKED = "linked"  # an identity seen for the first time joins the user of its unionid
    RECORDED = "recorded"  # nobody had it: it is the user's from now on
    MERGED = "merged"  # it is another user's, and the two become one
    HELD = "held"  # likewise, and an operator has to decide
    APART = "apart"  # likewise, and an operator has said that they are two
    MISMATCH = "mismatch"  # the identity or its user has a different one: nothing moves


def judge_late_unionid(
    told: str,
    *,
    user_id: str,
    owner_id: str | None,
    told_before: str | None,
    has_another: bool,
    apart: bool,
    policy: MergePolicy,
) -> LinkVerdict:
    """
    Say what follows when WeChat tells *told* of an identity that belongs to *user_id* already.

    *owner_id* has the unionid in the app's group (None: nobody), *told_before* is what WeChat told of this identity
    earlier, *has_another* whether the user has a different unionid in that group, *apart* whether the two are marked as
    two persons.
    """
    if owner_id == user_id:
        return LinkVerdict.NOTHING
    if told_before not in {None, told} or has_another:
        return LinkVerdict.MISMATCH
    if owner_id is None:
        return LinkVerdict.RECORDED
    if apart:
        return LinkVerdict.APART
    return LinkVerdict.HELD if policy is MergePolicy.HOLD else LinkVerdict.MERGED


def elder(one: User, other: User) -> tuple[User, User]:
    """Return the two with the one first who survives a merge that nobody decided: the older, by id if of one instant."""
    first, second = sorted((one, other), key=lambda user: (user.created_at, user.user_id))
    return first, second


@dataclass(frozen=True, slots=True)
class Standing:
    """What a merge combines of two users, and an undo takes apart again."""

    roles: tuple[str, ...] = ()
    external_id: str | None = None
    block: Block | None = None


def standing_of(user: User) -> Standing:
    """Return the user's part of it."""
    return Standing(roles=user.roles, external_id=user.external_id, block=user.block)


def combine(survivor: Standing, moved: Standing, *, at: datetime) -> Standing:
    """
    Return what the survivor of a merge at *at* is.

    The roles of both; the survivor's external id, the moved user's only where it has none; a block on either side
    holds, of two in force the one that lasts longer.
    """
    return Standing(
        roles=(*survivor.roles, *(role for role in moved.roles if role not in survivor.roles)),
        external_id=moved.external_id if survivor.external_id is None else survivor.external_id,
        block=_harder(survivor.block, moved.block, at=at),
    )


@dataclass(frozen=True, slots=True)
class MergeStep:
    """One standing merge into a survivor: what both sides were, and when."""

    survivor: Standing
    moved: Standing
    at: datetime

    @property
    def result(self) -> Standing:
        """What the survivor was right after it."""
        return combine(self.survivor, self.moved, at=self.at)


@dataclass(frozen=True, slots=True)
class Unmerged:
    """Both sides after the undo, and the merges into the survivor that stand, as if the undone one had never been."""

    survivor: Standing
    moved: Standing
    steps: tuple[MergeStep, ...]


def unmerge(steps: Sequence[MergeStep], index: int, *, current: Standing) -> Unmerged:
    """
    Take the merge at *index* out of *steps* (all that stand of one survivor, oldest first).

    Field by field: where nobody decided anything since, the survivor is what the other merges alone make of it, and
    the moved user what it was. A decision since stands on the survivor; the moved user then has the block that was
    decided for both, its own roles less those that were taken away, and its external id unless the survivor was given
    that very one.
    """
    undone = steps[index]
    was, now = undone.result, undone.survivor
    kept = list(steps[:index])
    decided = _Decided()
    for step in steps[index + 1 :]:
        decided |= _changes(was, step.survivor)
        now = _where_unchanged(was, step.survivor, now)
        kept.append(replace(step, survivor=now))
        was, now = step.result, kept[-1].result
    decided |= _changes(was, current)
    survivor = _where_unchanged(was, current, now)
    own = undone.moved
    moved = Standing(
        roles=tuple(role for role in own.roles if role in current.roles) if decided.roles else own.roles,
        external_id=None
        if decided.external_id and own.external_id == survivor.external_id
        else own.external_id,
        block=current.block if decided.block else own.block,
    )
    return Unmerged(survivor=survivor, moved=moved, steps=tuple(kept))


@dataclass(frozen=True, slots=True)
class _Decided:
    """Which fields somebody set after the merge."""

    roles: bool = False
    external_id: bool = False
    block: bool = False

    def __or__(self, other: "_Decided") -> "_Decided":
        return _Decided(
            self.roles or other.roles, self.external_id or other.external_id, self.block or other.block
        )


def _changes(before: Standing, after: Standing) -> _Decided:
    return _Decided(
        before.roles != after.roles, before.external_id != after.external_id, before.block != after.block
    )


def _where_unchanged(before: Standing, after: Standing, otherwise: Standing) -> Standing:
    """Return *otherwise* in the fields that nobody changed from *before* to *after*, and *after* in the others."""
    changed = _changes(before, after)
    return Standing(
        roles=after.roles if changed.roles else otherwise.roles,
        external_id=after.external_id if changed.external_id else otherwise.external_id,
        block=after.block if changed.block else otherwise.block,
    )


def _harder(survivor: Block | None, moved: Block | None, *, at: datetime) -> Block | None:
    """Return the block that binds longer; one that is over is kept only where there is nothing else to say."""
    if moved is None or not moved.holds(now=at):
        return survivor
    if survivor is None or not survivor.holds(now=at):
        return moved
    if survivor.until is None or (moved.until is not None and moved.until <= survivor.until):
        return survivor
    return moved
