"""
Access tokens live, overlap, run out and are refused as WeChat's do, at any instant.
"""

import re
from datetime import UTC, datetime, timedelta

import pytest

from authsvc.sandbox import BadInput, Grant, Limits, Refusal, World
from authsvc.sandbox.tokens import AccessTokens
from tests.fakes import SeededEntropy
from tests.sandbox.wire import D1, D2

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def tokens(world: World) -> AccessTokens:
    return world.tokens


def limited(**limits: int) -> AccessTokens:
    return World(entropy=SeededEntropy(5), limits=Limits(**limits)).tokens


def granted(outcome: Grant | Refusal) -> Grant:
    assert isinstance(outcome, Grant)
    return outcome


def ordinary(tokens: AccessTokens, now: datetime = T0) -> str:
    return granted(tokens.ordinary(D1, now=now)).access_token


def stable(tokens: AccessTokens, now: datetime = T0, *, force: bool = False) -> str:
    return granted(tokens.stable(D1, force=force, now=now)).access_token


def test_a_token_has_the_real_shape_and_stays_out_of_reprs(tokens: AccessTokens) -> None:
    """
    Digits, an underscore, base64url text, 136 characters; two hours; not in a repr.
    """
    for grant in (tokens.ordinary(D1, now=T0), tokens.stable(D1, force=False, now=T0)):
        made = granted(grant)
        assert re.fullmatch(r"[0-9]+_[A-Za-z0-9_-]+", made.access_token)
        assert (len(made.access_token), made.expires_in) == (136, 7200)
        assert made.access_token not in repr(made)


def test_a_long_token_for_storage_tests(tokens: AccessTokens) -> None:
    """
    On request an app's tokens have up to 512 characters, and work.
    """
    tokens.set_length(D1, 512)
    token = stable(tokens)
    assert len(token) == 512
    assert tokens.judge(token, now=T0) == D1
    assert len(granted(tokens.stable(D2, force=False, now=T0)).access_token) == 136
    for wrong in (135, 513):
        with pytest.raises(BadInput):
            tokens.set_length(D1, wrong)


def test_each_ordinary_call_retires_the_token_before(tokens: AccessTokens) -> None:
    """
    The superseded token works 300 s more and is then 40001, though its two hours are not over.
    """
    first, second = ordinary(tokens), ordinary(tokens, T0 + 10 * SECOND)
    assert first != second
    assert tokens.judge(first, now=T0 + 309 * SECOND) == D1
    assert tokens.judge(first, now=T0 + 310 * SECOND) == Refusal(40001)
    assert tokens.judge(second, now=T0 + 7209 * SECOND) == D1
    assert tokens.judge(second, now=T0 + 7210 * SECOND) == Refusal(42001)


def test_a_retired_token_is_not_revived(tokens: AccessTokens) -> None:
    """
    Two calls shortly before its end give the old token no second longer.
    """
    first = ordinary(tokens)
    ordinary(tokens, T0 + 7100 * SECOND)
    assert tokens.judge(first, now=T0 + 7200 * SECOND) == Refusal(42001)


def test_the_daily_quota_of_ordinary_tokens(world: World) -> None:
    """
    The call beyond the quota is 45009 until midnight in China, for this app alone.
    """
    tokens = limited(token_per_day=3)
    midnight = datetime(2026, 1, 1, 16, tzinfo=UTC)
    for _ in range(3):
        ordinary(tokens, T0)
    assert tokens.ordinary(D1, now=midnight - SECOND) == Refusal(45009)
    assert isinstance(tokens.ordinary(D2, now=T0), Grant)
    assert isinstance(tokens.ordinary(D1, now=midnight), Grant)
    assert Limits().token_per_day == 2000


def test_the_stable_token_stays_while_it_has_more_than_five_minutes(tokens: AccessTokens) -> None:
    """
    The same text with the seconds that are left, never fewer than 300.
    """
    first = stable(tokens)
    for second in (1, 3600, 6899):
        again = granted(tokens.stable(D1, force=False, now=T0 + second * SECOND))
        assert (first, 7200 - second) == (again.access_token, again.expires_in)
    almost = granted(tokens.stable(D1, force=False, now=T0 + timedelta(seconds=6899.999)))
    assert (first, 300) == (almost.access_token, almost.expires_in)


def test_the_stable_token_is_renewed_with_an_overlap(tokens: AccessTokens) -> None:
    """
    Within its last 300 s a new one is handed out, and both work until the old one's end.
    """
    first = stable(tokens)
    renewed = granted(tokens.stable(D1, force=False, now=T0 + 6900 * SECOND))
    assert renewed.access_token != first
    assert renewed.expires_in == 7200
    assert tokens.judge(first, now=T0 + 7199 * SECOND) == D1
    assert tokens.judge(first, now=T0 + 7200 * SECOND) == Refusal(42001)
    assert tokens.judge(renewed.access_token, now=T0 + 7200 * SECOND) == D1


