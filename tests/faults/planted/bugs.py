"""
The planted bugs: mistakes that somebody could make and that would break a promise, each with the tests that catch it.

A change replaces a text that occurs exactly once. The tests named are the narrowest that must fail; they pass on the
tree as it is.
"""

from tests.faults.planted import in_keys, in_service, in_storage
from tests.faults.planted.bug import Bug, Change

BUGS: tuple[Bug, ...] = (*in_storage.BUGS, *in_service.BUGS, *in_keys.BUGS)

__all__ = ["BUGS", "Bug", "Change"]
