"""One pass over everything that is sealed in the record, batch by batch, beside servers that go on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.domain.seal_contexts import phone_context, session_key_context
from authsvc.keys import MasterRing
from authsvc.ports import Entropy, PersonalDataStore, Resealed

_BATCH = 500
_TELL_EVERY = 20  # batches


@dataclass
class Outcome:
    """How many blobs are under the current key now that were not, and how many no key of the ring opens."""

    resealed: int = 0
    unopenable: int = 0


async def reseal_all(
    store: PersonalDataStore, master: MasterRing, *, entropy: Entropy, told: Callable[[int], None]
) -> Outcome:
    """
    Bring every session key and bound number under the ring's first key; *told* hears the number of rows now and then.

    Raises:
        StoreUnavailable: what was done stays done; run it again.

    """
    sealer, rings = master.sealer(entropy), master.rings()
    index, key_id = BlindIndex(rings.blind_index), rings.blind_index.current_id

    def session_key(blob: bytes, app_id: str, openid: str) -> bytes | None:
        context = session_key_context(app_id, openid)
        opened = sealer.open(blob, context=context)
        return None if opened is None else sealer.seal(opened, context=context)

    def phone(blob: bytes, app_id: str, openid: str) -> tuple[bytes, Digest] | None:
        context = phone_context(app_id, openid)
        opened = sealer.open(blob, context=context)
        if opened is None:
            return None
        return sealer.seal(opened, context=context), index.phone(opened.decode())

    outcome = Outcome()
    await _pass(
        lambda after: store.reseal_session_keys(session_key, key_id=key_id, after=after, limit=_BATCH),
        outcome,
        told,
    )
    await _pass(
        lambda after: store.reseal_phones(phone, key_id=key_id, after=after, limit=_BATCH), outcome, told
    )
    return outcome


async def _pass(
    batch: Callable[[tuple[str, str]], Awaitable[Resealed]], outcome: Outcome, told: Callable[[int], None]
) -> None:
    after: tuple[str, str] | None = ("", "")
    batches = 0
    while after is not None:
        done = await batch(after)
        outcome.resealed += done.resealed
        outcome.unopenable += done.unopenable
        after = done.after
        batches += 1
        if batches % _TELL_EVERY == 0:
            told(batches * _BATCH)
