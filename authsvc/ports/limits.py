"""Where buckets are kept: in this process, or shared by replicas."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from authsvc.domain.limits import Rate


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule: its `name` is a closed, public word (`login.ip`), the rate that of each of its keys."""

    name: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One bucket of one rule, and what is wanted of it.

    `key` is opaque and holds nothing that names a person. `cost` tokens are taken; 0 only looks whether one is there;
    below 0 (in `charge`) they are given back. With `waives`, this one never refuses and is never taken from: if its
    bucket is empty, the ask behind it does not count.
    """

    limit: Limit
    key: str
    cost: float = 1
    waives: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The ask with the longest wait among those that refused, and that wait."""

    limit: str
    wait: timedelta


class Limits(Protocol):
    """
    Buckets by (rule, key), each full at first and forgotten once it is full again.

    Neither method raises: limits are no reason for a call to fail, and none waits longer than 200 ms.
    """

    async def take(self, asks: Sequence[Ask]) -> Refusal | None:
        """
        Take from all buckets and return None; or take from none and return the refusal.

        One decision: nobody else's take of the same bucket, in any replica that shares it, comes between.
        """
        ...

    async def charge(self, asks: Sequence[Ask]) -> None:
        """Take whatever is there; an empty bucket stays empty, with a token again after the rate's interval."""
        ...

    def note(self) -> str:
        """Return what an operator should know of how limits are kept just now; empty if nothing."""
        ...
