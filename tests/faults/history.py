"""
What happened, as callers saw it: every call with its start and end, what it was about, and how it ended.

Sessions, users, codes and tokens are named by labels of ours, so that a history may be printed. All instants are
seconds on this process's monotonic clock. Judging is the checker's business.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    LOGIN = "Login"
    REFRESH = "RefreshToken"
    VERIFY = "VerifyToken"
    REVOKE = "Revoke"
    JWKS = "GetJwks"


class Outcome(StrEnum):
    """
    How a call ended for its caller.

    `REFUSED` is the service's own no, `UNAVAILABLE` its own "not now", both with a reason of the contract. `LOST`
    means that nobody knows: cancelled, deadline, or the connection broke.
    """

    OK = "ok"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One finished call.

    `target` is where it was sent. `verifier` names the one process that answered, where that is certain. `presented`
    is the label of the token or code that was sent; `access`, `refresh` those that came back. `position`: of a
    Revoke, the log position it returned; of a VerifyToken, that of its `at_least` (None without). `everything`: the
    Revoke was for all sessions of `user`. `retry_s` is RetryInfo's delay, `age_s` a verdict's age, `expires_at` when
    the access token that came back expires (for VerifyToken: the presented one), `kids` the keys of a JWKS.
    """

    number: int
    kind: Kind
    target: str
    start: float
    end: float
    outcome: Outcome
    reason: str = ""
    verifier: str = ""
    user: str = ""
    session: str = ""
    presented: str = ""
    access: str = ""
    refresh: str = ""
    active: bool = False
    position: int | None = None
    everything: bool = False
    retry_s: float | None = None
    age_s: float = 0.0
    kid: str = ""
    kids: frozenset[str] = frozenset()
    expires_at: float = float("inf")

    def __str__(self) -> str:
        what = " ".join(part for part in (self.presented, self.session, self.user) if part)
        verdict = f" active={self.active} age={self.age_s:.3f}" if self._is_verdict else ""
        where = f"position={self.position}" if self.position is not None else ""
        return (
            f"#{self.number} {self.kind} at {self.target} [{self.start:.3f}..{self.end:.3f}] {what} {where}"
            f" -> {self.outcome} {self.reason}{verdict}"
        )

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK

    @property
    def _is_verdict(self) -> bool:
        return self.kind is Kind.VERIFY and self.ok


@dataclass(frozen=True, slots=True)
class Interval:
    """A span of time in which targets whose name begins with `prefix` could not do as they should; "" is all."""

    start: float
    end: float
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What was configured and promised; seconds."""

    target_s: float = 1.0
    hard_bound_s: float = 30.0
    grace_s: float = 30.0
    leeway_s: float = 5.0
    max_sessions: int = 10
    # Instants of a response are rounded to milliseconds, upwards.
    rounding_s: float = 0.002


@dataclass(slots=True)
class History:
    """
    All calls, in the order in which they ended.

    `stalls` are the machine's own standstills; `disturbances` what was done to targets on purpose, until they had
    had the time to recover. `arrivals` counts how often each code reached WeChat.
    """

    calls: list[Call] = field(default_factory=list)
    stalls: list[Interval] = field(default_factory=list)
    disturbances: list[Interval] = field(default_factory=list)
    arrivals: dict[str, int] = field(default_factory=dict)

    def of(self, kind: Kind) -> Iterator[Call]:
        """The calls of one kind."""
        return (call for call in self.calls if call.kind is kind)

    def undisturbed_s(self, start: float, end: float, target: str) -> float:
        """Return how much of this span *target* was left in peace, by us and by the machine."""
        held = [
            (max(one.start, start), min(one.end, end))
            for one in (*self.stalls, *self.disturbances)
            if one.end > start and one.start < end and target.startswith(one.prefix)
        ]
        return end - start - _length(sorted(held))


def _length(spans: Sequence[tuple[float, float]]) -> float:
    """Return what sorted spans cover together."""
    total, covered_to = 0.0, float("-inf")
    for start, end in spans:
        total += max(end - max(start, covered_to), 0.0)
        covered_to = max(covered_to, end)
    return total
