"""The life of signing keys, whatever is asked of them in whatever order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.apps import FACT_MARGIN, LEEWAY
from authsvc.domain.signing_keys import (
    PUBLISHED_AHEAD,
    IllegalMove,
    KeyLife,
    KeyProblemKind,
    KeyState,
    NotActivated,
    activate,
    activate_first,
    active,
    rotate_if_due,
    successor,
    withdraw,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
AHEAD = PUBLISHED_AHEAD
ORDER = list(KeyState)


def key(kid: str, state: KeyState = KeyState.PREPARED, **more: datetime | None) -> KeyLife:
    return replace(KeyLife(kid=kid, state=state, created_at=NOON, published_at=NOON), **more)  # type: ignore[arg-type]


def apply(keys: Sequence[KeyLife], changed: Sequence[KeyLife]) -> list[KeyLife]:
    by_kid = {one.kid: one for one in changed}
    return [by_kid.get(one.kid, one) for one in keys]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "activate", "rotate", "first", "withdraw", "due"]),
        st.integers(0, 5),
        st.integers(0, 20 * 60),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_is_done_in_whatever_order(steps: list[tuple[str, int, int, bool]]) -> None:
    """
    At most one key is active, and one is as long as one was and any is prepared; no key ever moves back; a key that was
    not long enough in the open signs only where nobody asked for that, or where there was no other.
    """
    keys: list[KeyLife] = []
    now = NOON
    for verb, number, seconds, patient in steps:
        now += timedelta(seconds=seconds)
        kid, published_for = f"k{number}", AHEAD if patient else timedelta(0)
        before = {one.kid: one for one in keys}
        changed: Sequence[KeyLife] = ()
        if verb == "add":
            if kid not in before:
                keys.append(KeyLife(kid, KeyState.PREPARED, created_at=now, published_at=now))
            continue
        if verb in ("activate", "rotate"):
            outcome = activate(keys, kid if verb == "activate" else "", now=now, published_for=published_for)
            changed = () if isinstance(outcome, NotActivated) else outcome
        elif verb == "first":
            changed = activate_first(keys, now=now)
        elif verb == "withdraw":
            changed = withdraw(keys, kid, now=now) or ()
        else:
            changed = rotate_if_due(keys, now=now, every=DAY / 48, published_for=published_for, held=before)
        had_active = active(keys) is not None
        keys = apply(keys, changed)

        assert sum(one.state is KeyState.ACTIVE for one in keys) <= 1
        if had_active:
            assert active(keys) is not None or successor(keys) is None
        for one in keys:
            was = before[one.kid]
            assert ORDER.index(was.state) <= ORDER.index(one.state)
            assert (was.state is KeyState.WITHDRAWN) <= (one == was)
            assert (one.state is KeyState.ACTIVE) <= (one.activated_at is not None)
            assert (one.state is KeyState.RETIRED) == (
                one.retired_at is not None and one.withdrawn_at is None
            )
            if (
                patient
                and verb in ("activate", "rotate", "due")
                and one.state is not was.state is KeyState.PREPARED
            ):
                assert one.published_for(now) >= AHEAD


@pytest.mark.parametrize("state", KeyState)
def test_only_moves_forward_are_moves(state: KeyState) -> None:
    """
    The table, whole: prepared to active or withdrawn, active to retired or withdrawn, retired to withdrawn.
    """
    legal = {
        KeyState.PREPARED: {KeyState.ACTIVE, KeyState.WITHDRAWN},
        KeyState.ACTIVE: {KeyState.RETIRED, KeyState.WITHDRAWN},
        KeyState.RETIRED: {KeyState.WITHDRAWN},
        KeyState.WITHDRAWN: set(),
    }[state]
    for target in KeyState:
        if target in legal:
            assert target is key("k", state).to(target, now=NOON).state
        else:
            with pytest.raises(IllegalMove):
                key("k", state).to(target, now=NOON)


def test_a_key_must_have_been_published_as_long_as_any_cache_lasts() -> None:
    """
    One second short is refused, with what is missing; at the second it takes over, and what signed is retired.
    """
    keys = [key("old", KeyState.ACTIVE), key("new")]
    early = activate(keys, now=NOON + AHEAD - timedelta(seconds=1), published_for=AHEAD)
    assert early == NotActivated(KeyProblemKind.TOO_YOUNG, "new", timedelta(seconds=1))
    changed = activate(keys, now=NOON + AHEAD, published_for=AHEAD)

    assert not isinstance(changed, NotActivated)
    assert [(one.kid, one.state) for one in changed] == [("old", KeyState.RETIRED), ("new", KeyState.ACTIVE)]
    assert [one.retired_at or one.activated_at for one in changed] == [NOON + AHEAD] * 2


def test_a_key_whose_publication_nobody_noted_is_never_old_enough() -> None:
    """
    Its record may be of a replica that is long gone.
    """
    outcome = activate([key("new", published_at=None)], now=NOON + 1000 * DAY, published_for=AHEAD)
    assert outcome == NotActivated(KeyProblemKind.TOO_YOUNG, "new", AHEAD)


@pytest.mark.parametrize(
    ("kid", "problem"),
    [
        ("nobody", KeyProblemKind.UNKNOWN),
        ("active", KeyProblemKind.NOT_PREPARED),
        ("retired", KeyProblemKind.NOT_PREPARED),
        ("withdrawn", KeyProblemKind.NOT_PREPARED),
        ("", KeyProblemKind.NONE_PREPARED),
    ],
)
def test_what_cannot_become_active_is_said(kid: str, problem: KeyProblemKind) -> None:
    """
    Unknown, in another state, or nothing there: each by its own word, and nothing changes.
    """
    keys = [key(state.value, state) for state in KeyState if state is not KeyState.PREPARED]
    outcome = activate(keys, kid, now=NOON + DAY, published_for=AHEAD)
    assert isinstance(outcome, NotActivated)
    assert problem is outcome.problem


def test_a_withdrawn_active_key_is_followed_at_once_however_young_the_next() -> None:
    """
    Nobody waits for caches where a key is in other hands; a withdrawn prepared or retired one changes nothing else.
    """
    keys = [
        key("old", KeyState.ACTIVE),
        key("next"),
        key("later", created_at=NOON + DAY),
        key("r", KeyState.RETIRED),
    ]

    changed = withdraw(keys, "old", now=NOON)
    assert changed is not None
    assert [(one.kid, one.state) for one in changed] == [
        ("old", KeyState.WITHDRAWN),
        ("next", KeyState.ACTIVE),
    ]
    for kid in ("next", "r"):
        gone = withdraw(keys, kid, now=NOON)
        assert gone is not None
        assert [(one.kid, one.state) for one in gone] == [(kid, KeyState.WITHDRAWN)]
    assert withdraw(apply(keys, changed), "old", now=NOON) == ()
    assert withdraw(keys, "nobody", now=NOON) is None


@given(st.integers(0, 10_000_000), st.integers(60, 86_400))
def test_a_retired_key_is_published_while_a_token_of_it_may_be_accepted(
    after_s: int, lifetime_s: int
) -> None:
    """
    A token signed in its last moment lives the longest lifetime, and the leeway: never is the key gone before that.
    """
    lifetime, now = timedelta(seconds=lifetime_s), NOON + timedelta(seconds=after_s)
    retired = key("k", KeyState.RETIRED, retired_at=NOON)

    if now <= NOON + lifetime + LEEWAY:
        assert retired.is_published(now=now, longest_lifetime=lifetime)
    if now >= NOON + lifetime + LEEWAY + FACT_MARGIN:
        assert not retired.is_published(now=now, longest_lifetime=lifetime)
    assert not key("k", KeyState.WITHDRAWN).is_published(now=now, longest_lifetime=lifetime)
    assert key("k").is_published(now=now, longest_lifetime=lifetime)


def due(
    keys: Sequence[KeyLife], now: datetime, *, held: str = "new", every: timedelta | None = DAY
) -> list[str]:
    changed = rotate_if_due(keys, now=now, every=every, published_for=AHEAD, held=held.split())
    return [one.kid for one in changed if one.state is KeyState.ACTIVE]


def test_a_schedule_takes_the_next_key_that_the_asker_holds() -> None:
    """
    At the day, not before; a key nobody here could sign with, or that is too young, does not take over; without a
    schedule nothing ever does.
    """
    keys = [key("old", KeyState.ACTIVE, activated_at=NOON), key("new", created_at=NOON + timedelta(hours=1))]

    assert due(keys, NOON + DAY - timedelta(seconds=1)) == []
    assert due(keys, NOON + DAY) == ["new"]
    assert due(keys, NOON + DAY, held="old") == []
    assert due(keys, NOON + DAY, every=None) == []
    young = [keys[0], key("new", published_at=NOON + DAY)]
    assert due(young, NOON + DAY) == []
    assert due(keys[1:], NOON + DAY) == []


def test_a_key_with_an_instant_of_its_own_waits_for_it() -> None:
    """
    It takes over then, with or without a schedule, and a schedule passes it over until then.
    """
    timed = key("timed", activate_at=NOON + 2 * DAY)
    keys = [
        key("old", KeyState.ACTIVE, activated_at=NOON),
        timed,
        key("new", created_at=NOON + timedelta(hours=1)),
    ]

    assert due(keys, NOON + DAY, held="timed new") == ["new"]
    assert due(keys, NOON + 2 * DAY, held="timed new", every=None) == ["timed"]
    assert due(keys, NOON + 2 * DAY, held="timed new") == ["timed"]
    (_, begun) = rotate_if_due(keys, now=NOON + 2 * DAY, every=None, published_for=AHEAD, held=["timed"])
    assert (begun.activate_at, begun.activated_at) == (None, NOON + 2 * DAY)
