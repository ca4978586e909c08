"""The checker itself: a correct history has no violation, and each way to break a promise is found, with its proof."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import JUDGES, Violation, check
from tests.faults.history import Call, History, Interval, Kind, Outcome, Rules

RULES = Rules(hard_bound_s=10, grace_s=5, max_sessions=2)


class Play:
    """A history written down by hand: every call takes a tenth of a second unless told, starting when told."""

    def __init__(self) -> None:
        self.history = History()
        self._numbers = itertools.count()

    def call(self, kind: Kind, at: float, **facts: Any) -> Call:
        facts.setdefault("target", "r0")
        facts.setdefault("outcome", Outcome.OK)
        call = Call(
            number=next(self._numbers), kind=kind, start=at, end=at + facts.pop("takes", 0.1), **facts
        )
        self.history.calls.append(call)
        return call

    def login(self, at: float, session: str = "s1", **facts: Any) -> Call:
        made = {
            "user": "u1",
            "presented": f"code-{session}",
            "access": f"{session}/a0",
            "refresh": f"{session}/r0",
        }
        return self.call(Kind.LOGIN, at, session=session, kid="k1", expires_at=7200.0, **{**made, **facts})

    def refresh(self, at: float, old: int, new: int, session: str = "s1", **facts: Any) -> Call:
        made = {
            "access": f"{session}/a{new}",
            "refresh": f"{session}/r{new}",
            "presented": f"{session}/r{old}",
        }
        return self.call(Kind.REFRESH, at, session=session, kid="k1", **{**made, **facts})

    def refused(self, at: float, old: int, reason: str, session: str = "s1", **facts: Any) -> Call:
        facts = {"outcome": Outcome.REFUSED, "reason": reason, "presented": f"{session}/r{old}"} | facts
        return self.call(Kind.REFRESH, at, session=session, **facts)

    def verify(self, at: float, *, active: bool = True, session: str = "s1", **facts: Any) -> Call:
        facts.setdefault("presented", f"{session}/a0")
        facts.setdefault("reason", "" if active else "SESSION_REVOKED")
        return self.call(Kind.VERIFY, at, session=session, active=active, **facts)

    def revoke(self, at: float, session: str = "s1", **facts: Any) -> Call:
        return self.call(Kind.REVOKE, at, session=session, **{"user": "u1", "position": 7, **facts})

    def disturb(self, start: float, end: float) -> Interval:
        self.history.disturbances.append(Interval(start, end))
        return self.history.disturbances[-1]

    def jwks(self, at: float, *kids: str) -> Call:
        return self.call(Kind.JWKS, at, kids=frozenset(kids))

    def check(self, rules: Rules = RULES) -> list[Violation]:
        return check(self.history, rules)


def honest(play: Play) -> None:
    """Everything an honest service may do, delays and losses included."""
    play.login(0)
    play.login(0.5, "s2", user="u2")
    play.verify(1)
    play.refresh(2, 0, 1)
    play.refresh(4, 0, 1, access="s1/a1b")  # a lost reply, asked for again
    play.refresh(5, 1, 2)
    play.call(Kind.REFRESH, 6, session="s1", presented="s1/r2", outcome=Outcome.LOST)
    play.refresh(8, 2, 3)
    play.jwks(9, "k1", "k2")
    play.revoke(10)
    play.verify(10.2, age_s=0.3)  # has not heard of it yet
    play.verify(10.3, active=False, target="r1", verifier="r1")
    play.verify(10.5, age_s=0.6)
    play.verify(11.5, active=False, verifier="r0")
    play.verify(12, active=False, position=7, target="r1", verifier="r1")
    play.refused(13, 3, "SESSION_ENDED:LOGOUT")
    play.verify(14, session="s2")
    play.refused(15, 0, "REFRESH_TOKEN_INVALID", "x", presented="forged-1")
    play.verify(16, active=False, reason="MALFORMED", presented="forged-2", session="")
    play.call(
        Kind.VERIFY, 17, session="s2", presented="s2/a0", outcome=Outcome.UNAVAILABLE, reason="NOT_FRESH"
    )
    play.history.arrivals.update({"code-s1": 1, "code-s2": 1})


def test_an_honest_history_has_no_violation() -> None:
    """
    Lag within the bounds, lost replies asked for again, ends with a cause, outages: none of it is a violation.
    """
    play = Play()
    honest(play)
    assert play.check() == []


Plant = Callable[[Play], object]


def several(*_: object) -> None:
    """Do one after the other."""


def replaying(play: Play) -> Call:
    play.login(0)
    return play.refresh(1, 0, 1)


def revoked(play: Play) -> Call:
    play.login(0)
    play.verify(0.5)
    return play.revoke(1)


BAD: dict[str, tuple[str, Plant, Plant]] = {
    "active in peace beyond the target": ("I1", revoked, lambda play: play.verify(2.3, age_s=2)),
    "active although at_least covers it": (
        "I1",
        revoked,
        lambda play: play.verify(1.15, position=7, age_s=1),
    ),
    "active by a log read after it": ("I1", revoked, lambda play: play.verify(1.5, age_s=0.3)),
    "active beyond the hard bound, cut off": (
        "I1",
        lambda play: several(revoked(play), play.disturb(0, 99)),
        lambda play: play.verify(11.2, age_s=10),
    ),
    "another session of a user who was ended altogether": (
        "I1",
        lambda play: several(
            revoked(play),
            play.login(2, "s3", user="u9"),
            play.revoke(3, "", user="u9", everything=True),
        ),
        lambda play: play.verify(5, session="s3", age_s=3),
    ),
    "active again at the same verifier": (
        "I2",
        lambda play: several(revoked(play), play.verify(1.2, active=False, verifier="r0")),
        lambda play: play.verify(1.4, verifier="r0", age_s=0.5),
    ),
    "active again elsewhere, long after": (
        "I2",
        lambda play: several(play.login(0), play.verify(0.3, active=False, reason="EXPIRED", target="r1")),
        lambda play: play.verify(1.5),
    ),
    "two successors": ("I3", replaying, lambda play: play.refresh(2, 0, 1, refresh="s1/r1x")),
    "its own successor": ("I3", replaying, lambda play: play.refresh(2, 1, 1)),
    "beyond the grace window": ("I3", replaying, lambda play: play.refresh(6.2, 0, 1)),
    "two behind": (
        "I3",
        lambda play: several(replaying(play), play.refresh(2, 1, 2)),
        lambda play: play.refresh(3, 0, 1),
    ),
    "the newest token is unknown": (
        "I4",
        replaying,
        lambda play: play.refused(3, 1, "REFRESH_TOKEN_INVALID"),
    ),
    "ended without a reason": ("I4", replaying, lambda play: play.refused(3, 1, "SESSION_ENDED:UNSPECIFIED")),
    "logged out by nobody": ("I4", replaying, lambda play: play.refused(3, 1, "SESSION_ENDED:LOGOUT")),
    "replaced below the cap": ("I4", replaying, lambda play: play.refused(3, 1, "SESSION_ENDED:REPLACED")),
    "stale without a lost reply": (
        "I4",
        replaying,
        lambda play: play.refused(3, 1, "SESSION_ENDED:REFRESH_STALE"),
    ),
    "reuse by nobody": ("I4", replaying, lambda play: play.refused(3, 1, "SESSION_ENDED:REFRESH_REUSE")),
    "key not published": ("I5", replaying, lambda play: play.jwks(3, "k2")),
    "key unknown to a verifier": (
        "I5",
        replaying,
        lambda play: play.verify(3, active=False, reason="UNKNOWN_KEY"),
    ),
    "a code that went twice": (
        "I6",
        lambda play: play.history.arrivals.update({"code-s1": 2}),
        lambda play: play.login(0),
    ),
    "two sessions of one code": (
        "I6",
        lambda play: play.login(0),
        lambda play: play.login(1, "s2", user="u2", presented="code-s1"),
    ),
    "refreshed after the revoke": ("I7", revoked, lambda play: play.refresh(1.2, 0, 1)),
    "refreshed after it was told to be over": (
        "I7",
        lambda play: several(
            play.login(0), play.refused(1, 0, "SESSION_ENDED:LOGOUT"), play.revoke(0.5, takes=9)
        ),
        lambda play: play.refresh(3, 0, 1),
    ),
    "an acknowledged login that is gone": (
        "I7",
        lambda play: play.login(0),
        lambda play: play.refused(1, 0, "SESSION_ENDED:STORE_RESTORED"),
    ),
    "an acknowledged rotation that is gone": (
        "I7",
        replaying,
        lambda play: play.refused(3, 1, "SESSION_ENDED:STORE_RESTORED"),
    ),
    "a forged token": ("I8", replaying, lambda play: play.verify(3, presented="forged-1", session="")),
    "a forged refresh token": (
        "I8",
        replaying,
        lambda play: play.refresh(3, 9, 1, presented="forged-1", session="forged"),
    ),
    "an error with tokens": (
        "I8",
        replaying,
        lambda play: play.refresh(3, 1, 2, outcome=Outcome.UNAVAILABLE),
    ),
    "an error nobody foresaw": (
        "I8",
        replaying,
        lambda play: play.verify(3, active=False, outcome=Outcome.REFUSED, reason="INTERNAL"),
    ),
    "an expired token": ("I8", replaying, lambda play: play.verify(20, expires_at=14.9)),
    "older than the hard bound": ("I8", replaying, lambda play: play.verify(20, age_s=10.1)),
}


@pytest.mark.parametrize("name", BAD)
def test_each_way_to_break_a_promise_is_found(name: str) -> None:
    """
    Before the bad call nothing is found; with it, its invariant is, and the bad call is the one that proves it.
    """
    invariant, before, plant = BAD[name]
    play = Play()
    before(play)
    assert [one for one in play.check() if one.invariant == invariant] == []
    plant(play)

    found = [one for one in play.check() if one.invariant == invariant]
    assert found
    assert {one.second for one in found} <= set(play.history.calls[-1:])


def test_every_judge_is_tried() -> None:
    """
    The planted histories cover all eight invariants.
    """
    assert {invariant for invariant, _, _ in BAD.values()} == {f"I{number}" for number in range(1, 9)}
    assert len(JUDGES) == 8


@pytest.mark.parametrize("name", ["disturbances", "stalls"])
def test_what_the_verifier_could_not_help_is_no_violation(name: str) -> None:
    """
    A second that was ours or the machine's does not count towards the target, at the target that it struck.
    """
    for prefix, count in (("r0", 0), ("r1", 1)):
        play = Play()
        revoked(play)
        getattr(play.history, name).append(Interval(1.2, 3.2, prefix))
        play.verify(3.5, age_s=3)
        assert len(play.check()) == count


def test_overlapping_disturbances_are_counted_once() -> None:
    """
    Two that overlap cover their union, clipped to what is asked about.
    """
    history = History(disturbances=[Interval(0, 2), Interval(1, 4), Interval(6, 9)], stalls=[Interval(3, 5)])
    assert history.undisturbed_s(1, 7, "r0") == pytest.approx(1)


def test_calls_that_overlap_prove_nothing() -> None:
    """
    A verdict, or a refresh, that began before the Revoke was acknowledged may have come first.
    """
    play = Play()
    play.login(0)
    play.revoke(1, takes=3)
    play.verify(3.9, age_s=0)
    play.refresh(3.9, 0, 1)
    assert play.check() == []


def test_a_login_beside_the_end_of_all_sessions_may_live() -> None:
    """
    Ending all of a user's sessions ends those that existed; of a login that overlaps it nobody knows.
    """
    play = Play()
    play.login(0, takes=5)
    play.revoke(1, "", everything=True)
    play.verify(20, age_s=0)
    assert play.check() == []


@pytest.mark.parametrize("reason", ["REPLACED", "REFRESH_STALE", "REFRESH_REUSE", "ADMIN"])
def test_an_end_with_a_cause_is_no_violation(reason: str) -> None:
    """
    More logins than the cap, a successor that was never received, a late duplicate, an operator.
    """
    play = Play()
    replaying(play)
    play.login(1.5, "s2")
    play.login(1.6, "s3")
    play.call(Kind.REFRESH, 1.8, session="s1", presented="s1/r0", outcome=Outcome.LOST)
    play.call(Kind.REFRESH, 2, session="s1", presented="s1/r1", outcome=Outcome.LOST)
    play.revoke(2.5, "", everything=True, outcome=Outcome.UNAVAILABLE)
    play.refused(9, 1, f"SESSION_ENDED:{reason}")
    assert play.check() == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("lrvdk"), st.integers(0, 2), st.floats(0, 0.9)), max_size=40),
    st.data(),
)
def test_a_correct_service_is_never_accused(steps: list[tuple[str, int, float]], data: st.DataObject) -> None:
    """
    Random calls on a model that keeps every promise: nothing is found. And when one revoked session is called
    active at the end, exactly that is.
    """
    play, model = Play(), _Model()
    for number, (what, which, lag) in enumerate(steps):
        model.step(play, at=float(number), what=what, session=f"s{which}", lag=lag)
    rules = replace(RULES, max_sessions=99, grace_s=1000)
    assert play.check(rules) == []
    if dead := sorted(model.dead):
        play.verify(1000, session=data.draw(st.sampled_from(dead)), age_s=0.1)
        assert {one.invariant for one in play.check(rules)} >= {"I1"}


class _Model:
    """Sessions with a counter; a verifier that hears of a revocation after less than a second."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.dead: dict[str, float] = {}

    def step(self, play: Play, *, at: float, what: str, session: str, lag: float) -> None:
        if what == "l" and session not in self.counters:
            play.login(at, session)
            self.counters[session] = 0
        if session not in self.counters:
            return
        counter = self.counters[session]
        if what == "r" and session in self.dead:
            play.refused(at, counter, "SESSION_ENDED:LOGOUT", session)
        elif what == "r":
            play.refresh(at, counter, counter + 1, session)
            self.counters[session] = counter + 1
        elif what == "v":
            hears = session not in self.dead or at > self.dead[session] + lag
            play.verify(
                at, session=session, active=session not in self.dead or not hears, age_s=lag, verifier="r0"
            )
        elif what == "d":
            play.revoke(at, session)
            self.dead.setdefault(session, at + 0.1)
        elif what == "k":
            play.jwks(at, "k1")
