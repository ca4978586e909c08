"""ports.PersonStore over any backend that runs units of work: each method is one of them, no more."""

from collections.abc import Sequence
from datetime import datetime

from authsvc.domain.users import Block, User
from authsvc.ports import ExternalIdHeld, HeldMerge, Merged, MergeRefused, Split, Written
from authsvc.storage import listings, merges, pairs, splits, users
from authsvc.storage.runner import Runner


class SqlPersonStore:
    """Implements ports.PersonStore."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def get_user(self, user_id: str) -> User | None:
        """See ports.PersonStore.get_user."""
        return await self._runner.read(lambda view: listings.get_user(view, user_id))

    async def block_user(self, user_id: str, *, block: Block) -> Written[int | None]:
        """See ports.PersonStore.block_user."""
        return await self._runner.write(lambda tx: users.block_user(tx, user_id, block=block))

    async def unblock_user(self, user_id: str, *, by: str) -> bool:
        """See ports.PersonStore.unblock_user."""
        return (await self._runner.write(lambda tx: users.unblock_user(tx, user_id, by=by))).value

    async def set_roles(self, user_id: str, roles: Sequence[str], *, by: str) -> User | None:
        """See ports.PersonStore.set_roles."""
        return (await self._runner.write(lambda tx: users.set_roles(tx, user_id, roles, by=by))).value

    async def set_external_id(
        self, user_id: str, external_id: str | None, *, by: str
    ) -> User | ExternalIdHeld | None:
        """See ports.PersonStore.set_external_id."""
        written = await self._runner.write(
            lambda tx: users.set_external_id(tx, user_id, external_id or None, by=by)
        )
        return written.value

    async def merge_users(
        self, survivor_id: str, moved_id: str, *, by: str, reason: str
    ) -> Written[Merged | MergeRefused | None]:
        """See ports.PersonStore.merge_users."""
        return await self._runner.write(
            lambda tx: merges.merge_users(tx, survivor_id, moved_id, by=by, reason=reason)
        )

    async def split_user(
        self, moved_id: str, *, survivor_id: str = "", by: str, reason: str
    ) -> Written[Split | MergeRefused | None]:
        """See ports.PersonStore.split_user."""
        return await self._runner.write(
            lambda tx: splits.split_user(tx, moved_id, survivor_id=survivor_id, by=by, reason=reason)
        )

    async def list_held_merges(
        self, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[HeldMerge]:
        """See ports.PersonStore.list_held_merges."""
        return await self._runner.read(lambda view: pairs.list_held_merges(view, limit=limit, after=after))
