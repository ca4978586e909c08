"""
Service keys: `wxk1.` + key id + `.` + secret, what a caller without a certificate proves itself with.

The secret is 256 random bits, so one round of SHA-256 is all the hashing it needs: there is nothing to guess that a
slower hash would protect. What is kept of it is that hash.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.domain.ids import decode_base64url, decode_id, encode_base64url

PREFIX = "wxk1."
SECRET_BYTES = 32
HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a service key."""

    key_id: str
    principal: str
    secret_hash: bytes = field(repr=False)
    created_at: datetime | None = None
    created_by: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""

    def is_good(self, *, now: datetime) -> bool:
        """Tell whether it still proves anything at *now*."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as somebody presents it: well formed, and nothing more is known of it."""

    key_id: str
    secret_hash: bytes = field(repr=False)

    def proves(self, record: KeyRecord) -> bool:
        """Tell whether it is the key of the record, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(self.secret_hash, record.secret_hash)


def make_key(key_id: str, secret: bytes) -> str:
    """Return the text of a key, which is shown once."""
    return f"{PREFIX}{key_id}.{encode_base64url(secret)}"


def hash_secret(secret: bytes) -> bytes:
    """Return what is kept of a key's secret."""
    return hashlib.sha256(secret).digest()


def parse_key(text: str) -> PresentedKey | None:
    """Return the key, or None for any text that is none; one spelling per key."""
    if not text.startswith(PREFIX):
        return None
    key_id, _, encoded = text[len(PREFIX) :].partition(".")
    secret = decode_base64url(encoded)
    if decode_id(key_id) is None or secret is None or len(secret) != SECRET_BYTES:
        return None
    return PresentedKey(key_id, hash_secret(secret))
