"""Dice that fall the same way in every run."""

import random  # noqa: TID251 - seeded, which is the point


class SeededEntropy:
    """Implements ports.Entropy, repeatably; the seed is in the constructor so a failure can be replayed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - seeded, which is the point

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def fraction(self) -> float:
        return self._random.random()
