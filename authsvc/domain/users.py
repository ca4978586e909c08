"""The person behind the logins: an id of ours, and whether an operator has blocked it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Block:
    """An operator's decision against a user; `until` None means until lifted."""

    reason: str
    by: str
    at: datetime
    until: datetime | None = None

    def holds(self, *, now: datetime) -> bool:
        """Tell whether it is still in force at *now*."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class User:
    """
    A user as every service sees it: the id is random and never derived from an openid.

    `position` is the log position of the last revocation of all the user's sessions (0 if none): sessions whose
    `sp` is below it are dead. `previous_ids` are the users who were merged into this one, oldest merge first.
    """

    user_id: str
    created_at: datetime
    position: int = 0
    roles: tuple[str, ...] = ()
    external_id: str | None = None
    block: Block | None = None
    previous_ids: tuple[str, ...] = ()

    def is_blocked(self, *, now: datetime) -> bool:
        """Tell whether the block, if any, still holds at *now*."""
        return self.block is not None and self.block.holds(now=now)
