"""Page tokens: opaque, authenticated places in a list, good only for the filters they were made with."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from authsvc.domain.ids import ID_BYTES, decode_base64url, decode_id, encode_base64url, encode_id
from authsvc.domain.keyring import KEY_ID_BYTES, KeyRing

_VERSION = b"\x01"
_MAC_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH = 1 + KEY_ID_BYTES + 8 + ID_BYTES + _MAC_BYTES


def seal_page_token(after: tuple[datetime, str], *, filters: tuple[str, ...], ring: KeyRing) -> str:
    """Return the token for what comes after (*created_at*, *session_id*) in a list with these *filters*."""
    created_at, session_id = after
    raw_id = decode_id(session_id)
    if raw_id is None:
        raise ValueError("not an id of ours")
    micros = (created_at - _EPOCH) // timedelta(microseconds=1)
    body = _VERSION + ring.current_id + micros.to_bytes(8, "big") + raw_id
    return encode_base64url(body + _mac(ring.current, body, filters))


def open_page_token(text: str, *, filters: tuple[str, ...], ring: KeyRing) -> tuple[datetime, str] | None:
    """Return the place, or None if the token is not ours or belongs to other filters."""
    raw = decode_base64url(text)
    if raw is None or len(raw) != _LENGTH or raw[:1] != _VERSION:
        return None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    key = ring.keys.get(body[1 : 1 + KEY_ID_BYTES])
    if key is None or not hmac.compare_digest(mac, _mac(key, body, filters)):
        return None
    at = 1 + KEY_ID_BYTES
    micros = int.from_bytes(body[at : at + 8], "big")
    return _EPOCH + timedelta(microseconds=micros), encode_id(body[at + 8 :])


def _mac(key: bytes, body: bytes, filters: tuple[str, ...]) -> bytes:
    # Each filter with its length: joined by a separator, two lists of filters could be one text.
    parts = [part.encode() for part in ("page", *filters)]
    context = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key, body + context, hashlib.sha256)[:_MAC_BYTES]
