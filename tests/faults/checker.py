"""
Judges a history against the invariants I1 to I8. Pure: no I/O, no clock; each violation names the calls that prove it.

"After" always means that one call had ended before the other began; of calls that overlap nothing is claimed.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.history import Call, History, Kind, Outcome, Rules

FORGED = "forged"
_SELF_MADE = frozenset({"LOGOUT", "ADMIN"})
# Reasons with which a session of an honest client never ends.
_NEVER = frozenset({"", "UNSPECIFIED", "STORE_RESTORED"})
_GRANTING = frozenset({Kind.LOGIN, Kind.REFRESH})


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant: what was promised or done first, and the later call that contradicts it."""

    invariant: str
    first: Call | None
    second: Call
    why: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.why}\n    {self.first}\n    {self.second}"


def check(history: History, rules: Rules) -> list[Violation]:
    """Return every violation of I1 to I8."""
    return [violation for judge in JUDGES for violation in judge(history, rules)]


class Deaths:
    """Which acknowledged Revoke killed which session: those it names, or all its user had before it began."""

    def __init__(self, history: History) -> None:
        self._born = {call.session: call for call in history.of(Kind.LOGIN) if call.ok}
        self._of: dict[str, list[Call]] = defaultdict(list)
        by_user: dict[str, list[Call]] = defaultdict(list)
        for login in self._born.values():
            by_user[login.user].append(login)
        for revoke in history.of(Kind.REVOKE):
            if not revoke.ok:
                continue
            if revoke.session:
                self._of[revoke.session].append(revoke)
            if revoke.everything:
                for login in by_user[revoke.user]:
                    if login.session != revoke.session and login.end < revoke.start:
                        self._of[login.session].append(revoke)
        for revokes in self._of.values():
            revokes.sort(key=lambda call: call.end)
        self._ends = {session: [call.end for call in revokes] for session, revokes in self._of.items()}

    def before(self, call: Call) -> Sequence[Call]:
        """Return the Revokes that had been acknowledged for the call's session when it began."""
        return self._of[call.session][: bisect_left(self._ends.get(call.session, []), call.start)]


def revoked_stay_out(history: History, rules: Rules) -> Iterator[Violation]:
    """
    I1, four ways.

    With `at_least` at or above the Revoke: never active. A verdict whose own age says that the log was read after
    the acknowledgement: never. More than the target later, not counting disturbances: never. More than the hard
    bound later: never, whatever happened.
    """
    deaths = Deaths(history)
    for verdict in _active(history):
        for revoke in deaths.before(verdict):
            since = verdict.start - revoke.end
            why = ""
            if verdict.position is not None and verdict.position >= (revoke.position or 0):
                why = "active although at_least covers the revocation"
            elif since - verdict.age_s > rules.rounding_s:
                why = (
                    f"active by a log said to be read {since - verdict.age_s:.3f} s after the acknowledgement"
                )
            elif history.undisturbed_s(revoke.end, verdict.start, verdict.target) > rules.target_s:
                why = f"active {since:.3f} s after the acknowledgement, in peace"
            elif since > rules.hard_bound_s + rules.rounding_s:
                why = f"active {since:.3f} s after the acknowledgement, beyond the hard bound"
            if why:
                yield Violation("I1", revoke, verdict, why)
                break


def dead_stay_dead(history: History, rules: Rules) -> Iterator[Violation]:
    """I2: at the same verifier at once; at another one once it has had the time of I1 to hear of it."""
    refused: dict[str, list[Call]] = defaultdict(list)
    for verdict in history.of(Kind.VERIFY):
        if verdict.ok and not verdict.active and verdict.reason != "NOT_YET_VALID":
            refused[verdict.presented].append(verdict)
    for verdict in _active(history):
        for earlier in refused[verdict.presented]:
            since = verdict.start - earlier.end
            if since <= 0:
                continue
            same = bool(verdict.verifier) and verdict.verifier == earlier.verifier
            late = history.undisturbed_s(earlier.end, verdict.start, verdict.target) > rules.target_s
            if same or late or since > rules.hard_bound_s + rules.rounding_s:
                yield Violation("I2", earlier, verdict, f"active again after {earlier.reason}")
                break


