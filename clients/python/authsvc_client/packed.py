"""
A map from 64-bit keys to revocations, 24 bytes each: sorted arrays by the keys' first byte, new entries beside them.

One thread writes; any thread may look up meanwhile, and finds at every moment all that was put.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

_SLICES = 256
_SLICE_SHIFT = 56
_FEW = 4096
FOR_EVER_S = 2**55

_Columns: TypeAlias = "tuple[array[int], array[int], array[int]]"


class Entry(NamedTuple):
    """A revocation: its log position, the number of its reason, the last second (since 1970) it is of use."""

    position: int
    reason: int
    until_s: int


class _Slice:
    """The entries of one first byte; `columns` (keys, positions, uses) is replaced as a whole, never changed."""

    __slots__ = ("columns", "recent")

    def __init__(self) -> None:
        self.columns: _Columns = (array("Q"), array("Q"), array("Q"))
        self.recent: dict[int, Entry] = {}


class PackedMap:
    """The map; `put` and `load` bring entries in, `pack` moves them into arrays and drops the useless."""

    def __init__(self) -> None:
        self._slices = [_Slice() for _ in range(_SLICES)]
        self._packed = 0
        self._recent = 0

    def __len__(self) -> int:
        """Return how many entries are held; one that is both new and packed counts twice."""
        return self._packed + self._recent

    def get(self, key: int) -> Entry | None:
        """Return the entry of an unsigned 64-bit key."""
        part = self._slices[key >> _SLICE_SHIFT]
        # In this order: an entry leaves the recent ones after it has come into the columns.
        recent = part.recent
        if recent and (entry := recent.get(key)) is not None:
            return entry
        keys, positions, uses = part.columns
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        return Entry(positions[at], uses[at] & 0xFF, uses[at] >> 8)

    def put(self, key: int, entry: Entry) -> None:
        """Hold this entry, in place of what the key had."""
        recent = self._slices[key >> _SLICE_SHIFT].recent
        self._recent += key not in recent
        recent[key] = entry

    @property
    def is_untidy(self) -> bool:
        """Whether packing pays: the share of new entries keeps the work in proportion to their number."""
        return self._recent > max(_FEW, self._packed // 4)

    def pack(self, *, now_s: float) -> Iterator[None]:
        """Pack one slice a step, dropping entries whose use ended before *now_s* (seconds since 1970)."""
        for part in self._slices:
            self._pack(part, int(now_s) << 8)
            yield

    def _pack(self, part: _Slice, still_of_use: int) -> None:
        recent, before = part.recent, len(part.columns[0])
        rows = [(key, entry.position, entry.until_s << 8 | entry.reason) for key, entry in recent.items()]
        rows += [row for row in zip(*part.columns, strict=True) if row[0] not in recent]
        rows = sorted(row for row in rows if row[2] >= still_of_use)
        keys, positions, uses = zip(*rows, strict=True) if rows else ((), (), ())
        part.columns = (array("Q", keys), array("Q", positions), array("Q", uses))
        part.recent = {}
        self._packed += len(rows) - before
        self._recent -= len(recent)


class Loading:
    """Fills a PackedMap with many entries at once, cheaper than one by one; they are found after `finish`."""

    def __init__(self, target: PackedMap) -> None:
        self._target = target
        self._columns: list[_Columns] = [(array("Q"), array("Q"), array("Q")) for _ in range(_SLICES)]

    def add(self, keys: "array[int]", entry: Entry) -> None:
        """Give many keys the same entry."""
        position, use, columns = entry.position, entry.until_s << 8 | entry.reason, self._columns
        for key in keys:
            into = columns[key >> _SLICE_SHIFT]
            into[0].append(key)
            into[1].append(position)
            into[2].append(use)

    def finish(self) -> Iterator[None]:
        """Sort one slice a step; afterwards the target has all of it. What was put there meanwhile stays."""
        target = self._target
        for at, unsorted in enumerate(self._columns):
            part = target._slices[at]  # noqa: SLF001 - the other half of one thing
            target._packed -= len(part.columns[0])  # noqa: SLF001
            rows = sorted(zip(*unsorted, strict=True))
            keys, positions, uses = zip(*rows, strict=True) if rows else ((), (), ())
            part.columns = (array("Q", keys), array("Q", positions), array("Q", uses))
            target._packed += len(rows)  # noqa: SLF001
            self._columns[at] = (array("Q"), array("Q"), array("Q"))
            yield
