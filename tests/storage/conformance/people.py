"""Short words for merges and splits, and everything that they move."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from authsvc.domain.users import User
from authsvc.ports import Linking, Merged, MergeProblem, MergeRefused, Split
from authsvc.storage.schema import identities, unionids, user_aliases, users
from tests.storage.conformance.world import MINUTE, SIBLING, Login, World


def linking(login: Login) -> Linking:
    return login.written.value.linking


async def strangers(world: World) -> tuple[Login, Login]:
    """Two users of one person: the older in one app, a minute later the one who has the unionid, in another."""
    older = await world.login("a")
    world.clock.advance(MINUTE)
    return older, await world.login("b", app=SIBLING, unionid="u")


def holdings(world: World) -> Mapping[str, Any]:
    """Everything that a merge changes and an undo must restore, but the facts and sessions."""
    columns = [
        users.c[name]
        for name in (
            "user_id",
            "created_at",
            "roles",
            "external_id",
            "blocked_at",
            "blocked_until",
            "blocked_reason",
            "blocked_by",
            "previous_ids",
        )
    ]
    look = world.backend.look
    return {
        "users": look(select(*columns).order_by(users.c.user_id)),
        "identities": look(
            select(identities.c.app_id, identities.c.openid, identities.c.user_id).order_by(
                identities.c.app_id, identities.c.openid
            )
        ),
        "unionids": look(
            select(unionids.c.platform_group, unionids.c.unionid, unionids.c.user_id).order_by(
                unionids.c.platform_group, unionids.c.unionid
            )
        ),
        "aliases": look(
            select(user_aliases.c.alias_id, user_aliases.c.user_id).order_by(user_aliases.c.alias_id)
        ),
    }


async def merge(world: World, survivor: Login, moved: Login) -> Merged:
    written = await world.store.merge_users(
        survivor.user.user_id, moved.user.user_id, by="op", reason="asked"
    )
    assert isinstance(written.value, Merged)
    return written.value


async def split(world: World, moved: Login) -> Split:
    written = await world.store.split_user(moved.user.user_id, by="op", reason="wrong")
    assert isinstance(written.value, Split)
    return written.value


async def refused(world: World, moved: Login, survivor: Login | None = None) -> MergeProblem:
    written = await world.store.split_user(
        moved.user.user_id, survivor_id=survivor.user.user_id if survivor else "", by="op", reason=""
    )
    assert isinstance(written.value, MergeRefused)
    assert written.facts == ()
    return written.value.problem


async def user_of(world: World, login: Login) -> User:
    user = await world.store.get_user(login.user.user_id)
    assert user is not None
    return user
