"""
The refresh token: `wxr1.` + base64url(version 1 | key id 4 | session id 16 | counter 4 | nonce 16 | HMAC-SHA256 32).

Its MAC is checked before any I/O, so a forged token never reaches the database; the nonce belongs to the session's
whole line and the database holds only its SHA-256, so a leaked MAC key alone forges nothing. A token is a pure
function of its parts: the successor that a second caller must receive again is simply made again.
"""

import hashlib
import hmac
from dataclasses import dataclass, field, replace

from authsvc.domain.ids import ID_BYTES, decode_base64url, encode_base64url, encode_id
from authsvc.domain.keyring import KEY_ID_BYTES, KeyRing

PREFIX = "wxr1."
NONCE_BYTES = 16
MAX_COUNTER = 2**32 - 1
_VERSION = b"\x01"
_MAC_BYTES = 32
_BODY_BYTES = 1 + KEY_ID_BYTES + ID_BYTES + 4 + NONCE_BYTES
_TEXT_LENGTH = len(PREFIX) + -(-(_BODY_BYTES + _MAC_BYTES) * 4 // 3)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token whose MAC holds. `nonce` is secret and stays out of `repr`."""

    session_id: str
    counter: int
    key_id: bytes
    nonce: bytes = field(repr=False)
    raw_session_id: bytes = field(repr=False)

    @property
    def nonce_hash(self) -> bytes:
        """SHA-256 of the session's nonce: what the database compares."""
        return hash_nonce(self.nonce)

    def successor(self, *, counter: int, key_id: bytes) -> "RefreshToken":
        """Return the token of the same line at *counter*, to be made with the key *key_id*."""
        return replace(self, counter=counter, key_id=key_id)


def first_token(raw_session_id: bytes, *, nonce: bytes, key_id: bytes) -> RefreshToken:
    """Return the first token of a new session: counter 0."""
    return RefreshToken(
        session_id=encode_id(raw_session_id),
        counter=0,
        key_id=key_id,
        nonce=nonce,
        raw_session_id=raw_session_id,
    )


def hash_nonce(nonce: bytes) -> bytes:
    """Return what is stored of a nonce."""
    return hashlib.sha256(nonce).digest()


def spell(token: RefreshToken, *, ring: KeyRing) -> str:
    """
    Return the text that the client keeps.

    Raises:
        KeyError: the ring no longer holds the token's key.

    """
    body = _VERSION + token.key_id + token.raw_session_id + token.counter.to_bytes(4, "big") + token.nonce
    return PREFIX + encode_base64url(body + hmac.digest(ring.keys[token.key_id], body, hashlib.sha256))


def parse(text: str, *, ring: KeyRing) -> RefreshToken | None:
    """Return the token, or None unless *text* is the one spelling of a token made by a holder of the ring."""
    if len(text) != _TEXT_LENGTH or not text.startswith(PREFIX):
        return None
    raw = decode_base64url(text[len(PREFIX) :])
    if raw is None or raw[:1] != _VERSION:
        return None
    body, mac = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    key_id = body[1 : 1 + KEY_ID_BYTES]
    key = ring.keys.get(key_id)
    if key is None or not hmac.compare_digest(mac, hmac.digest(key, body, hashlib.sha256)):
        return None
    at = 1 + KEY_ID_BYTES
    raw_session_id = body[at : at + ID_BYTES]
    return RefreshToken(
        session_id=encode_id(raw_session_id),
        counter=int.from_bytes(body[at + ID_BYTES : at + ID_BYTES + 4], "big"),
        key_id=key_id,
        nonce=body[at + ID_BYTES + 4 :],
        raw_session_id=raw_session_id,
    )