def test_the_two_families_leave_each_other_alone(tokens: AccessTokens) -> None:
    """
    Neither an ordinary call nor a forced refresh ends a token of the other kind.
    """
    kept_stable, kept_ordinary = stable(tokens), ordinary(tokens)
    stable(tokens, T0 + 60 * SECOND, force=True)
    assert tokens.judge(kept_ordinary, now=T0 + 400 * SECOND) == D1
    assert tokens.judge(kept_stable, now=T0 + 60 * SECOND) == Refusal(40001)
    fresh = stable(tokens, T0 + 61 * SECOND)
    ordinary(tokens, T0 + 62 * SECOND)
    assert tokens.judge(fresh, now=T0 + 4000 * SECOND) == D1


def test_force_kills_at_once_and_not_within_thirty_seconds(tokens: AccessTokens) -> None:
    """
    A forced refresh ends the token immediately; a second one inside 30 s returns the current one.
    """
    first = stable(tokens)
    second = stable(tokens, force=True)
    assert first != second
    assert tokens.judge(first, now=T0) == Refusal(40001)
    inside = granted(tokens.stable(D1, force=True, now=T0 + 29 * SECOND))
    assert (second, 7171) == (inside.access_token, inside.expires_in)
    assert stable(tokens, T0 + 30 * SECOND, force=True) != second


def test_force_has_a_daily_limit() -> None:
    """
    The twenty-first forced refresh of a day is 45009; normal mode goes on with the same token.
    """
    tokens = limited()
    for number in range(20):
        last = stable(tokens, T0 + 30 * number * SECOND, force=True)
    later = T0 + 700 * SECOND
    assert tokens.stable(D1, force=True, now=later) == Refusal(45009)
    assert stable(tokens, later) == last
    assert isinstance(tokens.stable(D1, force=True, now=later + timedelta(days=1)), Grant)


def test_the_limits_of_stable_tokens() -> None:
    """
    Too many calls in a minute are 45011, in a day 45009.
    """
    tokens = limited(stable_per_minute=2, stable_per_day=3)
    for _ in range(2):
        stable(tokens)
    assert tokens.stable(D1, force=False, now=T0 + 59 * SECOND) == Refusal(45011)
    stable(tokens, T0 + 60 * SECOND)
    assert tokens.stable(D1, force=False, now=T0 + 120 * SECOND) == Refusal(45009)
    assert (Limits().stable_per_minute, Limits().stable_per_day) == (10_000, 500_000)


@pytest.mark.parametrize(
    ("text", "errcode"),
    [
        (None, 41001),
        ("", 41001),
        ("junk", 40014),
        ("58_" + "x" * 20, 40014),
        ("58_" + "x" * 132 + " ", 40014),
        ("58_" + "x" * 133, 40001),
    ],
)
def test_tokens_that_never_were(tokens: AccessTokens, text: str | None, errcode: int) -> None:
    """
    Missing, malformed and unknown tokens are told apart.
    """
    assert tokens.judge(text, now=T0) == Refusal(errcode)


def test_revoked_tokens_are_refused_and_fetching_gives_a_good_one(tokens: AccessTokens) -> None:
    """
    Revoking ends every token of the app, and of no other; the next stable token is new and works.
    """
    old = [stable(tokens), ordinary(tokens)]
    other = granted(tokens.stable(D2, force=False, now=T0)).access_token
    assert tokens.revoke(D1, now=T0) == 2
    assert [tokens.judge(token, now=T0) for token in old] == [Refusal(40001)] * 2
    assert tokens.judge(other, now=T0) == D2
    assert tokens.judge(stable(tokens), now=T0) == D1


def test_stuck_refuses_every_token_of_the_app(tokens: AccessTokens) -> None:
    """
    While stuck even a token just fetched is 40001; afterwards the same one works.
    """
    tokens.set_stuck(D1, stuck=True)
    token = stable(tokens)
    other = granted(tokens.stable(D2, force=False, now=T0)).access_token
    assert tokens.judge(token, now=T0) == Refusal(40001)
    assert stable(tokens) == token
    assert tokens.judge(other, now=T0) == D2
    tokens.set_stuck(D1, stuck=False)
    assert tokens.judge(token, now=T0) == D1


def test_long_dead_tokens_are_forgotten(tokens: AccessTokens) -> None:
    """
    The table does not grow with the days.
    """
    for day in range(50):
        ordinary(tokens, T0 + timedelta(days=day))
    assert len(tokens._tokens) <= 3
