"""
The cryptography of facts/wechat-api.md sections 3.7, 4.1 and 4.3, from WeChat's side: it encrypts and signs.

Written apart from the service's own, so that the one can be tested against the other.
"""

import base64
import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

BLOCK: Final = 16


def sign_login_state(session_key: str, message: bytes = b"") -> str:
    """
    The user-login-state signature: lowercase hex HMAC-SHA256 with the key's text, not what it decodes to.
    """
    return hmac.digest(session_key.encode(), message, "sha256").hex()


def sign_raw_data(raw_data: str, *, session_key: str) -> str:
    """
    The signature beside rawData: hex SHA-1 over the text exactly as sent and the key's text.
    """
    # WeChat's choice: a check of what travelled, not a secret of ours.
    return hashlib.sha1((raw_data + session_key).encode(), usedforsecurity=False).hexdigest()


def pad(plain: bytes) -> bytes:
    """
    PKCS#7 to whole blocks of 16 bytes.
    """
    missing = BLOCK - len(plain) % BLOCK
    return plain + bytes([missing]) * missing


def encrypt_blocks(padded: bytes, *, key: bytes, iv: bytes) -> bytes:
    """
    AES-128-CBC over whole blocks, padded by the caller: well or, on purpose, badly.
    """
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def encrypt(plain: bytes, *, session_key: str, iv: bytes) -> str:
    """
    encryptedData: base64 of the padded text under the key that session_key decodes to.
    """
    sealed = encrypt_blocks(pad(plain), key=base64.b64decode(session_key), iv=iv)
    return base64.b64encode(sealed).decode("ascii")
