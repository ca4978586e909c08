"""
WeChat's user data, as far as no cipher is needed: the envelope, the padding, the watermark, the signature.

Rules and vectors: facts page 4. The cipher itself is the WeChat adapter's (`ports.DecryptUserData`).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Never

from authsvc.domain.errors import UserDataInvalid

BLOCK_BYTES: Final = 16
# The official sample has 536 characters, a month of steps some 2,500: this bounds the work, not the use.
_LONGEST: Final = 256 * 1024
# How far WeChat's clock may be ahead of ours before a watermark is from the future.
_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whole blocks and an iv of one block: what a cipher can be started with."""

    ciphertext: bytes = field(repr=False)
    iv: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserData:
    """
    Opened user data: `text` is the JSON exactly as WeChat wrote it, `fields` the same parsed.

    CBC protects nothing against changes: a client can alter the first 16 bytes through the iv. Nothing may be linked
    or granted on the strength of it (DESIGN section 3).
    """

    text: str = field(repr=False)
    fields: Mapping[str, object] = field(repr=False)
    app_id: str
    stamped_at: datetime

    def judge(
        self, *, app_id: str, now: datetime, freshness: timedelta | None = None, openid: str | None = None
    ) -> None:
        """
        Return if the data is of this app, of this age and of this user.

        Raises:
            UserDataInvalid: it is not. The text says no more.

        """
        ours = hmac.compare_digest(self.app_id.encode(), app_id.encode())
        fresh = freshness is None or -_AHEAD <= now - self.stamped_at <= freshness
        owner = self.fields.get("openId")
        same = openid is None or owner is None or owner == openid
        if not (ours and fresh and same):
            raise UserDataInvalid("opened, and not ours")


def parse_envelope(*, encrypted_data: str, iv: str) -> Envelope:
    """
    Return the decoded parts. Nothing is repaired: a `+` that became a space is damage (facts page 5.3).

    Raises:
        UserDataInvalid: not strict base64, an iv that is not one block, data that is empty, too large or not whole
            blocks. One text for all.

    """
    ciphertext, start = _decode(encrypted_data), _decode(iv)
    if ciphertext is None or start is None or not ciphertext:
        raise UserDataInvalid("not an envelope")
    if len(ciphertext) % BLOCK_BYTES or len(start) != BLOCK_BYTES:
        raise UserDataInvalid("not an envelope")
    return Envelope(ciphertext, start)


def decode_session_key(session_key: str) -> bytes | None:
    """Return the AES key in it, None if it holds none (facts page 4.1: 24 characters, 16 bytes)."""
    key = _decode(session_key)
    return key if key is not None and len(key) == BLOCK_BYTES else None


def read_plaintext(padded: bytes) -> UserData | None:
    """
    Return what decrypted whole blocks say, None if they are not user data, for whatever reason.

    The padding is PKCS#7, every byte of it, looked at in constant time.
    """
    plain = _unpad(padded)
    if plain is None:
        return None
    try:
        text = plain.decode("utf-8")
        fields = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    watermark = fields.get("watermark") if isinstance(fields, dict) else None
    if not isinstance(watermark, dict):
        return None
    app_id, stamp = watermark.get("appid"), watermark.get("timestamp")
    if not isinstance(app_id, str) or not isinstance(stamp, int) or isinstance(stamp, bool):
        return None
    try:
        app_id.encode()
        stamped_at = datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return UserData(text=text, fields=fields, app_id=app_id, stamped_at=stamped_at)


def check_signature(*, raw_data: str, signature: str, session_key: str) -> bool:
    """
    Tell whether *signature* is the lowercase hex SHA-1 of *raw_data* and the session_key's text (facts page 4.1).

    *raw_data* is taken exactly as given: the same JSON written anew has another signature.
    """
    try:
        signed = (raw_data + session_key).encode()
        given = signature.encode()
    except UnicodeEncodeError:
        return False
    expected = hashlib.sha1(signed, usedforsecurity=False).hexdigest().encode()
    return hmac.compare_digest(expected, given)


def _decode(text: str) -> bytes | None:
    if len(text) > _LONGEST:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # The decoder lets stray bits after the last byte pass; one content has one spelling here.
    return raw if base64.b64encode(raw).decode() == text else None


def _unpad(padded: bytes) -> bytes | None:
    if not padded or len(padded) % BLOCK_BYTES:
        return None
    count = padded[-1]
    wrong = int(count < 1) | int(count > BLOCK_BYTES)
    for place, value in enumerate(reversed(padded[-BLOCK_BYTES:])):
        wrong |= int(place < count) & int(value != count)
    return None if wrong else padded[:-count]


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
