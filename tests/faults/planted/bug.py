"""What a planted bug is: changes of the code, and the tests that catch them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """In this file, this text becomes that."""

    path: str
    search: str
    replace: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake, what it would cost, and which tests (arguments of pytest) catch it."""

    name: str
    costs: str
    changes: Sequence[Change]
    tests: Sequence[str]
