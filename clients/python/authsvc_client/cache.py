"""
Verified tokens, remembered under SHA-256 of their whole text within a bound of memory.

Never under a signature, `jti` or `kid`: a forged payload with a stolen signature would hit. What is remembered is that
a token was well made, never a verdict.
"""

import threading
from itertools import islice
from typing import NamedTuple

from authsvc_client.revocations import VerifiedToken
from authsvc_client.signatures import KeySet

# Measured with tracemalloc on CPython 3.11 (tests/client/test_cache.py holds it): the objects of an entry, without
# the letters of its texts.
_ENTRY_BYTES = 1500
# The tokens of the moment are found by their text, which spares the digest: to hash a text costs Python less. There
# are few of them, so that what is held here, and told from no bound but this one, stays below 3 MB.
_AT_HAND = 1024
_AT_HAND_LENGTH = 2048


class AtHand(NamedTuple):
    """
    A token that was found alive, and by what.

    With the same keys, the same version of the revocations, and a time from `since` up to before `until`, it is alive
    again: there is nothing new to be looked at.
    """

    token: VerifiedToken
    keys: KeySet
    version: int
    since: float
    until: float


class TokenCache:
    """The memory; safe to use from many threads."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: dict[bytes, tuple[VerifiedToken, int]] = {}
        self._changing = threading.Lock()
        self._at_hand: dict[str, AtHand] = {}

    def __len__(self) -> int:
        """Return how many tokens are remembered."""
        return len(self._known)

    @property
    def bytes_used(self) -> int:
        """The memory the remembered tokens are reckoned to take."""
        return self._bytes

    def at_hand(self, text: str) -> "AtHand | None":
        """Return the token of exactly this text, if it is one of the few that were used just now."""
        return self._at_hand.get(text)

    def keep_at_hand(self, text: str, token: "AtHand") -> None:
        """Have a token that is alive at hand for its next use."""
        if self._max_bytes and len(text) <= _AT_HAND_LENGTH:
            if len(self._at_hand) >= _AT_HAND:
                self._at_hand = {}
            self._at_hand[text] = token

    def get(self, digest: bytes) -> VerifiedToken | None:
        """Return the token with this SHA-256."""
        held = self._known.get(digest)
        return None if held is None else held[0]

    def put(self, digest: bytes, token: VerifiedToken, *, length: int) -> None:
        """Remember a token that is *length* characters long; the oldest are forgotten where there is no room."""
        cost = _ENTRY_BYTES + length
        with self._changing:
            if cost > self._max_bytes or digest in self._known:
                return
            while self._bytes + cost > self._max_bytes:
                # Several at once: a dictionary finds its first entry by passing over all that were deleted before it.
                self._forget(list(islice(self._known, max(len(self._known) // 64, 1))))
            self._known[digest] = (token, cost)
            self._bytes += cost

    def forget(self, digest: bytes) -> None:
        """Forget a token that will never be good again."""
        self._at_hand = {}
        with self._changing:
            self._forget([digest])

    def sweep(self, *, expired_at: float) -> None:
        """Forget the tokens whose `exp` is not after *expired_at* (seconds since 1970)."""
        self._at_hand = {}
        with self._changing:
            self._forget(
                [
                    digest
                    for digest, (token, _) in self._known.items()
                    if token.claims.expires_at <= expired_at
                ]
            )

    def _forget(self, digests: list[bytes]) -> None:
        for digest in digests:
            held = self._known.pop(digest, None)
            if held is not None:
                self._bytes -= held[1]
