"""The cipher of WeChat's user data: AES-128-CBC (facts page 4.1). What it opens is judged in `domain.user_data`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from authsvc.domain.errors import SessionKeyStale
from authsvc.domain.user_data import Envelope, UserData, decode_session_key, parse_envelope, read_plaintext


def decrypt_user_data(
    *,
    encrypted_data: str,
    iv: str,
    session_keys: Sequence[str],
    app_id: str,
    now: datetime,
    freshness: timedelta | None = None,
    openid: str | None = None,
) -> UserData:
    """
    Implements ports.DecryptUserData.

    UserDataInvalid is what no other session_key could change: damage that shows without a key, and data that opened
    and is not ours. Everything that might be a wrong key is SessionKeyStale, without a hint at what failed: CBC has
    no integrity, and a difference between bad padding and bad JSON would be an oracle.

    Raises:
        UserDataInvalid, SessionKeyStale: see there.

    """
    envelope = parse_envelope(encrypted_data=encrypted_data, iv=iv)
    for session_key in session_keys:
        opened = _open(envelope, session_key)
        if opened is not None:
            opened.judge(app_id=app_id, now=now, freshness=freshness, openid=openid)
            return opened
    raise SessionKeyStale("no session_key opens the data")


def _open(envelope: Envelope, session_key: str) -> UserData | None:
    key = decode_session_key(session_key)
    if key is None:
        return None
    decryptor = Cipher(algorithms.AES128(key), modes.CBC(envelope.iv)).decryptor()
    return read_plaintext(decryptor.update(envelope.ciphertext) + decryptor.finalize())
