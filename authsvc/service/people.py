"""
The person behind the sessions, for back ends and operators: who it is, and what is decided about them.

A user id that was merged away means the user it was merged into. Every change is in the audit trail of the record, by
the transaction that made it; the events told here are for logs and metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import ExternalIdTaken, InvalidField, MergeImpossible, NotFound
from authsvc.domain.seal_contexts import phone_context
from authsvc.domain.users import Block, User
from authsvc.ports import (
    AuditEntry,
    ByExternalId,
    ByIdentity,
    ByPhone,
    ByUnionid,
    Clock,
    Event,
    ExternalIdHeld,
    HeldMerge,
    Merged,
    MergeRefused,
    Observer,
    Person,
    Sealer,
    Split,
    Store,
    Written,
)
from authsvc.service.tail import LogTail
from authsvc.service.waiting import Unbroken


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person, and their bound number where it was asked for and can be opened."""

    person: Person
    phone_number: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision did: the user as it is now, how many sessions ended, and a cursor at or above their facts."""

    user: User | None
    ended_sessions: int
    head: Cursor


class People:
    """The use cases of UserService that read and decide."""

    def __init__(
        self,
        *,
        store: Store,
        tail: LogTail,
        sealer: Sealer,
        index: BlindIndex,
        clock: Clock,
        observer: Observer,
        unbroken: Unbroken,
    ) -> None:
        self._store = store
        self._tail = tail
        self._sealer = sealer
        self._index = index
        self._clock = clock
        self._observer = observer
        self._unbroken = unbroken

    async def get(self, user_id: str, *, with_phone: bool = False) -> KnownPerson:
        """
        Return the person. That a phone number was looked up is in the audit trail before it is told.

        Raises:
            NotFound: there is no such user, or they were erased.
            StoreUnavailable: the record does not answer.

        """
        known = await self.known(user_id, with_phone=with_phone)
        if with_phone:
            entry = AuditEntry(
                "user.looked_up",
                user_id=known.person.user.user_id,
                details={"phone_number": known.phone_number is not None},
            )
            await self._unbroken.run(self._store.record_audit([entry]))
        return known

    async def known(self, user_id: str, *, with_phone: bool) -> KnownPerson:
        """
        Return the person to somebody who tells the audit trail. Of several bound numbers the last one is told.

        Raises:
            NotFound, StoreUnavailable: see `get`.

        """
        person = await self._store.get_person(user_id)
        if person is None:
            raise NotFound("user")
        return KnownPerson(person, self._phone(person) if with_phone else None)

    async def find(self, key: ByIdentity | ByUnionid | ByExternalId) -> Sequence[KnownPerson]:
        """
        Return the one person who has it, as a list.

        Raises:
            NotFound: nobody has.
            StoreUnavailable: the record does not answer.

        """
        return await self._all(await self._store.find_users(key))

    async def find_by_phone(self, number: str) -> Sequence[KnownPerson]:
        """
        Return those who bound this number, newest user first, at most 100; the audit trail says who was found.

        Raises:
            NotFound: nobody did.
            StoreUnavailable: the record does not answer.

        """
        found = await self._store.find_users(ByPhone(self._index.phone_everywhere(number)))
        entries = [AuditEntry("user.found_by_phone", user_id=user_id) for user_id in found or ("",)]
        await self._unbroken.run(self._store.record_audit(entries))
        return await self._all(found)

    async def block(self, user_id: str, *, reason: str, until: datetime | None, by: str) -> Decided:
        """
        Block the user and end every session of theirs, durably. A new block takes the place of the old one.

        Raises:
            InvalidField: *until* is over already.
            NotFound: there is no such user.
            StoreUnavailable: nothing is promised; call again.

        """
        now = self._clock.now()
        if until is not None and until <= now:
            raise InvalidField("blocked_until", "must be in the future")
        block = Block(reason=reason, by=by, at=now, until=until)
        written = await self._unbroken.run(self._block(user_id, block))
        if written.value is None:
            raise NotFound("user")
        self._tell("user.blocked", user_id, by=by, ended_sessions=written.value)
        return Decided(None, written.value, written.head)

    async def unblock(self, user_id: str, *, by: str) -> None:
        """
        Lift the block, if there is one; sessions stay ended.

        Raises:
            NotFound: there is no such user.
            StoreUnavailable: nothing is promised; call again.

        """
        if not await self._unbroken.run(self._store.unblock_user(user_id, by=by)):
            raise NotFound("user")
        self._tell("user.unblocked", user_id, by=by)

    async def set_roles(self, user_id: str, roles: Sequence[str], *, by: str) -> KnownPerson:
        """
        Set all the roles; tokens carry them from the next refresh or login on.

        Raises:
            NotFound: there is no such user.
            StoreUnavailable: nothing is promised; call again.

        """
        if await self._unbroken.run(self._store.set_roles(user_id, roles, by=by)) is None:
            raise NotFound("user")
        self._tell("user.roles_set", user_id, by=by)
        return await self.get(user_id)

    async def set_external_id(self, user_id: str, external_id: str, *, by: str) -> KnownPerson:
        """
        Set the id that another system gave the user, or clear it if it is empty.

        Raises:
            NotFound: there is no such user.
            ExternalIdTaken: another user has it.
            StoreUnavailable: nothing is promised; call again.

        """
        outcome = await self._unbroken.run(self._store.set_external_id(user_id, external_id or None, by=by))
        if outcome is None:
            raise NotFound("user")
        if isinstance(outcome, ExternalIdHeld):
            raise ExternalIdTaken
        self._tell("user.external_id_set", user_id, by=by)
        return await self.get(user_id)

    async def merge(
        self, survivor_id: str, moved_id: str, *, reason: str, by: str
    ) -> tuple[KnownPerson, Decided]:
        """
        Make two users one, durably; the moved user's sessions end as MERGED. What is merged already is success.

        Raises:
            NotFound: there is no such user.
            MergeImpossible: both ids are one user and none of them is an alias.
            StoreUnavailable: nothing is promised; call again.

        """
        merging = self._merge(survivor_id, moved_id, reason=reason, by=by)
        written = await self._unbroken.run(merging)
        merged = written.value
        if merged is None:
            raise NotFound("user")
        if isinstance(merged, MergeRefused):
            raise MergeImpossible(merged.problem.value)
        self._tell(
            "user.merged",
            merged.user.user_id,
            by=by,
            moved_id=merged.moved_id,
            ended_sessions=merged.ended_sessions,
        )
        return await self.get(merged.user.user_id), Decided(merged.user, merged.ended_sessions, written.head)

    async def split(
        self, moved_id: str, *, survivor_id: str, reason: str, by: str
    ) -> tuple[KnownPerson, Decided]:
        """
        Undo a merge, or settle that a pending pair is two persons; they are never merged by themselves again.

        Raises:
            NotFound: there is no such user.
            MergeImpossible: there is no such merge (any more), or it has to be undone after another.
            StoreUnavailable: nothing is promised; call again.

        """
        splitting = self._split(moved_id, survivor_id=survivor_id, reason=reason, by=by)
        written = await self._unbroken.run(splitting)
        split = written.value
        if split is None:
            raise NotFound("user")
        if isinstance(split, MergeRefused):
            raise MergeImpossible(split.problem.value)
        self._tell(
            "user.split",
            split.user.user_id,
            by=by,
            survivor_id=split.survivor.user_id,
            ended_sessions=split.ended_sessions,
        )
        return await self.get(split.user.user_id), Decided(split.user, split.ended_sessions, written.head)

    async def pending_merges(self, *, limit: int, after: tuple[datetime, str] | None) -> Sequence[HeldMerge]:
        """
        Return pairs that wait for an operator, oldest first.

        Raises:
            StoreUnavailable: the record does not answer.

        """
        return await self._store.list_held_merges(limit=limit, after=after)

    async def _block(self, user_id: str, block: Block) -> Written[int | None]:
        written = await self._store.block_user(user_id, block=block)
        self._tail.apply_own(written)
        return written

    async def _merge(
        self, survivor_id: str, moved_id: str, *, reason: str, by: str
    ) -> Written[Merged | MergeRefused | None]:
        written = await self._store.merge_users(survivor_id, moved_id, by=by, reason=reason)
        self._tail.apply_own(written)
        return written

    async def _split(
        self, moved_id: str, *, survivor_id: str, reason: str, by: str
    ) -> Written[Split | MergeRefused | None]:
        written = await self._store.split_user(moved_id, survivor_id=survivor_id, by=by, reason=reason)
        self._tail.apply_own(written)
        return written

    async def _all(self, user_ids: Sequence[str]) -> Sequence[KnownPerson]:
        people = [await self._store.get_person(user_id) for user_id in user_ids]
        found = [KnownPerson(person) for person in people if person is not None]
        if not found:
            raise NotFound("user")
        return found

    def _phone(self, person: Person) -> str | None:
        bound = [each for each in person.identities if each.sealed_phone and each.phone_bound_at]
        bound.sort(key=lambda each: each.phone_bound_at or each.created_at, reverse=True)
        for each in bound:
            context = phone_context(each.app_id, each.openid)
            number = self._sealer.open(each.sealed_phone or b"", context=context)
            if number is not None:
                return number.decode()
        return None

    def _tell(self, name: str, user_id: str, *, by: str, **fields: str | int) -> None:
        self._observer.event(Event(name, fields={"user_id": user_id, "by": by, **fields}))