def one_tip(history: History, rules: Rules) -> Iterator[Violation]:
    """
    I3: of one token there is one successor; a token whose successor has itself been used opens nothing any more;
    nor does one that was rotated longer ago than the grace window.
    """
    rotated: dict[str, Call] = {}
    by_session: dict[str, list[Call]] = defaultdict(list)
    for call in _rotations(history):
        by_session[call.session].append(call)
        known = rotated.setdefault(call.presented, call)
        if call.refresh == call.presented:
            yield Violation("I3", None, call, "the token is its own successor")
        elif known.refresh != call.refresh:
            yield Violation("I3", known, call, "two successors of one token")
        elif call.start - known.end > rules.grace_s:
            yield Violation("I3", known, call, "works beyond the grace window")
    for calls in by_session.values():
        for call in calls:
            used = rotated.get(call.refresh)
            if used is not None and used.end < call.start:
                yield Violation("I3", used, call, "its successor had been used, and it still works")


def newest_works(history: History, rules: Rules) -> Iterator[Violation]:
    """
    I4: the newest token a client received is never refused, but with the recorded end of its session, and that end
    has a cause: somebody asked for it, or the client itself gave one.
    """
    causes = _Causes(history, rules)
    newest: dict[str, tuple[str, Call]] = {}
    replaced: set[str] = set()
    for call in sorted(history.calls, key=lambda call: call.end):
        if call.kind in _GRANTING and call.ok:
            if call.refresh not in replaced:
                newest[call.session] = (call.refresh, call)
            replaced.add(call.presented)
        if call.kind is not Kind.REFRESH or call.outcome is not Outcome.REFUSED:
            continue
        held = newest.get(call.session)
        # Nothing newer can have been received before this one was sent, nor while it was away.
        if held is None or held[0] != call.presented or held[1].end > call.start:
            continue
        reason = call.reason.removeprefix("SESSION_ENDED:")
        if reason == call.reason:
            yield Violation(
                "I4", held[1], call, "the newest token is refused, and not for the end of its session"
            )
        elif reason in _NEVER:
            yield Violation("I4", held[1], call, f"an honest client's session ended as {reason or 'nothing'}")
        elif not causes.has(call, reason):
            yield Violation("I4", held[1], call, f"ended as {reason}, and nobody asked for it")


def keys_are_published(history: History, rules: Rules) -> Iterator[Violation]:
    """I5: the key of a token that has been handed out and has not expired is in every JWKS, and every verifier's."""
    granted = [call for call in history.calls if call.kind in _GRANTING and call.ok and call.kid]
    first: dict[str, Call] = {}
    last_expiry: dict[str, float] = defaultdict(float)
    by_access: dict[str, Call] = {}
    for call in granted:
        known = first.setdefault(call.kid, call)
        if call.end < known.end:
            first[call.kid] = call
        by_access[call.access] = call
    for jwks in history.of(Kind.JWKS):
        if not jwks.ok:
            continue
        for kid, grant in first.items():
            if kid in jwks.kids or grant.end >= jwks.start:
                continue
            held = [one for one in granted if one.kid == kid and one.end < jwks.start]
            last_expiry[kid] = max(one.expires_at for one in held)
            if jwks.end < last_expiry[kid]:
                yield Violation("I5", grant, jwks, "the key of an unexpired token is not published")
    for verdict in history.of(Kind.VERIFY):
        grant_of = by_access.get(verdict.presented)
        unknown = verdict.ok and not verdict.active and verdict.reason == "UNKNOWN_KEY"
        if (
            unknown
            and grant_of is not None
            and grant_of.end < verdict.start
            and verdict.end < verdict.expires_at
        ):
            yield Violation("I5", grant_of, verdict, "a verifier does not know the key")
    del rules


def codes_go_once(history: History, rules: Rules) -> Iterator[Violation]:
    """I6: one code reaches WeChat at most once, and opens at most one session."""
    by_code: dict[str, list[Call]] = defaultdict(list)
    for call in history.of(Kind.LOGIN):
        by_code[call.presented].append(call)
    for code, calls in by_code.items():
        if history.arrivals.get(code, 0) > 1:
            yield Violation(
                "I6", calls[0], calls[-1], f"the code reached WeChat {history.arrivals[code]} times"
            )
        opened = [call for call in calls if call.ok]
        for call in opened[1:]:
            if call.session != opened[0].session:
                yield Violation("I6", opened[0], call, "two sessions of one code")
    del rules


