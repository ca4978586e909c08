"""What operators and back ends decide of a user: blocks, roles, the id of another system."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select, update

from authsvc.domain.people import standing_of
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block, User
from authsvc.ports import ExternalIdHeld
from authsvc.storage import audit
from authsvc.storage.aliases import hold_person, resolve
from authsvc.storage.endings import end_held_user_sessions
from authsvc.storage.schema import users
from authsvc.storage.standings import write_standing
from authsvc.storage.tx import Tx


def block_user(tx: Tx, user_id: str, *, block: Block) -> int | None:
    """See ports.PersonStore.block_user."""
    user = hold_person(tx, user_id)
    if user is None:
        return None
    write_standing(tx, user.user_id, replace(standing_of(user), block=block))
    audit.record(
        tx,
        "user.blocked",
        user_id=user.user_id,
        by=block.by,
        reason=block.reason,
        until="" if block.until is None else block.until.isoformat(),
    )
    return end_held_user_sessions(tx, user.user_id, reason=EndReason.BLOCKED, by=block.by)


def unblock_user(tx: Tx, user_id: str, *, by: str) -> bool:
    """See ports.PersonStore.unblock_user."""
    user = hold_person(tx, user_id)
    if user is None:
        return False
    if user.block is not None:
        write_standing(tx, user.user_id, replace(standing_of(user), block=None))
        audit.record(tx, "user.unblocked", user_id=user.user_id, by=by)
    return True


def set_roles(tx: Tx, user_id: str, roles: Sequence[str], *, by: str) -> User | None:
    """See ports.PersonStore.set_roles."""
    user = hold_person(tx, user_id)
    if user is None:
        return None
    wanted = tuple(dict.fromkeys(roles))
    if wanted != user.roles:
        write_standing(tx, user.user_id, replace(standing_of(user), roles=wanted))
        audit.record(
            tx, "user.roles_set", user_id=user.user_id, by=by, before=list(user.roles), after=list(wanted)
        )
    return replace(user, roles=wanted)


def set_external_id(
    tx: Tx, user_id: str, external_id: str | None, *, by: str
) -> User | ExternalIdHeld | None:
    """
    See ports.PersonStore.set_external_id.

    A user that was merged away keeps the id that its survivor did not take, so that the id finds the person; given to
    the survivor now, it leaves that row.
    """
    user = hold_person(tx, user_id)
    if user is None:
        return None
    if external_id == user.external_id:
        return user
    if external_id is not None:
        holder = tx.connection.execute(
            select(users.c.user_id).where(users.c.external_id == external_id)
        ).scalar_one_or_none()
        if holder is not None:
            if (owner := resolve(tx, holder)) != user.user_id:
                return ExternalIdHeld(owner)
            tx.connection.execute(update(users).where(users.c.user_id == holder).values(external_id=None))
    write_standing(tx, user.user_id, replace(standing_of(user), external_id=external_id))
    audit.record(
        tx,
        "user.external_id_set",
        user_id=user.user_id,
        by=by,
        had_one=user.external_id is not None,
        has_one=external_id is not None,
    )
    return replace(user, external_id=external_id)
