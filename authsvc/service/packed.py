"""
A million facts in little memory: a sorted map from 64-bit keys to (position, reason, last use).

Entries arrive in small dictionaries and are moved into frozen, sorted arrays bucket by bucket, each step short enough
not to hold up a verification (DESIGN section 5). Packed, an entry costs 24 bytes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

_BUCKETS = 256
_SHIFT = 56
_REASON_BITS = 8
# Recent entries cost ten times what packed ones do; below this many it does not matter.
_FEW = 4096
FOREVER_S = 2**55


class Entry(NamedTuple):
    """What is known under a key: the log position, the end reason's number, the last second it is useful."""

    position: int
    reason: int
    until_s: int


class PackedFacts:
    """The map. A lookup costs a dictionary miss and a bisection in an array of one 256th of the entries."""

    def __init__(self) -> None:
        self._recent: list[dict[int, Entry]] = [{} for _ in range(_BUCKETS)]
        self._keys = [array("Q") for _ in range(_BUCKETS)]
        self._positions = [array("Q") for _ in range(_BUCKETS)]
        # The reason in the low byte, the last second above it.
        self._uses = [array("Q") for _ in range(_BUCKETS)]
        self._recent_count = 0
        self._packed_count = 0

    def __len__(self) -> int:
        """Return how many entries are held; one that waits to replace a packed one counts twice."""
        return self._recent_count + self._packed_count

    def get(self, key: int) -> Entry | None:
        """Return what is held under *key*, an unsigned 64-bit number."""
        bucket = key >> _SHIFT
        recent = self._recent[bucket]
        if recent and (entry := recent.get(key)) is not None:
            return entry
        keys = self._keys[bucket]
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        use = self._uses[bucket][at]
        return Entry(self._positions[bucket][at], use & 0xFF, use >> _REASON_BITS)

    def put(self, key: int, entry: Entry) -> None:
        """Hold *entry* under *key*, in place of what was there."""
        recent = self._recent[key >> _SHIFT]
        if key not in recent:
            self._recent_count += 1
        recent[key] = entry

    @property
    def wants_packing(self) -> bool:
        """Whether enough is recent for packing to pay: in proportion, so that n entries cost O(n log n) in all."""
        return self._recent_count > max(_FEW, self._packed_count // 4)

    def pack(self, *, now_s: int) -> Iterator[None]:
        """Pack what is recent and forget what is past its use, one bucket a step; lookups are right in between."""
        for bucket in range(_BUCKETS):
            self._pack_bucket(bucket, last_use=now_s << _REASON_BITS | 0xFF)
            yield

    def _pack_bucket(self, bucket: int, *, last_use: int) -> None:
        recent, keys = self._recent[bucket], self._keys[bucket]
        rows = [
            row
            for row in zip(keys, self._positions[bucket], self._uses[bucket], strict=True)
            if row[2] > last_use and row[0] not in recent
        ]
        for key, entry in recent.items():
            use = entry.until_s << _REASON_BITS | entry.reason
            if use > last_use:
                rows.append((key, entry.position, use))
        rows.sort()
        self._packed_count += len(rows) - len(keys)
        self._recent_count -= len(recent)
        self._keys[bucket] = array("Q", [row[0] for row in rows])
        self._positions[bucket] = array("Q", [row[1] for row in rows])
        self._uses[bucket] = array("Q", [row[2] for row in rows])
        self._recent[bucket] = {}
