"""
Places in the revocation log.

A *position* is an unsigned 64-bit counter, assigned in commit order. A *cursor* is a position together with the
log's random incarnation: positions compare as numbers across incarnations (a new one starts 2**32 above the old),
but a cursor of another incarnation is no proof of having seen what came before. Callers hold cursors as opaque,
authenticated bytes.
"""

import hashlib
import hmac
from dataclasses import dataclass

from authsvc.domain.keyring import KEY_ID_BYTES, KeyRing

INCARNATION_BYTES = 8
INCARNATION_STEP = 2**32
_VERSION = b"\x01"
_MAC_BYTES = 16
_LENGTH = 1 + KEY_ID_BYTES + INCARNATION_BYTES + 8 + _MAC_BYTES


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in one incarnation of the log: everything at or below `position` is known."""

    incarnation: bytes
    position: int


def position_bytes(position: int) -> bytes:
    """Return the wire form of a position: 8 bytes, big-endian (CONTRACT.md, Cursor)."""
    return position.to_bytes(8, "big")


def position_claim(position: int) -> str:
    """Return the form of the claim `sp`: 16 lowercase hex digits (CONTRACT.md, Cursor)."""
    return f"{position:016x}"


def seal_cursor(cursor: Cursor, *, ring: KeyRing) -> bytes:
    """Return the opaque bytes callers keep: version, key id, incarnation, position, truncated HMAC-SHA256."""
    body = _VERSION + ring.current_id + cursor.incarnation + position_bytes(cursor.position)
    return body + _mac(ring.current, body)


def open_cursor(sealed: bytes, *, ring: KeyRing) -> Cursor | None:
    """Return the cursor, or None if these bytes were not made by a holder of the ring."""
    if len(sealed) != _LENGTH or sealed[:1] != _VERSION:
        return None
    body, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
    key = ring.keys.get(body[1 : 1 + KEY_ID_BYTES])
    if key is None or not hmac.compare_digest(mac, _mac(key, body)):
        return None
    start = 1 + KEY_ID_BYTES
    return Cursor(
        incarnation=body[start : start + INCARNATION_BYTES],
        position=int.from_bytes(body[start + INCARNATION_BYTES :], "big"),
    )


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES]
