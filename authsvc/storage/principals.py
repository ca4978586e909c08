"""Principals and service keys in the record; every change has its PRINCIPAL fact."""

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from authsvc.domain.principals import Declared, Role
from authsvc.domain.revocations import FactKind
from authsvc.domain.service_keys import KeyRecord
from authsvc.domain.sessions import EndReason
from authsvc.ports import CallerRecords, Written
from authsvc.storage import audit
from authsvc.storage.runner import Runner
from authsvc.storage.schema import principals, service_keys
from authsvc.storage.tx import Tx, View

# The fact only says "read again". Who was away for longer than this loads everything anew, as it does after a start.
_FACT_USEFUL = timedelta(days=1)
_ROLES = {role.value: role for role in Role}


class SqlCallerStore:
    """Implements ports.CallerStore."""

    _runner: Runner

    async def read_callers(self) -> CallerRecords:
        """See ports.CallerStore.read_callers."""
        return await self._runner.read(read_callers)

    async def add_service_key(
        self, key: KeyRecord, *, principal: Declared | None, by: str
    ) -> Written[Declared | None]:
        """See ports.CallerStore.add_service_key."""
        return await self._runner.write(lambda tx: add_service_key(tx, key, principal=principal, by=by))

    async def revoke_service_key(self, key_id: str, *, by: str) -> Written[bool]:
        """See ports.CallerStore.revoke_service_key."""
        return await self._runner.write(lambda tx: revoke_service_key(tx, key_id, by=by))

    async def withdraw_principal(self, name: str, *, by: str) -> Written[int | None]:
        """See ports.CallerStore.withdraw_principal."""
        return await self._runner.write(lambda tx: withdraw_principal(tx, name, by=by))


def read_callers(view: View) -> CallerRecords:
    """See ports.CallerStore.read_callers."""
    standing = view.connection.execute(
        select(principals).where(principals.c.withdrawn_at.is_(None)).order_by(principals.c.name)
    )
    keys = view.connection.execute(
        select(service_keys).order_by(service_keys.c.created_at, service_keys.c.key_id)
    )
    return CallerRecords([_declared(row) for row in standing], [_key(row) for row in keys])


def add_service_key(tx: Tx, key: KeyRecord, *, principal: Declared | None, by: str) -> Declared | None:
    """See ports.CallerStore.add_service_key."""
    name = key.principal
    # Its row is held where there is one, so that of a withdrawal and a new key one comes after the other.
    held = tx.connection.execute(
        select(principals).where(principals.c.name == name).with_for_update()
    ).one_or_none()
    standing = None if held is None or held.withdrawn_at is not None else _declared(held)
    if standing is None and principal is not None:
        said = {
            "roles": _array(principal.roles),
            "audiences": _array(principal.audiences),
            "apps": _array(principal.apps),
            "created_at": tx.now,
            "created_by": by,
            "withdrawn_at": None,
            "withdrawn_by": "",
        }
        if held is None:
            tx.connection.execute(insert(principals).values(name=name, **said))
        else:
            tx.connection.execute(update(principals).where(principals.c.name == name).values(**said))
        standing = principal
        audit.record(
            tx,
            "principal.created",
            user_id="",
            by=by,
            principal=name,
            roles=sorted(principal.roles),
            audiences=sorted(principal.audiences),
            apps=sorted(principal.apps),
        )
    tx.connection.execute(
        insert(service_keys).values(
            key_id=key.key_id,
            principal=name,
            secret_hash=key.secret_hash,
            created_at=tx.now,
            created_by=by,
            expires_at=key.expires_at,
        )
    )
    audit.record(tx, "service_key.created", user_id="", by=by, principal=name, key_id=key.key_id)
    _tell(tx, name)
    return standing


def revoke_service_key(tx: Tx, key_id: str, *, by: str) -> bool:
    """See ports.CallerStore.revoke_service_key."""
    row = tx.connection.execute(
        select(service_keys).where(service_keys.c.key_id == key_id).with_for_update()
    ).one_or_none()
    if row is None:
        return False
    if row.revoked_at is None:
        _revoke(tx, row, by=by)
        _tell(tx, row.principal)
    return True


def withdraw_principal(tx: Tx, name: str, *, by: str) -> int | None:
    """See ports.CallerStore.withdraw_principal."""
    held = tx.connection.execute(
        select(principals)
        .where(principals.c.name == name, principals.c.withdrawn_at.is_(None))
        .with_for_update()
    ).one_or_none()
    keys = tx.connection.execute(
        select(service_keys)
        .where(service_keys.c.principal == name, service_keys.c.revoked_at.is_(None))
        .order_by(service_keys.c.key_id)
        .with_for_update()
    ).all()
    if held is None and not keys:
        return None
    for row in keys:
        _revoke(tx, row, by=by)
    if held is not None:
        tx.connection.execute(
            update(principals).where(principals.c.name == name).values(withdrawn_at=tx.now, withdrawn_by=by)
        )
        audit.record(tx, "principal.withdrawn", user_id="", by=by, principal=name)
    _tell(tx, name)
    return len(keys)


def _revoke(tx: Tx, row: Row[Any], *, by: str) -> None:
    tx.connection.execute(
        update(service_keys)
        .where(service_keys.c.key_id == row.key_id)
        .values(revoked_at=tx.now, revoked_by=by)
    )
    audit.record(tx, "service_key.revoked", user_id="", by=by, principal=row.principal, key_id=row.key_id)


def _tell(tx: Tx, name: str) -> None:
    tx.write_fact(FactKind.PRINCIPAL, name, reason=EndReason.ADMIN, useful_until=tx.now + _FACT_USEFUL)


def _array(values: Collection[str]) -> str:
    return json.dumps(sorted(values))


def _declared(row: Row[Any]) -> Declared:
    # A role of a later release is one that this release does not grant.
    roles = frozenset(_ROLES[name] for name in json.loads(row.roles) if name in _ROLES)
    return Declared(
        name=row.name,
        roles=roles,
        audiences=frozenset(json.loads(row.audiences)),
        apps=frozenset(json.loads(row.apps)),
    )


def _key(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        key_id=row.key_id,
        principal=row.principal,
        secret_hash=bytes(row.secret_hash),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )
