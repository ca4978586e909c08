"""A person's data as a whole: brought in from another system, handed out, and erased."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from authsvc.domain.apps import AppRegistry
from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.errors import InvalidField, LoginCodeSpent, NotFound, StoreUnavailable, UnknownApp
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.login_code import check_code, hash_code
from authsvc.domain.sessions import Session
from authsvc.ports import (
    AuditEntry,
    ByIdentity,
    Entropy,
    Event,
    ImportedUser,
    ImportOutcome,
    Observer,
    Person,
    Store,
    Written,
)
from authsvc.service.code_exchange import CodeExchange
from authsvc.service.people import Decided, KnownPerson, People
from authsvc.service.tail import LogTail
from authsvc.service.waiting import Unbroken

MAX_IMPORT = 1000
# An operator splits a user once, not over and over.
_LOOKS = 3


class PersonalData:
    """The use cases of UserService that move or remove a person's data."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        store: Store,
        people: People,
        codes: CodeExchange,
        index: BlindIndex,
        tail: LogTail,
        entropy: Entropy,
        observer: Observer,
        unbroken: Unbroken,
    ) -> None:
        self._apps = apps
        self._store = store
        self._people = people
        self._codes = codes
        self._index = index
        self._tail = tail
        self._entropy = entropy
        self._observer = observer
        self._unbroken = unbroken

    async def bring_in(self, records: Sequence[ImportedUser], *, by: str) -> Sequence[ImportOutcome]:
        """
        Make or complete users, at most 1,000, in one transaction; repeating it changes nothing.

        The records' platform groups are filled in here, from their apps (a disabled app may be prepared).

        Raises:
            InvalidField: too many records.
            UnknownApp: an app is not configured; nothing was done.
            StoreUnavailable: nothing is promised; call again.

        """
        if len(records) > MAX_IMPORT:
            raise InvalidField("users", f"must not exceed {MAX_IMPORT} records")
        apps = self._apps.apps
        if any(record.app_id not in apps for record in records):
            raise UnknownApp
        placed = [
            ImportedUser(
                app_id=record.app_id,
                platform_group=apps[record.app_id].platform_group,
                openid=record.openid,
                unionid=record.unionid,
                external_id=record.external_id,
            )
            for record in records
        ]
        fresh = [encode_id(self._entropy.token_bytes(ID_BYTES)) for _ in placed]
        importing = self._store.import_users(placed, fresh_user_ids=fresh, index=self._index, by=by)
        outcomes = await self._unbroken.run(importing)
        counts = {outcome.value: outcomes.count(outcome) for outcome in ImportOutcome}
        self._observer.event(Event("users.imported", fields={"by": by, **counts}))
        return outcomes

    async def hand_out(self, user_id: str, *, by: str) -> str:
        """
        Return everything that is held of a person as the text of a JSON object (docs/personal-data.md).

        The audit trail says so before anybody has it; this export tells what was there before.

        Raises:
            NotFound: there is no such user, or they were erased.
            StoreUnavailable: the record does not answer.

        """
        held = await self._store.export_user(user_id)
        if held is None:
            raise NotFound("user")
        person: Person = held["person"]
        known = await self._people.known(user_id, with_phone=True)
        entry = AuditEntry("user.exported", by, user_id=person.user.user_id)
        await self._unbroken.run(self._store.record_audit([entry]))
        self._observer.event(Event("user.exported", fields={"user_id": person.user.user_id, "by": by}))
        return json.dumps(_exported(held, known), ensure_ascii=False, indent=2)

    async def erase(self, user_id: str, *, by: str) -> Decided:
        """
        Erase a person, durably, blocked or not.

        Raises:
            NotFound: there is no such user, or they were erased before.
            StoreUnavailable: nothing is promised; call again.

        """
        return await self._unbroken.run(self._erase(user_id, by=by, even_blocked=True))

    async def erase_self(self, *, app_id: str, code: str, by: str) -> Decided:
        """
        Erase the person to whom a fresh login code belongs. Nobody is made who was not there.

        Raises:
            InvalidField, LoginCodeInvalid, UnknownApp, AppDisabled: refused before any I/O.
            LoginCodeUsed, LoginCodeSpent, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured,
                WeChatUnavailable: see `CodeExchange.once`.
            NotFound: the code belongs to nobody that is known here.
            UserBlocked: a blocked user stays as they are, or erasing would lift the block.
            StoreUnavailable: before the code was sent; LoginCodeSpent afterwards.

        """
        app = self._apps.get(app_id)
        check_code(code)

        async def exchange_and_erase() -> Decided:
            answer = await self._codes.once(app, code=code, code_hash=hash_code(code))
            try:
                return await self._erase_holder(ByIdentity(app.app_id, answer.openid), by=by)
            except StoreUnavailable as error:
                raise LoginCodeSpent("exchanged, and not erased") from error

        return await self._unbroken.run(exchange_and_erase())

    async def _erase_holder(self, identity: ByIdentity, *, by: str) -> Decided:
        """Erase whose the identity is. Where a split gives it to another user meanwhile, it is looked up again."""
        for _ in range(_LOOKS):
            found = await self._store.find_users(identity)
            if not found:
                break
            with suppress(NotFound):
                return await self._erase(found[0], by=by, even_blocked=False, identity=identity)
        raise NotFound("user")

    async def _erase(
        self, user_id: str, *, by: str, even_blocked: bool, identity: ByIdentity | None = None
    ) -> Decided:
        written: Written[int | None] = await self._store.erase_user(
            user_id, index=self._index, by=by, even_blocked=even_blocked, identity=identity
        )
        ended = self._tail.apply_own(written)
        if ended is None:
            raise NotFound("user")
        fields: dict[str, str | int] = {"user_id": user_id, "by": by, "ended_sessions": ended}
        self._observer.event(Event("user.erased", fields=fields))
        return Decided(None, ended, written.head)


