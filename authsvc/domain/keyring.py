"""A ring of symmetric keys: new material is made with the current key, old material is still understood."""

from collections.abc import Mapping
from dataclasses import dataclass, field

KEY_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class KeyRing:
    """
    Keys of one purpose, derived from the master ring (one HKDF label each).

    `current_id` names the key that makes new material; every id is 4 bytes. The keys never appear in `repr`.
    """

    current_id: bytes
    keys: Mapping[bytes, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current_id not in self.keys or any(len(key_id) != KEY_ID_BYTES for key_id in self.keys):
            raise ValueError("a key ring needs 4-byte ids and holds its current key")

    @property
    def current(self) -> bytes:
        """The key that makes new material."""
        return self.keys[self.current_id]
