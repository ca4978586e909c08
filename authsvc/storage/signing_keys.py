"""Public parts and states of signing keys: prepared, active, retired, withdrawn (for ever)."""

from collections.abc import Sequence

from sqlalchemy import insert, select, update

from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.ports import SigningKeyRecord
from authsvc.storage.schema import signing_keys
from authsvc.storage.tx import Tx, View


def list_signing_keys(view: View) -> Sequence[SigningKeyRecord]:
    """See ports.KeyStore.list_signing_keys."""
    rows = view.connection.execute(
        select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.kid)
    )
    return [
        SigningKeyRecord(
            kid=row.kid, alg=row.alg, public_jwk=row.public_jwk, state=row.state, created_at=row.created_at
        )
        for row in rows
    ]


def add_signing_key(tx: Tx, record: SigningKeyRecord) -> None:
    """See ports.KeyStore.add_signing_key."""
    known = select(signing_keys.c.kid).where(signing_keys.c.kid == record.kid)
    if tx.connection.execute(known).one_or_none() is None:
        tx.connection.execute(
            insert(signing_keys).values(
                kid=record.kid,
                alg=record.alg,
                public_jwk=record.public_jwk,
                state=record.state,
                created_at=record.created_at,
            )
        )


def activate_first_key(tx: Tx) -> None:
    """See ports.KeyStore.activate_first_key."""
    # All rows are held, so that two replicas never activate two keys.
    rows = tx.connection.execute(
        select(signing_keys.c.kid, signing_keys.c.state)
        .order_by(signing_keys.c.created_at, signing_keys.c.kid)
        .with_for_update()
    ).all()
    prepared = [row.kid for row in rows if row.state == "prepared"]
    if prepared and all(row.state != "active" for row in rows):
        _set_state(tx, prepared[0], state="active")


def write_key_withdrawal(tx: Tx, kid: str, *, by: str) -> bool:
    """See ports.RevocationLog.write_key_withdrawal; a second withdrawal changes nothing and is True as well."""
    state = tx.connection.execute(
        select(signing_keys.c.state).where(signing_keys.c.kid == kid).with_for_update()
    ).scalar_one_or_none()
    if state is None:
        return False
    if state != "withdrawn":
        tx.connection.execute(
            update(signing_keys)
            .where(signing_keys.c.kid == kid)
            .values(state="withdrawn", withdrawn_at=tx.now, withdrawn_by=by)
        )
        tx.write_fact(FactKind.KEY, kid, reason=EndReason.ADMIN, useful_until=None)
    return True


def _set_state(tx: Tx, kid: str, *, state: str) -> None:
    tx.connection.execute(update(signing_keys).where(signing_keys.c.kid == kid).values(state=state))
