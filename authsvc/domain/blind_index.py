"""
Finding a secret value without keeping it: its HMAC under the master ring's label `blind-index`.

What is indexed is named, so that an openid and a phone number of the same text have nothing in common. A value that
was indexed under an older key is still found as long as that key is in the ring.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from authsvc.domain.keyring import KeyRing

_SEPARATOR = b"\x00"


@dataclass(frozen=True, slots=True)
class Digest:
    """The HMAC-SHA256 of one named value under the key `key_id`."""

    key_id: bytes
    value: bytes = field(repr=False)


class BlindIndex:
    """Digests under a ring; pure."""

    __slots__ = ("_ring",)

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def phone(self, number: str) -> Digest:
        """Return what a phone number is kept under."""
        return self._current("phone", number)

    def phone_everywhere(self, number: str) -> tuple[Digest, ...]:
        """Return what a phone number may be found under: one digest for each key of the ring."""
        return self._all("phone", number)

    def identity(self, app_id: str, openid: str) -> Digest:
        """Return what an erased identity is remembered by."""
        return self._current("identity", app_id, openid)

    def identity_everywhere(self, app_id: str, openid: str) -> tuple[Digest, ...]:
        """Return what an erased identity may be remembered by."""
        return self._all("identity", app_id, openid)

    def unionid(self, platform_group: str, unionid: str) -> Digest:
        """Return what an erased unionid is remembered by."""
        return self._current("unionid", platform_group, unionid)

    def unionid_everywhere(self, platform_group: str, unionid: str) -> tuple[Digest, ...]:
        """Return what an erased unionid may be remembered by."""
        return self._all("unionid", platform_group, unionid)

    def external_id(self, external_id: str) -> Digest:
        """Return what an erased external id is remembered by."""
        return self._current("external_id", external_id)

    def external_id_everywhere(self, external_id: str) -> tuple[Digest, ...]:
        """Return what an erased external id may be remembered by."""
        return self._all("external_id", external_id)

    def _current(self, *parts: str) -> Digest:
        return _digest(self._ring.current_id, self._ring.current, parts)

    def _all(self, *parts: str) -> tuple[Digest, ...]:
        return tuple(_digest(key_id, key, parts) for key_id, key in self._ring.keys.items())


def _digest(key_id: bytes, key: bytes, parts: tuple[str, ...]) -> Digest:
    # Lengths in front: no two lists of parts have one spelling.
    message = _SEPARATOR.join(f"{len(part.encode())}:{part}".encode() for part in parts)
    return Digest(key_id, hmac.new(key, message, hashlib.sha256).digest())
