"""The buckets of one process: bounded, synchronous, and on the injected clock."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

from authsvc.domain.limits import taken, wait_for
from authsvc.ports import Clock
from authsvc.ports.limits import Ask, Limit, Refusal

# Per rule: some 200 bytes each.
MAX_KEYS = 100_000


class Buckets:
    """
    Buckets by rule and key.

    A rule remembers at most `max_keys` keys; beyond that the one that was not touched for longest is full again. So
    a flood of new keys to one rule costs bounded memory, and never another rule its memory.
    """

    __slots__ = ("_clock", "_full_at", "_max_keys")

    def __init__(self, clock: Clock, *, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._full_at: dict[str, OrderedDict[str, float]] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return sum(len(keys) for keys in self._full_at.values())

    def take_one(self, limit: Limit, key: str, *, now: float, cost: float = 1) -> float:
        """Take *cost* at *now* (Clock.elapsed) and return 0, or take nothing and return the seconds to wait."""
        keys = self._keys(limit)
        full_at = keys.get(key, 0.0)
        wait = wait_for(limit.rate, full_at, now=now, cost=cost)
        if not wait:
            self._set(keys, key, taken(limit.rate, full_at, now=now, cost=cost), now)
        return wait

    def take(self, asks: Sequence[Ask]) -> Refusal | None:
        """See ports.limits.Limits.take."""
        now = self._clock.elapsed()
        longest, refusing, counting = 0.0, "", []
        waived = False
        for ask in asks:
            wait = self._wait(ask, now)
            if ask.waives:
                waived = wait > 0
                continue
            if not waived:
                counting.append(ask)
                if wait > longest:
                    longest, refusing = wait, ask.limit.name
            waived = False
        if longest:
            return Refusal(refusing, timedelta(seconds=longest))
        self._charge([ask for ask in counting if ask.cost], now)
        return None

    def charge(self, asks: Sequence[Ask]) -> None:
        """See ports.limits.Limits.charge."""
        self._charge(asks, self._clock.elapsed())

    def _wait(self, ask: Ask, now: float) -> float:
        full_at = self._keys(ask.limit).get(ask.key, 0.0)
        return wait_for(ask.limit.rate, full_at, now=now, cost=max(ask.cost, 1))

    def _charge(self, asks: Sequence[Ask], now: float) -> None:
        for ask in asks:
            keys = self._keys(ask.limit)
            self._set(
                keys, ask.key, taken(ask.limit.rate, keys.get(ask.key, 0.0), now=now, cost=ask.cost), now
            )

    def _keys(self, limit: Limit) -> "OrderedDict[str, float]":
        keys = self._full_at.get(limit.name)
        if keys is None:
            keys = self._full_at[limit.name] = OrderedDict()
        return keys

    def _set(self, keys: "OrderedDict[str, float]", key: str, full_at: float, now: float) -> None:
        if full_at <= now:
            keys.pop(key, None)
            return
        keys[key] = full_at
        keys.move_to_end(key)
        while len(keys) > self._max_keys:
            keys.popitem(last=False)
        # With every touch the oldest is looked at: what time has filled again goes away although nobody sweeps.
        oldest = next(iter(keys))
        if oldest != key and keys[oldest] <= now:
            del keys[oldest]


class LocalLimits:
    """Implements ports.limits.Limits with the buckets of this process."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    async def take(self, asks: Sequence[Ask]) -> Refusal | None:
        """See ports.limits.Limits.take."""
        return self._buckets.take(asks)

    async def charge(self, asks: Sequence[Ask]) -> None:
        """See ports.limits.Limits.charge."""
        self._buckets.charge(asks)

    def note(self) -> str:
        """See ports.limits.Limits.note."""
        return ""
