"""Judges a history of a database outage against the ladder (DESIGN section 11). Pure, like the checker."""

from collections.abc import Iterator

from tests.faults.checker import FORGED, Violation
from tests.faults.history import Call, History, Interval, Kind, Outcome, Rules

ANSWER_WITHIN_S = 1.0
RECOVERED_WITHIN_S = 5.0
_WRITES = frozenset({Kind.LOGIN, Kind.REFRESH, Kind.REVOKE})


def judge_outage(
    history: History, outage: Interval, rules: Rules, *, heard_until: float
) -> Iterator[Violation]:
    """
    Yield what the outage cost beyond what it may.

    Of calls that began and ended within it: writes answered UNAVAILABLE with RetryInfo within a second, and their
    codes did not reach WeChat; VerifyToken answered from memory until a second before the hard bound, and accepted
    nothing later than a second after it. That bound counts from *heard_until*, when the database began to go.
    """
    for call in history.calls:
        if call.start < outage.start or call.end > outage.end or call.presented.startswith(FORGED):
            continue
        if call.kind in _WRITES and call.reason != "left":
            yield from _write(call, history)
        elif call.kind is Kind.VERIFY and call.position is None:
            yield from _verdict(call, heard_until, rules)


def recovery_s(history: History, outage: Interval) -> float:
    """Return how long after the outage each kind of write had succeeded again, less the machine's standstills."""
    firsts = []
    for kind in _WRITES:
        starts = [call.end for call in history.of(kind) if call.ok and call.end > outage.end]
        firsts.append(min(starts, default=float("inf")))
    return _awake_s(history, outage.end, max(firsts)) if max(firsts) < float("inf") else float("inf")


def _write(call: Call, history: History) -> Iterator[Violation]:
    if call.outcome is not Outcome.UNAVAILABLE or call.retry_s is None:
        yield Violation("ladder", None, call, "not UNAVAILABLE with RetryInfo")
    elif _awake_s(history, call.start, call.end) >= ANSWER_WITHIN_S:
        yield Violation("ladder", None, call, "not within a second")
    elif call.kind is Kind.LOGIN and history.arrivals.get(call.presented, 0):
        yield Violation("ladder", None, call, "its code was spent")


def _verdict(call: Call, heard_until: float, rules: Rules) -> Iterator[Violation]:
    since = call.start - heard_until
    if since < rules.hard_bound_s - 1 and not call.ok:
        yield Violation("ladder", None, call, "not answered from memory")
    elif since > rules.hard_bound_s + 1 and call.ok and call.active:
        yield Violation("ladder", None, call, "accepted beyond the hard bound")


def _awake_s(history: History, start: float, end: float) -> float:
    return History(stalls=history.stalls).undisturbed_s(start, end, "")
