"""
A merge, a split or an erasure that commits between a unit's look and its hold: the unit looks again, and acts on who
stands.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select, text

from authsvc.domain.people import LinkVerdict
from authsvc.domain.sessions import EndReason
from authsvc.ports import Merged, Split
from authsvc.storage import aliases, identities, imports, merges, splits
from authsvc.storage.schema import identities as identities_table
from authsvc.storage.schema import unionids, users
from authsvc.storage.tx import Tx
from tests.storage.conformance.people import merge, split, user_of
from tests.storage.conformance.personal_data import INDEX, bring_in, record, sibling
from tests.storage.conformance.world import MINUTE, SIBLING, UNBOUND, World

Between = Callable[[ModuleType, str, Callable[[], Awaitable[object]]], list[int]]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Have something happen, and commit, right before a unit holds its first row; returns how often it got there."""

    def arrange(module: ModuleType, name: str, action: Callable[[], Awaitable[object]]) -> list[int]:
        hold = getattr(module, name)
        holds: list[int] = []

        def late(tx: Tx, *rest: Any) -> Any:
            holds.append(len(holds))
            if len(holds) == 1:
                task = asyncio.ensure_future(action())
                while not task.done():
                    tx.connection.execute(text("SELECT 1"))  # the loop goes on meanwhile
                task.result()
            return hold(tx, *rest)

        monkeypatch.setattr(module, name, late)
        return holds

    return arrange


async def test_a_newcomer_whose_unionid_moved(world: World, between: Between) -> None:
    """The identity joins the survivor, not the user who had the unionid when it was looked up."""
    one, two = await world.login("a"), await world.login("b", app=SIBLING, unionid="u")
    holds = between(identities, "hold_user", lambda: merge(world, one, two))
    joined = await world.login("c", unionid="u")
    assert joined.user.user_id == joined.session.user_id == one.user.user_id
    assert len(holds) == 2


async def test_a_login_whose_identity_moved(world: World, between: Between) -> None:
    """The session is the survivor's, and lives."""
    one, two = await world.login("a"), await world.login("b", app=SIBLING)
    holds = between(identities, "hold_user", lambda: merge(world, one, two))
    again = await world.login("b", app=SIBLING)
    assert again.session.user_id == one.user.user_id
    assert await world.reason(again) is None
    assert len(holds) == 2


async def test_two_users_of_whom_one_was_merged_away(world: World, between: Between) -> None:
    """The late unionid's owner was merged with a third user meanwhile: it is that one they are one with."""
    third = await world.login("c", app=UNBOUND)
    world.clock.advance(MINUTE)
    two = await world.login("b", app=SIBLING, unionid="u")
    world.clock.advance(MINUTE)
    one = await world.login("a")
    holds = between(identities, "hold_users", lambda: merge(world, third, two))
    told = await world.login("a", unionid="u")
    assert told.written.value.linking.verdict is LinkVerdict.MERGED
    assert len(holds) == 2
    for login in (one, two, third):
        assert (await user_of(world, login)).user_id == third.user.user_id
    for table in (identities_table, unionids):
        assert {row.user_id for row in world.backend.look(select(table))} == {third.user.user_id}


async def test_a_revocation_whose_user_was_merged_away(world: World, between: Between) -> None:
    """It reaches the person: the survivor's sessions end."""
    one, two = await world.login("a"), await world.login("b")
    holds = between(aliases, "hold_user", lambda: merge(world, one, two))
    written = await world.store.end_user_sessions(two.user.user_id, reason=EndReason.ADMIN, by="op")
    assert written.value == 1
    assert [fact.target for fact in written.facts] == [one.user.user_id]
    assert await world.reason(one) is EndReason.ADMIN
    assert len(holds) > 1


async def test_a_merge_into_a_user_who_was_merged_away(world: World, between: Between) -> None:
    """It goes into whom that user is now."""
    one, two, three = [await world.login(name) for name in "abc"]
    holds = between(merges, "hold_users", lambda: merge(world, one, two))
    written = await world.store.merge_users(two.user.user_id, three.user.user_id, by="op", reason="")
    assert isinstance(written.value, Merged)
    assert written.value.user.user_id == one.user.user_id
    assert written.value.user.previous_ids == (two.user.user_id, three.user.user_id)
    assert len(holds) == 3


async def test_a_split_that_was_done_already(world: World, between: Between) -> None:
    """Two operators at once: the second finds them apart and changes nothing."""
    one, two = await world.login("a"), await world.login("b")
    await merge(world, one, two)
    holds = between(splits, "hold_users", lambda: split(world, two))
    outcome = await split(world, two)
    assert isinstance(outcome, Split)
    assert (outcome.user.user_id, outcome.survivor.user_id) == (two.user.user_id, one.user.user_id)
    assert len(holds) == 3


async def test_an_import_for_a_user_who_was_erased(world: World, between: Between) -> None:
    """Nothing is written to the empty row or points to it: the person's own login would not find a way past it."""
    login = await world.login("a")
    user_id = login.user.user_id
    erasing = world.store.erase_user(user_id, index=INDEX, by="op", even_blocked=True)
    holds = between(imports, "hold_users", lambda: erasing)
    assert await bring_in(world, record("a", unionid="u", external_id="crm-1")) == ["erased"]
    assert world.backend.look(select(users.c.external_id)) == [(None,)]
    assert world.backend.look(select(unionids)) == []
    assert len(holds) == 2
    assert (await world.login("a", unionid="u")).written.value.is_new_user


async def test_an_import_for_an_identity_that_was_split_off(world: World, between: Between) -> None:
    """What the record says of the identity becomes that of its user, and not of the one it was split from."""
    one, two = await world.login("a"), await world.login("b", app=SIBLING)
    await merge(world, one, two)
    holds = between(imports, "hold_users", lambda: split(world, two))
    assert await bring_in(world, sibling("b", unionid="u", external_id="crm-1")) == ["linked"]
    assert [row.user_id for row in world.backend.look(select(unionids))] == [two.user.user_id]
    assert (await user_of(world, two)).external_id == "crm-1"
    assert (await user_of(world, one)).external_id is None
    assert len(holds) == 2
