"""Public parts and lives of signing keys: what domain.signing_keys decides, held and written row by row."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from authsvc.domain import signing_keys as lives
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.signing_keys import KeyLife, KeyState, NotActivated
from authsvc.ports import SigningKeyRecord
from authsvc.storage import audit
from authsvc.storage.schema import signing_keys
from authsvc.storage.tx import Tx, View

_LIFE = ("published_at", "activate_at", "activated_at", "retired_at", "withdrawn_at")
_OLDEST_FIRST = select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.kid)
# Who acts where nobody asked.
_BY_SERVER, _BY_SCHEDULE = "server", "schedule"


def list_signing_keys(view: View) -> Sequence[SigningKeyRecord]:
    """See ports.KeyStore.list_signing_keys."""
    return [
        SigningKeyRecord(
            kid=row.kid,
            alg=row.alg,
            public_jwk=row.public_jwk,
            state=row.state,
            created_at=row.created_at,
            published_at=row.published_at,
            activate_at=row.activate_at,
            activated_at=row.activated_at,
            retired_at=row.retired_at,
            withdrawn_at=row.withdrawn_at,
        )
        for row in view.connection.execute(_OLDEST_FIRST)
    ]


def add_signing_key(tx: Tx, record: SigningKeyRecord) -> None:
    """See ports.KeyStore.add_signing_key."""
    known = tx.connection.execute(
        select(signing_keys.c.published_at).where(signing_keys.c.kid == record.kid)
    ).one_or_none()
    if known is None:
        tx.connection.execute(
            insert(signing_keys).values(
                kid=record.kid,
                alg=record.alg,
                public_jwk=record.public_jwk,
                state=record.state,
                created_at=record.created_at,
                published_at=tx.now,
            )
        )
        audit.record(tx, "key.added", user_id="", by=_BY_SERVER, kid=record.kid, alg=record.alg)
    elif known.published_at is None:
        # Added by a release that did not note it.
        tx.connection.execute(
            update(signing_keys)
            .where(signing_keys.c.kid == record.kid, signing_keys.c.published_at.is_(None))
            .values(published_at=tx.now)
        )


def activate_first_key(tx: Tx) -> None:
    """See ports.KeyStore.activate_first_key."""
    keys = _held(tx)
    _write(tx, keys, lives.activate_first(keys, now=tx.now), by=_BY_SERVER)


def activate_key(tx: Tx, kid: str, *, published_for: timedelta, by: str) -> Sequence[str] | NotActivated:
    """See ports.KeyStore.activate_key."""
    keys = _held(tx)
    changed = lives.activate(keys, kid, now=tx.now, published_for=published_for)
    if isinstance(changed, NotActivated):
        return changed
    return _write(tx, keys, changed, by=by)


def schedule_key(tx: Tx, kid: str, *, at: datetime | None, by: str) -> bool:
    """See ports.KeyStore.schedule_key."""
    done = tx.connection.execute(
        update(signing_keys)
        .where(signing_keys.c.kid == kid, signing_keys.c.state == KeyState.PREPARED.value)
        .values(activate_at=at)
    )
    if done.rowcount:
        when = "" if at is None else at.isoformat()
        audit.record(tx, "key.scheduled", user_id="", by=by, kid=kid, activate_at=when)
    return bool(done.rowcount)


def rotate_key_if_due(
    tx: Tx, *, every: timedelta | None, published_for: timedelta, held: Collection[str]
) -> Sequence[str]:
    """See ports.KeyStore.rotate_key_if_due."""
    keys = _held(tx)
    changed = lives.rotate_if_due(keys, now=tx.now, every=every, published_for=published_for, held=held)
    return _write(tx, keys, changed, by=_BY_SCHEDULE)


def write_key_withdrawal(tx: Tx, kid: str, *, by: str) -> bool:
    """See ports.RevocationLog.write_key_withdrawal; a second withdrawal changes nothing and is True as well."""
    keys = _held(tx)
    changed = lives.withdraw(keys, kid, now=tx.now)
    if changed is None:
        return False
    _write(tx, keys, changed, by=by)
    if changed:
        tx.write_fact(FactKind.KEY, kid, reason=EndReason.ADMIN, useful_until=None)
    return True


def _held(tx: Tx) -> list[KeyLife]:
    """
    Return the lives of all keys, whose rows nobody else changes until we commit, so that no two become active.

    A state that only another release knows is left out: nothing is done with such a key.
    """
    known = [state.value for state in KeyState]
    rows = tx.connection.execute(_OLDEST_FIRST.with_for_update())
    return [
        KeyLife(
            kid=row.kid,
            state=KeyState(row.state),
            created_at=row.created_at,
            **{name: getattr(row, name) for name in _LIFE},
        )
        for row in rows
        if row.state in known
    ]


def _write(tx: Tx, before: Sequence[KeyLife], changed: Sequence[KeyLife], *, by: str) -> list[str]:
    """Write each key's next state over the one it had; return the ids, the key that is active now first."""
    states = {key.kid: key.state for key in before}
    for key in changed:
        values: dict[str, object] = {name: getattr(key, name) for name in _LIFE}
        if key.state is KeyState.WITHDRAWN:
            values["withdrawn_by"] = by
        tx.connection.execute(
            update(signing_keys)
            .where(signing_keys.c.kid == key.kid, signing_keys.c.state == states[key.kid].value)
            .values(state=key.state.value, **values)
        )
        event = "key.activated" if key.state is KeyState.ACTIVE else f"key.{key.state.value}"
        audit.record(tx, event, user_id="", by=by, kid=key.kid)
    return [key.kid for key in sorted(changed, key=lambda key: key.state is not KeyState.ACTIVE)]
