"""The choices of a verifier; they judge themselves when they are made."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

WhenStale = Literal["ask", "unavailable", "accept"]
LEEWAY_S = 5
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(seconds=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    How a verifier decides, waits and remembers.

    `hard_bound`: revocations confirmed longer ago than this no longer decide (1 s to 300 s).
    `when_stale`: what happens then, and before the first complete snapshot: `"ask"` the server, or raise CannotKnow
    where it does not answer either; `"unavailable"`: raise CannotKnow at once; `"accept"`: fail open, accept what is
    good by the keys alone.
    `cache_bytes`: memory for verified tokens, some 2 kB each; 0 remembers none.
    `start_wait`: how long entering `async with` (or `with`) waits for the first complete knowledge.
    `ask_timeout`, `asks_waiting`: the deadline of a question to the server, and how many callers may wait for one.
    `fetch_timeout`: the deadline of a read of the keys.

    Raises:
        ValueError: a value is outside of what it may be.

    """

    hard_bound: timedelta = timedelta(seconds=30)
    when_stale: WhenStale = "ask"
    cache_bytes: int = 64 * 2**20
    start_wait: timedelta = timedelta(seconds=5)
    ask_timeout: timedelta = timedelta(seconds=2)
    asks_waiting: int = 1000
    fetch_timeout: timedelta = timedelta(seconds=2)

    def __post_init__(self) -> None:
        if not _SHORTEST <= self.hard_bound <= _LONGEST:
            raise ValueError("hard_bound must be 1 s to 300 s")
        if self.when_stale not in get_args(WhenStale):
            raise ValueError(f"when_stale must be one of {', '.join(get_args(WhenStale))}")
        for name in ("cache_bytes", "asks_waiting"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("ask_timeout", "fetch_timeout"):
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} must be positive")
        if self.start_wait < timedelta(0):
            raise ValueError("start_wait must not be negative")
