"""
From the ids that people know to users that stand, and holding their rows.

A merge or its undo holds the rows of both users, the smaller id first. Whoever holds the row of a user that stands
therefore knows that it goes on to stand, and that the identities and unionids that point to it stay where they are.
"""

import json
from collections.abc import Iterable

from sqlalchemy import bindparam, select

from authsvc.domain.users import User
from authsvc.storage.rows import to_user
from authsvc.storage.schema import user_aliases, users
from authsvc.storage.tx import Overtaken, Tx, View

_SURVIVOR = select(user_aliases.c.user_id).where(user_aliases.c.alias_id == bindparam("alias_id"))
_HOLD = (
    select(users)
    .where(users.c.user_id == bindparam("user_id"), users.c.erased_at.is_(None))
    .with_for_update()
)
_PREVIOUS_IDS = select(users.c.previous_ids).where(users.c.user_id == bindparam("user_id"))


def resolve(view: View, user_id: str) -> str:
    """Return the id of the user that *user_id* was merged into; the same id if it was not, known or unknown."""
    survivor: str | None = view.connection.execute(_SURVIVOR, {"alias_id": user_id}).scalar_one_or_none()
    return user_id if survivor is None else survivor


def ids_of_person(view: View, user_id: str) -> list[str]:
    """Return every id of the person, that of the user who stands first; an unknown id is returned alone."""
    user_id = resolve(view, user_id)
    previous = view.connection.execute(_PREVIOUS_IDS, {"user_id": user_id}).scalar_one_or_none()
    return [user_id, *json.loads(previous or "[]")]


def hold_person(tx: Tx, user_id: str) -> User | None:
    """
    Return the user that *user_id* means, holding its row until the transaction ends; None if there is none.

    Raises:
        Overtaken: it was merged away while we waited for it.

    """
    user_id = resolve(tx, user_id)
    user = hold_user(tx, user_id)
    if user is not None and resolve(tx, user_id) != user_id:
        raise Overtaken
    return user


def hold_user(tx: Tx, user_id: str) -> User | None:
    """Return the user of exactly this id, merged away or not, holding its row; None if there is none, or was erased."""
    row = tx.connection.execute(_HOLD, {"user_id": user_id}).one_or_none()
    return None if row is None else to_user(row, created_at=row.created_at, position=row.position)


def hold_users(tx: Tx, user_ids: Iterable[str]) -> dict[str, User]:
    """Hold the rows of several users in the order that everybody keeps; unknown ones are missing from the answer."""
    held = {user_id: hold_user(tx, user_id) for user_id in sorted(set(user_ids))}
    return {user_id: user for user_id, user in held.items() if user is not None}
