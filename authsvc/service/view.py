"""
What this process knows of revocations: plain memory, read by every verification, written by the tail.

Nothing here waits or does I/O. Applying a fact twice is harmless, and nothing once dead comes back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from authsvc.domain.access_token import Claims, InactiveReason
from authsvc.domain.cursors import Cursor
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Death:
    """Why a token is dead by the log."""

    reason: InactiveReason
    end_reason: EndReason


class RevocationView:
    """
    The live facts, by what they kill.

    `known` is the cursor up to which everything has been applied (None before the first complete snapshot, when
    nothing can be decided); `confirmed_at` is the elapsed-clock reading taken before the read that last confirmed
    it.
    """

    def __init__(self) -> None:
        self.known: Cursor | None = None
        self.confirmed_at = float("-inf")
        self._sessions: dict[str, Fact] = {}
        self._users: dict[tuple[str, str], Fact] = {}
        self._apps: dict[str, Fact] = {}
        self._keys: dict[str, Fact] = {}

    def __len__(self) -> int:
        """Return how many facts are held."""
        return len(self._sessions) + len(self._users) + len(self._apps) + len(self._keys)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Take facts in, in any order, as often as they come."""
        for fact in facts:
            match fact.kind:
                case FactKind.SESSION:
                    # The first reason stands; a later fact can only reach further.
                    held = self._sessions.get(fact.target)
                    if held is None:
                        self._sessions[fact.target] = fact
                    elif _later(held, fact):
                        self._sessions[fact.target] = replace(held, useful_until=fact.useful_until)
                case FactKind.USER:
                    _keep_highest(self._users, (fact.target, fact.app_filter), fact)
                case FactKind.APP:
                    _keep_highest(self._apps, fact.target, fact)
                case FactKind.KEY:
                    self._keys[fact.target] = fact
                case FactKind.PRINCIPAL:
                    pass  # concerns callers, not tokens

    def prune(self, *, now: datetime) -> None:
        """Forget facts that no acceptable token needs any more."""
        _prune(self._sessions, now)
        _prune(self._users, now)
        _prune(self._apps, now)

    def is_withdrawn(self, kid: str) -> bool:
        """Tell whether this signing key was withdrawn."""
        return kid in self._keys

    @property
    def withdrawn_keys(self) -> tuple[str, ...]:
        """The ids of all withdrawn signing keys."""
        return tuple(sorted(self._keys))

    def death_of(self, claims: Claims) -> Death | None:
        """Say what killed a token's session, user or app, the nearest cause first; None if nothing known did."""
        session = self._sessions.get(claims.session_id)
        if session is not None:
            return Death(InactiveReason.SESSION_REVOKED, session.reason)
        if self._users:
            for app_filter in ("", claims.app_id):
                user = self._users.get((claims.user_id, app_filter))
                if user is not None and claims.position < user.position:
                    return Death(InactiveReason.USER_REVOKED, user.reason)
        if self._apps:
            app = self._apps.get(claims.app_id)
            if app is not None and claims.position < app.position:
                return Death(InactiveReason.APP_REVOKED, app.reason)
        return None


def _later(held: Fact, fact: Fact) -> bool:
    if held.useful_until is None:
        return False
    return fact.useful_until is None or fact.useful_until > held.useful_until


def _keep_highest(facts: dict[K, Fact], key: K, fact: Fact) -> None:
    held = facts.get(key)
    if held is None or fact.position > held.position:
        facts[key] = fact


def _prune(facts: dict[K, Fact], now: datetime) -> None:
    for key in [key for key, fact in facts.items() if not fact.is_useful(now=now)]:
        del facts[key]
