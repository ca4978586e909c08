"""Sessions end once; what a presented refresh token does to one is a table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.ids import encode_id
from authsvc.domain.refresh_token import MAX_COUNTER, RefreshToken, hash_nonce
from authsvc.domain.sessions import (
    AlreadyEnded,
    End,
    Ended,
    EndReason,
    Foreign,
    Over,
    RefreshVerdict,
    Replay,
    Rotate,
    Session,
    judge_refresh,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GRACE = timedelta(seconds=30)
TICK = timedelta(microseconds=1)
NONCE = b"nonce-of-session"
SESSION = Session(
    session_id=encode_id(bytes(16)),
    user_id="user",
    app_id="app",
    openid="canary-openid",
    created_at=NOW - timedelta(days=1),
    rotated_at=NOW - timedelta(seconds=10),
    refresh_expires_at=NOW + timedelta(days=7),
    absolute_end=NOW + timedelta(days=29),
    access_expires_at=NOW + timedelta(hours=2),
    counter=5,
    nonce_hash=hash_nonce(NONCE),
    mac_key_id=b"key1",
    position=100,
)


def token(counter: int = 5, *, nonce: bytes = NONCE) -> RefreshToken:
    return RefreshToken(
        session_id=SESSION.session_id, counter=counter, key_id=b"key1", nonce=nonce, raw_session_id=bytes(16)
    )


def judge(
    session: Session, presented: RefreshToken, *, now: datetime = NOW, **changes: Any
) -> RefreshVerdict:
    rules: dict[str, Any] = {"grace": GRACE, "dead_below": 0, "dead_reason": EndReason.ADMIN, **changes}
    return judge_refresh(session, presented, now=now, **rules)


@pytest.mark.parametrize(
    ("counter", "expected"),
    [
        (0, End(EndReason.REFRESH_REUSE)),
        (3, End(EndReason.REFRESH_REUSE)),
        (4, Replay()),
        (5, Rotate()),
        (6, End(EndReason.STORE_RESTORED)),
        (MAX_COUNTER, End(EndReason.STORE_RESTORED)),
    ],
)
def test_a_live_session_judges_by_the_counter(counter: int, expected: RefreshVerdict) -> None:
    """
    Newest rotates, the one before replays, older is reuse, one never issued means a restored store.
    """
    assert judge(SESSION, token(counter)) == expected


@pytest.mark.parametrize(
    ("since_rotation", "grace", "expected"),
    [
        (timedelta(0), GRACE, Replay()),
        (GRACE - TICK, GRACE, Replay()),
        (GRACE, GRACE, Replay()),
        (GRACE + TICK, GRACE, End(EndReason.REFRESH_STALE)),
        (timedelta(days=1), GRACE, End(EndReason.REFRESH_STALE)),
        (TICK, timedelta(0), End(EndReason.REFRESH_STALE)),
        (timedelta(seconds=300), timedelta(seconds=300), Replay()),
        (-TICK, GRACE, Replay()),  # a clock set back a little is no theft
    ],
)
def test_the_grace_window_has_exact_ends(
    since_rotation: timedelta, grace: timedelta, expected: RefreshVerdict
) -> None:
    """
    The previous token replays up to and including the end of the window, and is stale a microsecond later.
    """
    session = replace(SESSION, rotated_at=NOW - since_rotation)

    assert judge(session, token(4), grace=grace) == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_replays_never_extend_the_window(offsets: list[int]) -> None:
    """
    However often the previous token comes, in whatever rhythm: what counts is the rotation.
    """
    for offset in sorted(offsets):
        verdict = judge(SESSION, token(4), now=SESSION.rotated_at + timedelta(seconds=offset))
        assert verdict == (Replay() if offset <= 30 else End(EndReason.REFRESH_STALE))


@pytest.mark.parametrize("counter", [0, 3, 4, 5, 6])
@pytest.mark.parametrize("reason", [reason for reason in EndReason if reason is not EndReason.UNSPECIFIED])
def test_an_ended_session_answers_with_its_first_reason(counter: int, reason: EndReason) -> None:
    """
    Neither counter, nor expiry, nor a revocation changes why it is over.
    """
    ended = SESSION.end(reason=reason, at=NOW, by="user")

    assert judge(ended, token(counter)) == Over(reason)
    assert judge(ended, token(counter), now=NOW + timedelta(days=400), dead_below=10**6) == Over(reason)


@pytest.mark.parametrize("counter", [0, 4, 5, 6])
def test_another_nonce_touches_nothing(counter: int) -> None:
    """
    A leaked MAC key alone neither rotates nor ends a session, live, expired, revoked or ended.
    """
    foreign = token(counter, nonce=b"nonce-of-another")

    assert judge(SESSION, foreign) == Foreign()
    assert judge(SESSION, foreign, now=NOW + timedelta(days=400)) == Foreign()
    assert judge(SESSION, foreign, dead_below=10**6) == Foreign()
    assert judge(SESSION.end(reason=EndReason.ADMIN, at=NOW, by="x"), foreign) == Foreign()


@pytest.mark.parametrize("counter", [3, 4, 5, 6])
@pytest.mark.parametrize(
    ("dead_below", "dies"), [(0, False), (99, False), (100, False), (101, True), (2**40, True)]
)
def test_a_revocation_kills_what_was_created_below_it(counter: int, dead_below: int, dies: bool) -> None:
    """
    Position strictly below: dead for the revocation's reason, before counter and expiry are looked at.
    """
    verdict = judge(SESSION, token(counter), dead_below=dead_below, dead_reason=EndReason.BLOCKED)

    assert (verdict == End(EndReason.BLOCKED)) == dies
    if dies:
        late = judge(SESSION, token(counter), now=NOW + timedelta(days=400), dead_below=dead_below)
        assert late == End(EndReason.ADMIN)


@pytest.mark.parametrize("counter", [3, 4, 5, 6])
@pytest.mark.parametrize(("after", "expired"), [(-TICK, False), (timedelta(0), True), (TICK, True)])
def test_idle_expiry_has_an_exact_end(counter: int, after: timedelta, expired: bool) -> None:
    """
    At `refresh_expires_at` the session is over for every counter, and `is_live` agrees.
    """
    now = SESSION.refresh_expires_at + after

    assert (judge(SESSION, token(counter), now=now) == End(EndReason.EXPIRED)) == expired
    assert SESSION.is_live(now=now) == (not expired)


@given(
    counter=st.integers(0, 10),
    since=st.integers(-5, 70),
    grace=st.integers(0, 60),
    position=st.integers(0, 5),
    dead_below=st.integers(0, 5),
    idle=st.integers(-2, 2),
    ended=st.booleans(),
    ours=st.booleans(),
)
def test_every_state_has_one_verdict(
    *,
    counter: int,
    since: int,
    grace: int,
    position: int,
    dead_below: int,
    idle: int,
    ended: bool,
    ours: bool,
) -> None:
    """
    The ladder written a second time, as sets: a token rotates or replays only in the states DESIGN section 3 names.
    """
    session = replace(
        SESSION,
        rotated_at=NOW - timedelta(seconds=since),
        refresh_expires_at=NOW + timedelta(seconds=idle),
        position=position,
        ended=Ended(EndReason.LOGOUT, NOW, "user") if ended else None,
    )
    verdict = judge(
        session,
        token(counter, nonce=NONCE if ours else b"x" * 16),
        grace=timedelta(seconds=grace),
        dead_below=dead_below,
    )
    alive = ours and not ended and position >= dead_below and idle > 0

    assert (verdict == Rotate()) == (alive and counter == 5)
    assert (verdict == Replay()) == (alive and counter == 4 and since <= grace)
    assert (verdict == End(EndReason.REFRESH_STALE)) == (alive and counter == 4 and since > grace)
    assert (verdict == End(EndReason.REFRESH_REUSE)) == (alive and counter < 4)
    assert (verdict == End(EndReason.STORE_RESTORED)) == (alive and counter > 5)
    assert isinstance(verdict, Foreign) == (not ours)
    assert isinstance(verdict, Over) == (ours and ended)


def test_a_session_ends_once() -> None:
    """
    The first reason stands; a second end raises and changes nothing; the old value is untouched.
    """
    ended = SESSION.end(reason=EndReason.LOGOUT, at=NOW, by="user")

    with pytest.raises(AlreadyEnded):
        ended.end(reason=EndReason.ADMIN, at=NOW + TICK, by="operator")
    assert ended.ended == Ended(EndReason.LOGOUT, NOW, "user")
    assert SESSION.ended is None
    assert replace(ended, ended=None) == SESSION
    assert not ended.is_live(now=NOW)


def test_no_secret_is_in_the_repr() -> None:
    """
    Neither openid nor nonce hash shows.
    """
    assert "canary" not in repr(SESSION)
    assert repr(SESSION.nonce_hash) not in repr(SESSION)
