"""
What this process knows of revocations: plain memory, read by every verification, written by the tail.

Nothing here waits or does I/O. Applying a fact twice is harmless, and nothing once dead comes back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from authsvc.domain.access_token import Claims, InactiveReason
from authsvc.domain.cursors import Cursor
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.packed import FOREVER_S, Entry, PackedFacts

_MASK = 2**64 - 1


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
    it. `principals_through` is the largest position of a fact about callers.
    """

    def __init__(self) -> None:
        self.known: Cursor | None = None
        self.confirmed_at = float("-inf")
        # Sessions and users may be many; apps and keys never are.
        self._sessions = PackedFacts()
        self._users = PackedFacts()
        self._apps: dict[str, Fact] = {}
        self._keys: dict[str, Fact] = {}
        self.principals_through = 0

    def __len__(self) -> int:
        """Return how many facts are held."""
        return len(self._sessions) + len(self._users) + len(self._apps) + len(self._keys)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Take facts in, in any order, as often as they come."""
        for fact in facts:
            match fact.kind:
                case FactKind.SESSION:
                    _keep_first(self._sessions, _key(fact.target), fact)
                case FactKind.USER:
                    _keep_highest(self._users, _user_key(fact.target, fact.app_filter), fact)
                case FactKind.APP:
                    held = self._apps.get(fact.target)
                    if held is None or fact.position > held.position:
                        self._apps[fact.target] = fact
                case FactKind.KEY:
                    self._keys[fact.target] = fact
                case FactKind.PRINCIPAL:
                    # Concerns callers, not tokens: who keeps those reads them again.
                    self.principals_through = max(self.principals_through, fact.position)

    @property
    def wants_packing(self) -> bool:
        """Whether so much is new that packing pays."""
        return self._sessions.wants_packing or self._users.wants_packing

    def pack(self, *, now: datetime) -> Iterator[None]:
        """Pack what is new and forget what no acceptable token needs any more, in short steps."""
        now_s = int(now.timestamp())
        yield from self._sessions.pack(now_s=now_s)
        yield from self._users.pack(now_s=now_s)
        for app_id in [app_id for app_id, fact in self._apps.items() if not fact.is_useful(now=now)]:
            del self._apps[app_id]

    def is_withdrawn(self, kid: str) -> bool:
        """Tell whether this signing key was withdrawn."""
        return kid in self._keys

    @property
    def withdrawn_keys(self) -> tuple[str, ...]:
        """The ids of all withdrawn signing keys."""
        return tuple(sorted(self._keys))

    def is_session_dead(self, session_id: str) -> bool:
        """Tell whether a fact about this very session is held."""
        return self._sessions.get(_key(session_id)) is not None

    def death_of(self, claims: Claims) -> Death | None:
        """Say what killed a token's session, user or app, the nearest cause first; None if nothing known did."""
        session = self._sessions.get(_key(claims.session_id))
        if session is not None:
            return Death(InactiveReason.SESSION_REVOKED, EndReason(session.reason))
        if len(self._users):
            for app_filter in ("", claims.app_id):
                user = self._users.get(_user_key(claims.user_id, app_filter))
                if user is not None and claims.position < user.position:
                    return Death(InactiveReason.USER_REVOKED, EndReason(user.reason))
        if self._apps:
            app = self._apps.get(claims.app_id)
            if app is not None and claims.position < app.position:
                return Death(InactiveReason.APP_REVOKED, app.reason)
        return None


def _key(target: str) -> int:
    """
    Return 64 bits that stand for an id.

    Python's own hash: keyed per process, and kept in the string once computed. Two of a million ids share one with
    a probability of 2**-44 or so, and then the error is a refusal.
    """
    return hash(target) & _MASK


def _user_key(user_id: str, app_filter: str) -> int:
    return _key(f"{app_filter} {user_id}") if app_filter else _key(user_id)


def _entry(fact: Fact) -> Entry:
    # Rounded up: a fact is never forgotten before its time.
    until_s = FOREVER_S if fact.useful_until is None else ceil(fact.useful_until.timestamp())
    return Entry(fact.position, int(fact.reason), until_s)


def _keep_first(facts: PackedFacts, key: int, fact: Fact) -> None:
    """The first reason stands; a later fact can only reach further."""
    held, entry = facts.get(key), _entry(fact)
    if held is None:
        facts.put(key, entry)
    elif entry.until_s > held.until_s:
        facts.put(key, held._replace(until_s=entry.until_s))


def _keep_highest(facts: PackedFacts, key: int, fact: Fact) -> None:
    held = facts.get(key)
    if held is None or fact.position > held.position:
        facts.put(key, _entry(fact))
