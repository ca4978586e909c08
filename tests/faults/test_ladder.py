"""The ladder's judge and the report, on histories written by hand."""

import itertools
from typing import Any

import pytest

from tests.faults.history import Call, History, Interval, Kind, Outcome, Rules
from tests.faults.ladder import judge_outage, recovery_s
from tests.faults.report import summarize

RULES = Rules(hard_bound_s=5)
OUTAGE = Interval(100, 120)
_numbers = itertools.count()


def call(kind: Kind, start: float, *, takes: float = 0.1, **facts: Any) -> Call:
    facts.setdefault("outcome", Outcome.UNAVAILABLE)
    return Call(number=next(_numbers), kind=kind, target="r0", start=start, end=start + takes, **facts)


def refused(start: float, kind: Kind = Kind.LOGIN, **facts: Any) -> Call:
    return call(kind, start, **{"presented": "code1", "retry_s": 1.0, "reason": "STORE_UNAVAILABLE", **facts})


GOOD = {
    "refused in time": refused(101),
    "forged, decided without the record": refused(101, presented="forged-1", outcome=Outcome.REFUSED),
    "began before": refused(99.5, takes=3),
    "its caller left": refused(101, outcome=Outcome.LOST, reason="left", retry_s=None),
    "answered from memory": call(Kind.VERIFY, 103, outcome=Outcome.OK, active=True, age_s=3),
    "cannot know any more": call(Kind.VERIFY, 110),
    "dead is dead": call(Kind.VERIFY, 110, outcome=Outcome.OK),
    "read-your-writes waits in vain": call(Kind.VERIFY, 101, position=7),
}
BAD = {
    "a write that succeeds": refused(101, outcome=Outcome.OK),
    "without RetryInfo": refused(101, retry_s=None),
    "too late": refused(101, Kind.REVOKE, takes=1.1),
    "lost": refused(101, Kind.REFRESH, outcome=Outcome.LOST, reason="DEADLINE_EXCEEDED"),
    "its code was spent": refused(101, presented="code2"),
    "not from memory": call(Kind.VERIFY, 103),
    "accepted beyond the bound": call(Kind.VERIFY, 107, outcome=Outcome.OK, active=True, age_s=7),
}


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_what_an_outage_may_cost(name: str) -> None:
    """
    Each call by itself: allowed or not.
    """
    one = (GOOD | BAD)[name]
    history = History(calls=[one], arrivals={"code2": 1})
    found = list(judge_outage(history, OUTAGE, RULES, heard_until=100))
    assert [violation.second for violation in found] == ([one] if name in BAD else [])


def test_what_the_machine_stood_still_does_not_count() -> None:
    """
    A refusal that was late because nothing ran is in time.
    """
    history = History(calls=[BAD["too late"]], stalls=[Interval(101.2, 101.9)])
    assert list(judge_outage(history, OUTAGE, RULES, heard_until=100)) == []


def test_recovery_is_when_the_last_kind_of_write_succeeds() -> None:
    """
    From the outage's end to the first success of the slowest kind, less standstills; infinite if one never does.
    """
    calls = [
        call(Kind.LOGIN, 120.1, outcome=Outcome.OK),
        call(Kind.REFRESH, 121.9, outcome=Outcome.OK),
        call(Kind.LOGIN, 130, outcome=Outcome.OK),
    ]
    history = History(calls=calls, stalls=[Interval(121, 121.5)])
    assert recovery_s(history, OUTAGE) == float("inf")
    history.calls.append(call(Kind.REVOKE, 121, outcome=Outcome.OK))
    assert recovery_s(history, OUTAGE) == pytest.approx(1.5)


def test_the_lag_is_the_last_time_it_was_still_believed() -> None:
    """
    Per revocation and target, from the acknowledgement to the start of the last active verdict; zero without one.
    """
    ok: dict[str, Any] = {"outcome": Outcome.OK, "session": "s1"}
    calls = [
        call(Kind.REVOKE, 1, **ok),
        call(Kind.VERIFY, 1.05, active=True, **ok),  # before the acknowledgement
        call(Kind.VERIFY, 1.2, active=True, **ok),
        call(Kind.VERIFY, 1.4, active=True, **ok),
        call(Kind.VERIFY, 1.6, **ok),
        call(Kind.REVOKE, 5, outcome=Outcome.OK, session="s2"),
        call(Kind.VERIFY, 6, outcome=Outcome.OK, session="s2"),
    ]
    report = summarize(History(calls=calls), kills=3)
    assert list(report.lags) == pytest.approx([0.0, 0.3])
    assert report.ok(Kind.REVOKE) == 2
    assert str(report).startswith("7 calls, 3 kills; ")
