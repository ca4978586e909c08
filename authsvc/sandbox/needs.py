"""
What the sandbox needs from outside: the time, a way to wait, and random bytes.

Structurally these are authsvc's own clock and entropy, stated again here so that the sandbox depends
on no other part of authsvc. Nothing in the sandbox reads the machine's clock or randomness itself.
"""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """
    The time, and waiting for it.
    """

    def now(self) -> datetime:
        """
        The present instant, aware and in UTC.
        """
        ...

    async def sleep(self, duration: timedelta, /) -> None:
        """
        Returns once ``duration`` has passed on this clock; may be cancelled.
        """
        ...


class Entropy(Protocol):
    """
    A source of random bytes.
    """

    def token_bytes(self, n: int, /) -> bytes:
        """
        ``n`` fresh random bytes.
        """
        ...
