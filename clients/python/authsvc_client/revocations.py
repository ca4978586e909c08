"""
What a verifier knows of revocations, and what of a token they kill. Plain memory; nothing here waits or does I/O.

A session or key fact names its target outright. A user or app fact kills tokens whose session began below its position
(claim `sp`): positions, not clocks. Applying a fact twice is harmless, and nothing once dead comes back, except when a
complete snapshot replaces everything; withdrawn keys stay withdrawn even then.
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from authsvc_client.packed import FOR_EVER_S, Entry, Loading, PackedMap
from authsvc_client.tokens import ID_BYTES, Claims, session_id_bytes
from authsvc_client.verdicts import Active, Inactive, InactiveReason, SessionEndReason

_MASK = 2**64 - 1
_NO_KEY = -1
_KEY_BYTES = 8


class Kind(Enum):
    """What died."""

    SESSION = "session"
    USER = "user"
    APP = "app"
    KEY = "key"
    UNKNOWN = "unknown"  # of a newer contract: whoever reads it can no longer decide


class Fact(NamedTuple):
    """
    One entry of the revocation log.

    `target` is the id as tokens carry it (claims sid, sub, client_id; header kid). `until_s` is the second since 1970
    up to which it must be kept. `app_filter` narrows a user fact to one app.
    """

    kind: Kind
    target: str
    position: int
    reason: SessionEndReason = SessionEndReason.UNSPECIFIED
    until_s: int = FOR_EVER_S
    app_filter: str = ""


class VerifiedToken:
    """A token whose signature, type, issuer and lifetime hold: all that is remembered of it."""

    __slots__ = ("active", "claims", "kid", "not_before", "session_key")

    def __init__(self, claims: Claims, kid: str, not_before: int) -> None:
        """*not_before* is the later of `nbf` and `iat`."""
        self.active = Active.of(claims)
        self.claims = claims
        self.kid = kid
        self.not_before = not_before
        raw = session_id_bytes(claims.session_id)
        self.session_key = _NO_KEY if raw is None else _session_key(raw)


def _session_key(raw: bytes) -> int:
    """
    Return 64 bits that stand for a session: the first half of its random id.

    Two of a million share one with a probability below 2**-44, and then the error is a refusal.
    """
    return int.from_bytes(raw[:_KEY_BYTES], "big")


def _user_key(user_id: str, app_filter: str) -> int:
    return hash((user_id, app_filter)) & _MASK


def _session_keys(ids: bytes) -> "array[int]":
    """Return the keys of many session ids, 16 bytes each."""
    halves = array("Q", ids)
    if sys.byteorder == "little":
        halves.byteswap()
    return halves[::2]


class _Facts:
    """One complete set of facts."""

    def __init__(self) -> None:
        self.sessions = PackedMap()
        self.users = PackedMap()
        self.apps: dict[str, Fact] = {}
        self.has_unknown = False

    def __len__(self) -> int:
        return len(self.sessions) + len(self.users) + len(self.apps)

    def apply(self, fact: Fact) -> None:
        match fact.kind:
            case Kind.SESSION:
                raw = session_id_bytes(fact.target)
                if raw is not None:
                    self._end_session(_session_key(raw), fact)
            case Kind.USER:
                key = _user_key(fact.target, fact.app_filter)
                held = self.users.get(key)
                if held is None or fact.position > held.position:
                    self.users.put(key, _entry(fact))
            case Kind.APP:
                app = self.apps.get(fact.target)
                if app is None or fact.position > app.position:
                    self.apps[fact.target] = fact
            case Kind.UNKNOWN:
                self.has_unknown = True
            case Kind.KEY:
                pass  # kept by the view, for ever

    def _end_session(self, key: int, fact: Fact) -> None:
        """The first reason stands; a later fact can only reach further."""
        held = self.sessions.get(key)
        if held is None:
            self.sessions.put(key, _entry(fact))
        elif fact.until_s > held.until_s:
            self.sessions.put(key, held._replace(until_s=fact.until_s))


def _entry(fact: Fact) -> Entry:
    return Entry(fact.position, int(fact.reason), fact.until_s)


class Snapshot:
    """A snapshot on its way in: it counts for nothing before `RevocationView.replace`."""

    def __init__(self) -> None:
        self._facts = _Facts()
        self._sessions = Loading(self._facts.sessions)
        self._withdrawn: set[str] = set()

    def add(self, facts: Iterable[Fact]) -> None:
        """Take in facts of any kind."""
        for fact in facts:
            if fact.kind is Kind.KEY:
                self._withdrawn.add(fact.target)
            self._facts.apply(fact)

    def add_sessions(self, ids: bytes, *, reason: SessionEndReason, until_s: int) -> None:
        """Take in ended sessions by their ids, 16 bytes each, that share a reason and an end of use."""
        if len(ids) % ID_BYTES:
            self._facts.has_unknown = True  # garbled: what it kills cannot be told
            return
        self._sessions.add(_session_keys(ids), Entry(0, int(reason), until_s))

    def finish(self) -> Iterator[None]:
        """Sort what came, in steps of a few milliseconds."""
        return self._sessions.finish()


class RevocationView:
    """What is known now. One thread writes, any may ask."""

    def __init__(self) -> None:
        self._facts = _Facts()
        self._withdrawn: frozenset[str] = frozenset()
        self.version = (
            0  # another number whenever something more may be dead; changed after what it stands for
        )

    def __len__(self) -> int:
        """Return how many facts are held."""
        return len(self._facts) + len(self._withdrawn)

    @property
    def has_unknown(self) -> bool:
        """Whether a fact of a kind that this release does not know is among them: then nothing can be decided."""
        return self._facts.has_unknown

    def apply(self, facts: Iterable[Fact]) -> None:
        """Take facts in, in any order, as often as they come."""
        for fact in facts:
            if fact.kind is Kind.KEY:
                self._withdrawn |= {fact.target}
            self._facts.apply(fact)
            self.version += 1

    def replace(self, snapshot: Snapshot) -> None:
        """Know what a finished snapshot says, and nothing else but the keys withdrawn before."""
        self._withdrawn |= snapshot._withdrawn  # noqa: SLF001 - the other half of one thing
        self._facts = snapshot._facts  # noqa: SLF001
        self.version += 1

    def is_withdrawn(self, kid: str) -> bool:
        """Tell whether this signing key was withdrawn."""
        return kid in self._withdrawn

    def death_of(self, token: VerifiedToken) -> Inactive | None:
        """Say what killed a token's session, user or app, the nearest cause first; None if nothing known did."""
        facts, claims = self._facts, token.claims
        if token.session_key != _NO_KEY and (ended := facts.sessions.get(token.session_key)) is not None:
            return Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason(ended.reason))
        if len(facts.users):
            for app_filter in ("", claims.app_id):
                blocked = facts.users.get(_user_key(claims.user_id, app_filter))
                if blocked is not None and claims.position < blocked.position:
                    return Inactive(InactiveReason.USER_REVOKED, SessionEndReason(blocked.reason))
        if facts.apps:
            app = facts.apps.get(claims.app_id)
            if app is not None and claims.position < app.position:
                return Inactive(InactiveReason.APP_REVOKED, app.reason)
        return None

    @property
    def is_untidy(self) -> bool:
        """Whether `tidy` pays because much is new."""
        return self._facts.sessions.is_untidy or self._facts.users.is_untidy

    def tidy(self, *, now_s: float) -> Iterator[None]:
        """Pack what is new and forget what is past its use at *now_s* (seconds since 1970), in short steps."""
        facts = self._facts
        yield from facts.sessions.pack(now_s=now_s)
        yield from facts.users.pack(now_s=now_s)
        for app_id in [app_id for app_id, fact in facts.apps.items() if fact.until_s < int(now_s)]:
            del facts.apps[app_id]
