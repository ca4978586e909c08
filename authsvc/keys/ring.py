"""
The master ring: 32-byte keys from which every symmetric key of the service is derived, one HKDF label per purpose.

The first key makes new material, the others still open old material, so a key is replaced by putting a new one in
front. Where the text comes from (environment, file, command) is the configuration's business.
"""

import hashlib
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from authsvc.domain.ids import decode_base64url, encode_base64url
from authsvc.domain.keyring import KEY_ID_BYTES, KeyRing
from authsvc.ports import Entropy, Rings

KEY_BYTES = 32
REFRESH_MAC = "refresh-mac"
SEAL = "seal"
BLIND_INDEX = "blind-index"
CURSOR = "cursor"
LABELS = (REFRESH_MAC, SEAL, BLIND_INDEX, CURSOR)

_ID_LABEL = b"authsvc master key id"
_SEPARATORS = re.compile(r"[,\r\n]+")
_TO_URL_ALPHABET = str.maketrans("+/", "-_")

_SEAL_VERSION = b"\x01"
_SEAL_NONCE_BYTES = 12
_SEAL_HEAD_BYTES = 1 + KEY_ID_BYTES + _SEAL_NONCE_BYTES
_SEAL_TAG_BYTES = 16


class MasterRing:
    """The master keys, first = current; only their ids are ever shown."""

    __slots__ = ("_keys",)

    def __init__(self, keys: dict[bytes, bytes]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> "MasterRing":
        """
        Return the ring written as *text*: base64 or base64url keys, separated by commas or newlines.

        Raises:
            ValueError: no key at all, or keys that are unreadable, not 32 bytes, weak or doubled; every complaint
                is in the one message, by the key's place, never by its content.

        """
        spellings = [part.strip() for part in _SEPARATORS.split(text) if part.strip()]
        if not spellings:
            raise ValueError("no master key")
        keys: dict[bytes, bytes] = {}
        complaints: list[str] = []
        for place, spelling in enumerate(spellings, start=1):
            key = decode_base64url(spelling.translate(_TO_URL_ALPHABET).rstrip("="))
            if key is None:
                complaints.append(f"master key {place} is not base64")
            elif len(key) != KEY_BYTES:
                complaints.append(f"master key {place} has {len(key)} bytes instead of {KEY_BYTES}")
            elif len(set(key)) == 1:
                complaints.append(f"master key {place} is weak: all its bytes are equal")
            elif _key_id(key) in keys:
                complaints.append(f"master key {place} repeats an earlier one")
            else:
                keys[_key_id(key)] = key
        if complaints:
            raise ValueError("; ".join(complaints))
        return cls(keys)

    @staticmethod
    def generate(entropy: Entropy) -> str:
        """Return the text of one new master key (43 characters of base64url)."""
        return encode_base64url(entropy.token_bytes(KEY_BYTES))

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the keys as hex, the current one first."""
        return tuple(key_id.hex() for key_id in self._keys)

    def ring(self, label: str) -> KeyRing:
        """
        Return the ring of one purpose: HKDF-SHA256 (RFC 5869) of each master key, info = the label.

        Ids are the master keys' own, so they are the same for each purpose.

        Raises:
            ValueError: *label* is none of `LABELS`.

        """
        if label not in LABELS:
            raise ValueError(f"unknown purpose {label}")
        keys = {key_id: _derive(key, label) for key_id, key in self._keys.items()}
        return KeyRing(current_id=next(iter(self._keys)), keys=keys)

    def rings(self) -> Rings:
        """Return the rings the core uses directly."""
        return Rings(
            refresh_mac=self.ring(REFRESH_MAC),
            cursor=self.ring(CURSOR),
            blind_index=self.ring(BLIND_INDEX),
        )

    def sealer(self, entropy: Entropy) -> "AesGcmSealer":
        """Return the sealer under this ring (a ports.Sealer); *entropy* draws its nonces."""
        return AesGcmSealer(self.ring(SEAL), entropy=entropy)

    def __repr__(self) -> str:
        return f"MasterRing(ids={', '.join(self.ids())})"


class AesGcmSealer:
    """
    Implements ports.Sealer: version 1 | key id 4 | nonce 12 | ciphertext and tag, by AES-256-GCM.

    Nonces are random: at most 2**32 seals per key keep the odds of a repeat below 2**-32 (NIST SP 800-38D, 8.3).
    """

    __slots__ = ("_ciphers", "_current_id", "_entropy")

    def __init__(self, ring: KeyRing, *, entropy: Entropy) -> None:
        self._current_id = ring.current_id
        self._ciphers = {key_id: AESGCM(key) for key_id, key in ring.keys.items()}
        self._entropy = entropy

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """See ports.Sealer.seal."""
        nonce = self._entropy.token_bytes(_SEAL_NONCE_BYTES)
        sealed = self._ciphers[self._current_id].encrypt(nonce, plaintext, context)
        return _SEAL_VERSION + self._current_id + nonce + sealed

    def open(self, blob: bytes, *, context: bytes) -> bytes | None:
        """See ports.Sealer.open."""
        if len(blob) < _SEAL_HEAD_BYTES + _SEAL_TAG_BYTES or blob[:1] != _SEAL_VERSION:
            return None
        cipher = self._ciphers.get(blob[1 : 1 + KEY_ID_BYTES])
        if cipher is None:
            return None
        nonce = blob[1 + KEY_ID_BYTES : _SEAL_HEAD_BYTES]
        try:
            return cipher.decrypt(nonce, blob[_SEAL_HEAD_BYTES:], context)
        except InvalidTag:
            return None


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(_ID_LABEL + key).digest()[:KEY_ID_BYTES]


def _derive(key: bytes, label: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label.encode()).derive(key)