def _exported(held: Mapping[str, Any], known: KnownPerson) -> dict[str, Any]:
    person, user = known.person, known.person.user
    sessions: Sequence[Session] = held["sessions"]
    block = user.block
    return {
        "format": 1,
        "user_id": user.user_id,
        "created_at": _text(user.created_at),
        "previous_user_ids": list(user.previous_ids),
        "external_id": user.external_id,
        "roles": list(user.roles),
        "block": block
        and {
            "reason": block.reason,
            "blocked_at": _text(block.at),
            "blocked_until": _text(block.until),
        },
        "phone_number": known.phone_number,
        "identities": [
            {
                "app_id": each.app_id,
                "openid": each.openid,
                "created_at": _text(each.created_at),
                "phone_bound_at": _text(each.phone_bound_at),
            }
            for each in person.identities
        ],
        "unionids": [{"platform_group": group, "unionid": unionid} for group, unionid in person.unionids],
        "sessions": [_session(each) for each in sessions],
        "merges": [{name: _text(value) for name, value in row.items()} for row in held["merges"]],
        "audit": [
            {
                "at": _text(row["at"]),
                "event": row["event"],
                "user_id": row["user_id"],
                "app_id": row["app_id"],
                "session_id": row["session_id"],
                "ip": row["ip"],
                "reason": row["reason"],
                "details": json.loads(row["details"]),
            }
            for row in held["audit"]
        ],
    }


def _session(session: Session) -> dict[str, Any]:
    ended = session.ended
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "app_id": session.app_id,
        "created_at": _text(session.created_at),
        "last_refreshed_at": _text(session.rotated_at),
        "expires_at": _text(session.refresh_expires_at),
        "ip": session.client.ip,
        "user_agent": session.client.user_agent,
        "device_id": session.client.device_id,
        "device_name": session.client.device_name,
        "ended_at": None if ended is None else _text(ended.at),
        "end_reason": None if ended is None else ended.reason.name,
    }


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
