"""Who is one person, who survives a merge, and what an undo leaves: on values, in every order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.apps import MergePolicy
from authsvc.domain.people import (
    LinkVerdict,
    MergeStep,
    Standing,
    combine,
    elder,
    judge_late_unionid,
    standing_of,
    unmerge,
)
from authsvc.domain.users import Block, User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

BLOCKS = st.builds(
    Block,
    reason=st.sampled_from(["fraud", "spam"]),
    by=st.just("operator"),
    at=st.just(NOW - DAY),
    until=st.sampled_from([None, NOW - timedelta(hours=1), NOW, NOW + DAY, NOW + 2 * DAY]),
)
STANDINGS = st.builds(
    Standing,
    roles=st.lists(st.sampled_from("abcd"), unique=True).map(tuple),
    external_id=st.none() | st.sampled_from(["x", "y", "z"]),
    block=st.none() | BLOCKS,
)
# External ids are unique among users that stand beside each other.
COMPANIES = st.lists(STANDINGS, min_size=2, max_size=5).filter(
    lambda some: (
        len({each.external_id for each in some if each.external_id})
        == sum(each.external_id is not None for each in some)
    )
)


def merged(standings: list[Standing]) -> list[MergeStep]:
    """The merges of all into the first, one after the other."""
    survivor, steps = standings[0], []
    for moved in standings[1:]:
        steps.append(MergeStep(survivor=survivor, moved=moved, at=NOW))
        survivor = steps[-1].result
    return steps


@pytest.mark.parametrize(
    ("owner", "told_before", "has_another", "apart", "policy", "verdict"),
    [
        ("me", None, False, False, MergePolicy.AUTO, LinkVerdict.NOTHING),
        ("me", "other", True, False, MergePolicy.AUTO, LinkVerdict.NOTHING),
        (None, None, False, False, MergePolicy.AUTO, LinkVerdict.RECORDED),
        (None, "told", False, False, MergePolicy.HOLD, LinkVerdict.RECORDED),
        (None, "other", False, False, MergePolicy.AUTO, LinkVerdict.MISMATCH),
        (None, None, True, False, MergePolicy.AUTO, LinkVerdict.MISMATCH),
        ("them", None, False, False, MergePolicy.AUTO, LinkVerdict.MERGED),
        ("them", "told", False, False, MergePolicy.AUTO, LinkVerdict.MERGED),
        ("them", None, False, False, MergePolicy.HOLD, LinkVerdict.HELD),
        ("them", None, False, True, MergePolicy.AUTO, LinkVerdict.APART),
        ("them", None, False, True, MergePolicy.HOLD, LinkVerdict.APART),
        ("them", "other", False, False, MergePolicy.AUTO, LinkVerdict.MISMATCH),
        ("them", None, True, False, MergePolicy.AUTO, LinkVerdict.MISMATCH),
        ("them", None, True, True, MergePolicy.HOLD, LinkVerdict.MISMATCH),
    ],
)
def test_what_a_unionid_leads_to(
    *,
    owner: str | None,
    told_before: str | None,
    has_another: bool,
    apart: bool,
    policy: MergePolicy,
    verdict: LinkVerdict,
) -> None:
    """Every case of a unionid that a known identity tells (DESIGN section 3, user)."""
    found = judge_late_unionid(
        "told",
        user_id="me",
        owner_id=owner,
        told_before=told_before,
        has_another=has_another,
        apart=apart,
        policy=policy,
    )
    assert found is verdict


@given(
    told_before=st.none() | st.sampled_from(["told", "other"]),
    has_another=st.booleans(),
    apart=st.booleans(),
    policy=st.sampled_from(MergePolicy),
)
def test_a_different_unionid_never_moves_anything(
    told_before: str | None, has_another: bool, apart: bool, policy: MergePolicy
) -> None:
    """Whatever else holds: with another unionid on the identity or its user nobody is merged, held or recorded."""
    verdict = judge_late_unionid(
        "told",
        user_id="me",
        owner_id="them",
        told_before=told_before,
        has_another=has_another,
        apart=apart,
        policy=policy,
    )
    assert (verdict is LinkVerdict.MISMATCH) == (has_another or told_before == "other")


@given(st.integers(0, 3), st.integers(0, 3), st.permutations(["a", "b"]))
def test_the_older_survives_whoever_asks(first: int, second: int, ids: list[str]) -> None:
    """Both sides of a race choose the same survivor: never the younger, and by id where age does not tell."""
    one, other = User(ids[0], NOW + first * DAY), User(ids[1], NOW + second * DAY)
    survivor, moved = elder(one, other)
    assert (survivor, moved) == elder(other, one)
    assert {survivor, moved} == {one, other}
    assert (survivor.created_at, survivor.user_id) < (moved.created_at, moved.user_id)


@given(STANDINGS, STANDINGS)
def test_nothing_of_either_side_is_lost_but_the_second_external_id(one: Standing, other: Standing) -> None:
    """The roles are the union, each once; the survivor's external id stands; nothing is made up."""
    both = combine(one, other, at=NOW)
    assert set(both.roles) == {*one.roles, *other.roles}
    assert len(both.roles) == len(set(both.roles))
    assert both.external_id == (one.external_id or other.external_id)
    assert both.block in (one.block, other.block)