def acknowledged_survives(history: History, rules: Rules) -> Iterator[Violation]:
    """
    I7: what was acknowledged is known from then on.

    No refresh of a session succeeds after its Revoke was acknowledged (the record is asked, so there is no bound),
    nor after it was told to have ended; and no token that was handed out is one that the record does not know.
    """
    deaths = Deaths(history)
    handed_out: dict[str, Call] = {}
    for call in history.calls:
        if call.kind in _GRANTING and call.ok:
            handed_out.setdefault(call.refresh, call)
    told: dict[str, Call] = {}
    for call in sorted(history.of(Kind.REFRESH), key=lambda call: call.end):
        if call.outcome is Outcome.REFUSED:
            if call.reason.startswith("SESSION_ENDED:"):
                told.setdefault(call.session, call)
            source = handed_out.get(call.presented)
            lost = call.reason in ("REFRESH_TOKEN_INVALID", "SESSION_ENDED:STORE_RESTORED")
            if lost and source is not None and source.end < call.start:
                yield Violation("I7", source, call, "an acknowledged token is unknown")
        elif call.ok:
            for revoke in deaths.before(call)[:1]:
                yield Violation("I7", revoke, call, "refreshed after the Revoke was acknowledged")
            ended = told.get(call.session)
            if ended is not None and ended.end < call.start:
                yield Violation("I7", ended, call, "refreshed after the session was told to have ended")
    del rules


def errors_grant_nothing(history: History, rules: Rules) -> Iterator[Violation]:
    """
    I8: nothing forged, expired or beyond the hard bound is ever accepted; what is no success hands nothing out; and
    every error is one that the contract knows.
    """
    for call in history.calls:
        granted = call.active if call.kind is Kind.VERIFY else bool(call.access or call.refresh)
        if not call.ok:
            if granted:
                yield Violation("I8", None, call, "an error that grants")
            if call.reason.partition(":")[0] in ("INTERNAL", "UNKNOWN"):
                yield Violation("I8", None, call, "an error that nobody foresaw")
        elif granted and call.presented.startswith(FORGED):
            yield Violation("I8", None, call, "a forged token is accepted")
        elif call.kind is Kind.VERIFY and granted:
            if call.start > call.expires_at + rules.leeway_s:
                yield Violation("I8", None, call, "an expired token is accepted")
            if call.age_s > rules.hard_bound_s + rules.rounding_s:
                yield Violation("I8", None, call, "active by knowledge older than the hard bound")


Judge = Callable[[History, Rules], Iterable[Violation]]
JUDGES: tuple[Judge, ...] = (
    revoked_stay_out,
    dead_stay_dead,
    one_tip,
    newest_works,
    keys_are_published,
    codes_go_once,
    acknowledged_survives,
    errors_grant_nothing,
)


class _Causes:
    """Who could have ended a session: each reason's author must be in the history."""

    def __init__(self, history: History, rules: Rules) -> None:
        self._rules = rules
        self._logins: dict[str, list[Call]] = defaultdict(list)
        self._user: dict[str, str] = {}
        self._named: dict[str, list[Call]] = defaultdict(list)
        self._everything: dict[str, list[Call]] = defaultdict(list)
        self._failed: dict[str, list[Call]] = defaultdict(list)
        for call in history.calls:
            if call.kind is Kind.LOGIN:
                self._logins[call.user].append(call)
                self._user[call.session] = call.user
            elif call.kind is Kind.REVOKE:
                (self._everything[call.user] if call.everything else self._named[call.session]).append(call)
            elif call.kind is Kind.REFRESH and not call.ok:
                self._failed[call.session].append(call)

    def has(self, refused: Call, reason: str) -> bool:
        """Tell whether a call that began before *refused* ended could have brought this about."""
        user = self._user[refused.session]
        if reason in _SELF_MADE:
            asked: list[Call] = self._named[refused.session] + self._everything[user]
            return any(call.start < refused.end for call in asked)
        if reason in ("REPLACED", "SUPERSEDED"):
            begun = [call for call in self._logins[user] if call.start < refused.end]
            return len(begun) > (self._rules.max_sessions if reason == "REPLACED" else 1)
        if reason in ("REFRESH_STALE", "REFRESH_REUSE"):
            # An older token came: a thief's, a late one, or a request that nobody waits for any more.
            failed = [call for call in self._failed[refused.session] if call.start < refused.end]
            if any(call.presented != refused.presented for call in failed):
                return True
            # Or somebody rotated this one without our receiving the successor, and too long ago.
            return reason == "REFRESH_STALE" and any(call.number != refused.number for call in failed)
        return False


def _active(history: History) -> Iterator[Call]:
    return (call for call in history.of(Kind.VERIFY) if call.ok and call.active)


def _rotations(history: History) -> Iterator[Call]:
    return (call for call in sorted(history.of(Kind.REFRESH), key=lambda call: call.end) if call.ok)
