"""
Random texts in WeChat's shapes, made from the entropy the sandbox was given.
"""

import hashlib
from typing import Final

from authsvc.sandbox.needs import Entropy

ALPHANUMERICS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
URL_SAFE: Final = ALPHANUMERICS + "-_"


class Dice:
    """
    Bytes and texts of which no two are alike, even where a test's entropy repeats itself.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._serial = 0

    def roll(self, count: int) -> bytes:
        """
        ``count`` fresh bytes.
        """
        self._serial += 1
        seed = self._serial.to_bytes(8, "big") + self._entropy.token_bytes(32)
        return hashlib.shake_256(seed).digest(count)

    def text(self, length: int, *, letters: str = ALPHANUMERICS) -> str:
        """
        ``length`` of the letters.
        """
        # Sixteen bits a letter more than needed: the remainder's bias is beyond notice.
        number = int.from_bytes(self.roll(length + 16), "big")
        chosen = []
        for _ in range(length):
            number, index = divmod(number, len(letters))
            chosen.append(letters[index])
        return "".join(chosen)
