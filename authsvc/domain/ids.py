"""Our identifiers: 128 random bits, written as 22 characters of base64url (DESIGN section 4)."""

import base64
import binascii
import re

ID_BYTES = 16
# From our alphabet to the standard library's; whatever only that one has becomes a byte that it refuses.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")
# By the text's length modulo 4: what it may end with. No bytes have a spelling of one more than a multiple of 4.
_LAST = ("", "", "AQgw", "AEIMQUYcgkosw048")
_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")  # 22 characters hold 132 bits: the last four are zero


def encode_id(raw: bytes) -> str:
    """
    Return the 22-character spelling of 16 bytes.

    Raises:
        ValueError: *raw* is not 16 bytes long.

    """
    if len(raw) != ID_BYTES:
        raise ValueError("an id has 16 bytes")
    return encode_base64url(raw)


def decode_id(text: str) -> bytes | None:
    """Return the 16 bytes behind *text*, or None if it is not the one spelling of an id."""
    if _ID.fullmatch(text) is None:
        return None
    return base64.urlsafe_b64decode(text + "==")


def encode_base64url(raw: bytes) -> str:
    """Return unpadded base64url (RFC 4648 section 5, RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """Return the bytes, or None unless *text* is the one unpadded spelling of them (no stray bits, no padding)."""
    length = len(text) % 4
    # Several spellings of one token are a known trap: bits that belong to no byte must be zero.
    if length and text[-1] not in _LAST[length]:
        return None
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD)
        return binascii.a2b_base64(standard + _PADDING[length], strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
