"""Bound phone numbers: sealed, with the identity whose consent gave them, found by a blind index."""

from sqlalchemy import delete, insert, select

from authsvc.domain.blind_index import Digest
from authsvc.storage import audit
from authsvc.storage.schema import identities, phones
from authsvc.storage.tx import Tx


def bind_phone(tx: Tx, *, app_id: str, openid: str, sealed: bytes, index: Digest, by: str) -> bool:
    """See ports.PersonalDataStore.bind_phone."""
    # The identity's row is held, so that neither an erasure nor another binding comes in between.
    user_id = tx.connection.execute(
        select(identities.c.user_id)
        .where(identities.c.app_id == app_id, identities.c.openid == openid)
        .with_for_update()
    ).scalar_one_or_none()
    if user_id is None:
        return False
    tx.connection.execute(delete(phones).where(phones.c.app_id == app_id, phones.c.openid == openid))
    tx.connection.execute(
        insert(phones).values(
            app_id=app_id,
            openid=openid,
            sealed_number=sealed,
            index_key_id=index.key_id,
            blind_index=index.value,
            bound_at=tx.now,
        )
    )
    audit.record(tx, "user.phone_bound", user_id=user_id, by=by, app_id=app_id)
    return True
