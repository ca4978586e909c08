"""One person behind two users, as a login finds out: told to back ends, told to operators, by the group's policy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain.apps import App, MergePolicy
from authsvc.service.verify import VerifiedToken
from tests.support.core import D1, D2, Core, sandbox_apps


def apps(policy: MergePolicy) -> Mapping[str, App]:
    """The sandbox's apps with this policy in their group."""
    return {app_id: replace(app, merge_policy=policy) for app_id, app in sandbox_apps().items()}


async def meet_late(core: Core) -> tuple[str, str]:
    """
    Alice becomes two users, because d2 tells no unionid yet; return the older and the younger id.

    When this returns d2 is bound, so her next login there tells it late.
    """
    account = next(app.open_platform for app in core.sandbox.world.apps if app.app_id == D2)
    core.sandbox.world.book.bind(D2, None)
    older = (await core.login("alice", app_id=D1)).opened.user.user_id
    core.clock.advance(timedelta(seconds=1))
    younger = (await core.login("alice", app_id=D2)).opened.user.user_id
    assert older != younger
    core.sandbox.world.book.bind(D2, account)
    core.clock.advance(timedelta(seconds=1))
    return older, younger


def told(core: Core) -> list[tuple[str, str]]:
    """The events about who is who, with their levels."""
    return [(event.name, event.level) for event in core.observer.events if event.name.startswith("user.")]


async def test_a_merge_is_told_with_every_answer_from_then_on(core: Core) -> None:
    """
    The older user stays; login, refresh and the token itself name the id that was merged away; one event says so, with
    ids of ours alone.
    """
    core.apps.replace(apps(MergePolicy.AUTO))
    older, younger = await meet_late(core)
    made = await core.login("alice", app_id=D2)

    assert (made.opened.user.user_id, made.opened.user.previous_ids) == (older, (younger,))
    verdict = await core.judge(made.tokens.access_token)
    assert isinstance(verdict, VerifiedToken)
    assert verdict.claims.previous_user_ids == (younger,)
    renewed = await core.refresh(made.tokens.refresh_token)
    assert renewed.rotation.user.previous_ids == (younger,)
    assert told(core) == [("user.merged", "info")]
    [event] = [event for event in core.observer.events if event.name == "user.merged"]
    assert (event.fields["user_id"], event.fields["other_user_id"]) == (older, younger)
    assert made.openid not in repr(event)
    await core.login("alice", app_id=D2)
    assert len(told(core)) == 1


async def test_a_held_pair_is_told_once_and_nothing_moves(core: Core) -> None:
    """With `hold` both users stay who they are, and an operator is told, once."""
    core.apps.replace(apps(MergePolicy.HOLD))
    older, younger = await meet_late(core)
    for _ in range(2):
        made = await core.login("alice", app_id=D2)
        assert (made.opened.user.user_id, made.opened.user.previous_ids) == (younger, ())
    assert (await core.login("alice", app_id=D1)).opened.user.user_id == older
    assert told(core) == [("user.held", "warning")]


@pytest.mark.parametrize("policy", list(MergePolicy))
async def test_a_policy_that_changes_counts_from_the_next_login(core: Core, policy: MergePolicy) -> None:
    """The apps are exchanged between two logins: the second one follows the new policy."""
    other = next(one for one in MergePolicy if one is not policy)
    core.apps.replace(apps(other))
    older, younger = await meet_late(core)
    core.apps.replace(apps(policy))
    made = await core.login("alice", app_id=D2)

    assert made.opened.user.user_id == (older if policy is MergePolicy.AUTO else younger)