@given(STANDINGS, STANDINGS, st.timedeltas(timedelta(0), 3 * DAY))
def test_a_block_on_either_side_holds(one: Standing, other: Standing, later: timedelta) -> None:
    """From the merge on the survivor is blocked exactly as long as either would have been."""
    both = combine(one, other, at=NOW).block
    expected = any(block is not None and block.holds(now=NOW + later) for block in (one.block, other.block))
    assert (both is not None and both.holds(now=NOW + later)) == expected


@given(COMPANIES, st.data())
def test_undoing_restores_exactly_in_every_order(standings: list[Standing], data: st.DataObject) -> None:
    """Whatever was merged into one, and in whatever order it is undone, everybody is what they were."""
    steps = merged(standings)
    survivor, moved = steps[-1].result, list(standings[1:])
    while steps:
        index = data.draw(st.integers(0, len(steps) - 1))
        undone = unmerge(steps, index, current=survivor)
        assert undone.moved == moved.pop(index)
        steps, survivor = list(undone.steps), undone.survivor
        assert survivor == (steps[-1].result if steps else standings[0])
    assert survivor == standings[0]


@given(COMPANIES, STANDINGS, st.data())
def test_a_decision_since_stands(standings: list[Standing], decided: Standing, data: st.DataObject) -> None:
    """What an operator set on the one person after the merges is the survivor's after any undo."""
    steps = merged(standings)
    current = steps[-1].result
    decided = Standing(
        roles=(*decided.roles, "decided"),
        external_id="decided",
        block=replace(decided.block or Block("", "operator", NOW), reason="decided"),
    )
    assert all(
        (getattr(decided, name) != getattr(current, name)) for name in ("roles", "external_id", "block")
    )
    index = data.draw(st.integers(0, len(steps) - 1))
    undone = unmerge(steps, index, current=decided)
    assert undone.survivor == decided
    assert undone.moved.block == decided.block, "it was decided of both"
    own = standings[1 + index]
    assert undone.moved.roles == tuple(role for role in own.roles if role in decided.roles)
    assert undone.moved.external_id == own.external_id


@given(COMPANIES, STANDINGS)
def test_a_decision_between_two_merges_stands(standings: list[Standing], decided: Standing) -> None:
    """Undoing the first of two merges leaves what was decided before the second, and the second can still be undone."""
    base, first, second = standings[0], standings[1], replace(standings[-1], external_id="w")
    decided = replace(decided, roles=(*decided.roles, "decided"))
    one = MergeStep(survivor=base, moved=first, at=NOW)
    between = replace(one.result, roles=decided.roles)
    two = MergeStep(survivor=between, moved=second, at=NOW)
    undone = unmerge([one, two], 0, current=two.result)
    assert undone.survivor.roles == two.result.roles
    assert undone.moved.roles == tuple(role for role in first.roles if role in two.result.roles)
    last = unmerge(undone.steps, 0, current=undone.survivor)
    assert last.moved == second
    assert last.survivor == replace(base, roles=decided.roles)


def test_an_external_id_is_given_to_one_side_only() -> None:
    """The moved user's own id, set on the survivor by an operator since, is not given twice."""
    step = MergeStep(survivor=Standing(external_id="a"), moved=Standing(external_id="b"), at=NOW)
    undone = unmerge([step], 0, current=Standing(external_id="b"))
    assert (undone.survivor.external_id, undone.moved.external_id) == ("b", None)


def test_the_standing_of_a_user() -> None:
    """It is the part of a user that a merge combines."""
    block = Block("fraud", "operator", NOW)
    user = User("u", NOW, roles=("a",), external_id="x", block=block)
    assert standing_of(user) == Standing(roles=("a",), external_id="x", block=block)
