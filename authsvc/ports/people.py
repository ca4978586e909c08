"""The person behind the logins, as operators and back ends change it: blocks, roles, ids of elsewhere, merges."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from authsvc.domain.users import Block, User
from authsvc.ports.outcomes import ExternalIdHeld, HeldMerge, Merged, MergeRefused, Split, Written


class PersonStore(Protocol):
    """
    Users as persons. What holds for the transactions of SessionStore holds here.

    A user id that was merged away means the user it was merged into, in every method but where it says otherwise; one
    that was erased means nobody. What changes a user is written to the audit trail, with its author *by*, in the same
    transaction; a call that changes nothing writes nothing.
    """

    async def get_user(self, user_id: str) -> User | None:
        """Return the user, or None."""
        ...

    async def block_user(self, user_id: str, *, block: Block) -> Written[int | None]:
        """Set the state and end every session as BLOCKED, in one transaction; None if there is no such user."""
        ...

    async def unblock_user(self, user_id: str, *, by: str) -> bool:
        """Lift a block; sessions stay ended. False if there is no such user."""
        ...

    async def set_roles(self, user_id: str, roles: Sequence[str], *, by: str) -> User | None:
        """Set all roles, in this order, each once; tokens get them at the next refresh. None: there is no such user."""
        ...

    async def set_external_id(
        self, user_id: str, external_id: str | None, *, by: str
    ) -> User | ExternalIdHeld | None:
        """
        Set the id that another system gave the user, or clear it; None if there is no such user.

        No two persons ever have the same: the one that has it is told, and so is the survivor of one that had it when
        it was merged away.
        """
        ...

    async def merge_users(
        self, survivor_id: str, moved_id: str, *, by: str, reason: str
    ) -> Written[Merged | MergeRefused | None]:
        """
        Make two users one, whatever marks or policies say; None if either does not exist.

        Identities (with their phone numbers), unionids and aliases of the moved user become the survivor's; the
        moved user's sessions end as MERGED with their fact; its id is an alias from now on, and in
        `User.previous_ids`. The survivor is what domain.people.combine says; where that blocks it, its sessions end
        as BLOCKED. All of it is remembered so that `split_user` can undo it. A pending merge of the two is settled by
        it, a mark that they are two is lifted. Users who are one already are Merged without a `merge_id`.
        """
        ...

    async def split_user(
        self, moved_id: str, *, survivor_id: str = "", by: str, reason: str
    ) -> Written[Split | MergeRefused | None]:
        """
        Undo the merge of *moved_id*, or settle that a pending pair (both ids given) is two; None if unknown.

        *moved_id* is not resolved here, unless a pending pair is meant; *survivor_id*, if given, is checked. What the
        moved user had goes back, and so does what was learned since by it alone: a unionid that only its identities
        told, and identities that one of its unionids brought. domain.people.unmerge says what both users then are (an
        external id that somebody else was given meanwhile stays theirs). The sessions of the identities that go back
        end as MERGED. From then on no login merges the two. A pair that is marked already is Split without any ended
        session.
        """
        ...

    async def list_held_merges(
        self, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[HeldMerge]:
        """Return the pairs that wait for an operator, oldest first, strictly after the place (found_at, merge_id)."""
        ...
