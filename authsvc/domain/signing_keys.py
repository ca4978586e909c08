"""
The life of a signing key: prepared, active, retired, withdrawn.

A prepared key is published so that verifiers know it before it signs; at most one key is active; a retired one signs
nothing any more and stays published while a token of it can still be accepted; a withdrawn one is dead for ever, and
its tokens with it. Values in, values out: a move that is not allowed changes nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from authsvc.domain.apps import FACT_MARGIN, LEEWAY

# For how long a published key set may be kept (GetJwks `max_age`, Cache-Control of /.well-known/jwks.json).
JWKS_MAX_AGE = timedelta(minutes=5)
# How much later than that a verifier may come to read it anew: two of the longest pauses between failed reads (30 s).
REFRESH_SLACK = timedelta(minutes=1)
# A key that has been published for so long is known to every verifier that can read the keys at all.
PUBLISHED_AHEAD = JWKS_MAX_AGE + REFRESH_SLACK


class KeyState(StrEnum):
    """Where a key stands in its life; it only ever moves forward."""

    PREPARED = "prepared"
    ACTIVE = "active"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"


_MOVES = {
    KeyState.PREPARED: frozenset({KeyState.ACTIVE, KeyState.WITHDRAWN}),
    KeyState.ACTIVE: frozenset({KeyState.RETIRED, KeyState.WITHDRAWN}),
    KeyState.RETIRED: frozenset({KeyState.WITHDRAWN}),
    KeyState.WITHDRAWN: frozenset(),
}


class IllegalMove(ValueError):
    """A key cannot go from the one state to the other."""


class KeyProblemKind(StrEnum):
    """Why a key was not made active."""

    UNKNOWN = "unknown"  # there is no such key
    NONE_PREPARED = "none prepared"  # there is no key that could follow
    NOT_PREPARED = "not prepared"  # it is active already, or retired, or withdrawn
    TOO_YOUNG = "too young"  # verifiers may not know it yet


@dataclass(frozen=True, slots=True)
class KeyLife:
    """
    What is known of a key's life.

    `published_at` is when the record first listed it (None: nobody who holds it has said so yet), `activate_at` when a
    prepared one is to become active by itself (None: when somebody says so).
    """

    kid: str
    state: KeyState
    created_at: datetime
    published_at: datetime | None = None
    activate_at: datetime | None = None
    activated_at: datetime | None = None
    retired_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def to(self, state: KeyState, *, now: datetime) -> "KeyLife":
        """
        Return the key in its next state, with the instant noted.

        Raises:
            IllegalMove: there is no way from here to there.

        """
        if state not in _MOVES[self.state]:
            raise IllegalMove(f"a {self.state} key never becomes {state}")
        match state:
            case KeyState.ACTIVE:
                return replace(self, state=state, activated_at=now, activate_at=None)
            case KeyState.RETIRED:
                return replace(self, state=state, retired_at=now)
            case _:
                return replace(self, state=state, withdrawn_at=now, activate_at=None)

    def published_for(self, now: datetime) -> timedelta:
        """Return for how long verifiers have been able to read it; nothing where that was never noted."""
        return timedelta(0) if self.published_at is None else max(now - self.published_at, timedelta(0))

    def active_since(self) -> datetime:
        """Return when it became active; of keys from before that was noted: when it was made."""
        return self.activated_at or self.created_at

    def is_published(self, *, now: datetime, longest_lifetime: timedelta) -> bool:
        """
        Tell whether it belongs into the published set.

        A retired key does while a token that it signed in its last moment can be accepted anywhere: the longest
        lifetime of any app, the leeway, and as much again as facts are kept for the hand-over between replicas.
        """
        match self.state:
            case KeyState.PREPARED | KeyState.ACTIVE:
                return True
            case KeyState.RETIRED:
                # Never noted when: then nobody can say that its last token is gone.
                return (
                    self.retired_at is None or now < self.retired_at + longest_lifetime + LEEWAY + FACT_MARGIN
                )
            case KeyState.WITHDRAWN:
                return False


@dataclass(frozen=True, slots=True)
class NotActivated:
    """Nothing was changed; `wait` says, for a key that is too young, how long it takes until it is not."""

    problem: KeyProblemKind
    kid: str = ""
    wait: timedelta = timedelta(0)


def active(keys: Iterable[KeyLife]) -> KeyLife | None:
    """Return the key that signs, if there is one."""
    return next((key for key in keys if key.state is KeyState.ACTIVE), None)


def successor(keys: Iterable[KeyLife]) -> KeyLife | None:
    """Return the prepared key that comes next: the oldest."""
    prepared = [key for key in keys if key.state is KeyState.PREPARED]
    return min(prepared, key=lambda key: (key.created_at, key.kid), default=None)


def activate(
    keys: Sequence[KeyLife], kid: str = "", *, now: datetime, published_for: timedelta
) -> tuple[KeyLife, ...] | NotActivated:
    """
    Return the keys that change when this one, or the next one, becomes active: it, and the one it retires.

    *published_for*: a younger one is refused, because verifiers that have not heard of it would refuse its tokens.
    """
    if not kid:
        chosen = successor(keys)
        if chosen is None:
            return NotActivated(KeyProblemKind.NONE_PREPARED)
    else:
        found = next((key for key in keys if key.kid == kid), None)
        if found is None:
            return NotActivated(KeyProblemKind.UNKNOWN, kid)
        chosen = found
    if chosen.state is not KeyState.PREPARED:
        return NotActivated(KeyProblemKind.NOT_PREPARED, chosen.kid)
    wait = published_for - chosen.published_for(now)
    if wait > timedelta(0):
        return NotActivated(KeyProblemKind.TOO_YOUNG, chosen.kid, wait)
    return _handed_over(keys, chosen, now=now)


def activate_first(keys: Sequence[KeyLife], *, now: datetime) -> tuple[KeyLife, ...]:
    """Return what changes where no key is active: the next one is, at once, since nobody could get a token else."""
    chosen = successor(keys)
    return () if chosen is None or active(keys) is not None else (chosen.to(KeyState.ACTIVE, now=now),)


def withdraw(keys: Sequence[KeyLife], kid: str, *, now: datetime) -> tuple[KeyLife, ...] | None:
    """
    Return the keys that change when this one is withdrawn: it, and, if it was the active one, the one that follows.

    Nothing changes where it was withdrawn before. None if there is no such key.
    """
    found = next((key for key in keys if key.kid == kid), None)
    if found is None:
        return None
    if found.state is KeyState.WITHDRAWN:
        return ()
    gone = found.to(KeyState.WITHDRAWN, now=now)
    follows = successor(keys) if found.state is KeyState.ACTIVE else None
    return (gone,) if follows is None else (gone, follows.to(KeyState.ACTIVE, now=now))


def rotate_if_due(
    keys: Sequence[KeyLife],
    *,
    now: datetime,
    every: timedelta | None,
    published_for: timedelta,
    held: Collection[str],
) -> tuple[KeyLife, ...]:
    """
    Return the keys that change by themselves at *now*: because of a key's own `activate_at`, or of the active one's age.

    *every*: how old the active one may become; None: as old as it likes. Only a key of *held* is taken: whoever asks
    must be able to sign with it.
    """
    standing = active(keys)
    if standing is None:
        return ()
    timed = [key for key in keys if key.state is KeyState.PREPARED and key.activate_at is not None]
    ripe = [
        key for key in timed if key.activate_at is not None and key.activate_at <= now and key.kid in held
    ]
    if ripe:
        chosen = min(ripe, key=lambda key: (key.activate_at or now, key.kid))
    else:
        if every is None or now < standing.active_since() + every:
            return ()
        # A key with an instant of its own waits for that.
        follows = successor(key for key in keys if key.kid in held and key.activate_at is None)
        if follows is None:
            return ()
        chosen = follows
    changed = activate(keys, chosen.kid, now=now, published_for=published_for)
    return () if isinstance(changed, NotActivated) else changed


def _handed_over(keys: Iterable[KeyLife], chosen: KeyLife, *, now: datetime) -> tuple[KeyLife, ...]:
    standing = active(keys)
    begun = chosen.to(KeyState.ACTIVE, now=now)
    return (begun,) if standing is None else (standing.to(KeyState.RETIRED, now=now), begun)
