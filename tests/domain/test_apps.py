"""App policy: expiries that never outlive the session, lookups that never guess."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.apps import MAX_JITTER, App, AppRegistry
from authsvc.domain.errors import AppDisabled, UnknownApp

BASE = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
instants = st.integers(0, 10**13).map(lambda micros: BASE + timedelta(microseconds=micros))
jitters = st.floats(0, 1)
lifetimes = st.integers(60 * 10**6, 86_400 * 10**6).map(lambda micros: timedelta(microseconds=micros))
remainders = st.integers(0, 30 * 86_400 * 10**6).map(lambda micros: timedelta(microseconds=micros))


@given(now=instants, jitter=jitters, lifetime=lifetimes, remaining=remainders)
def test_an_access_token_never_outlives_its_session(
    now: datetime, jitter: float, lifetime: timedelta, remaining: timedelta
) -> None:
    """
    Whole seconds, never beyond the absolute end, shortened by at most 5 % (and the part of a second).
    """
    app = App(app_id="a", audiences=("a",), access_lifetime=lifetime)
    expiry = app.access_expiry(now=now, jitter=jitter, absolute_end=now + remaining)

    assert expiry.microsecond == 0
    assert expiry.tzinfo is UTC
    assert expiry <= now + remaining
    assert expiry <= now + lifetime
    assert expiry > min(now + lifetime * (1 - MAX_JITTER), now + remaining) - 2 * SECOND


@given(now=instants, jitter=jitters, lifetime=lifetimes)
def test_a_token_is_never_too_long_for_its_own_app(now: datetime, jitter: float, lifetime: timedelta) -> None:
    """
    `exp` less `iat`, both in whole seconds, stays within the app's lifetime: our own tokens are not refused.
    """
    app = App(app_id="a", audiences=("a",), access_lifetime=lifetime)
    expiry = app.access_expiry(now=now, jitter=jitter, absolute_end=now + timedelta(days=30))

    assert expiry - now.replace(microsecond=0) <= lifetime


@given(one=jitters, other=jitters)
def test_jitter_spreads_expiries_in_order(one: float, other: float) -> None:
    """
    More jitter never means a longer token, and the extremes are 5 % apart.
    """
    app = App(app_id="a", audiences=("a",))
    end = BASE + timedelta(days=30)
    first, second = (app.access_expiry(now=BASE, jitter=jitter, absolute_end=end) for jitter in (one, other))

    assert (first >= second) or (one > other)
    assert app.access_expiry(now=BASE, jitter=0, absolute_end=end) == BASE + timedelta(hours=2)
    assert app.access_expiry(now=BASE, jitter=1, absolute_end=end) == BASE + timedelta(hours=2) * 0.95


@given(now=instants, remaining=remainders)
def test_refreshing_slides_up_to_the_absolute_end(now: datetime, remaining: timedelta) -> None:
    """
    Idle lifetime from now, cut at the absolute end.
    """
    app = App(app_id="a", audiences=("a",))

    expected = min(timedelta(days=7), remaining)
    assert app.refresh_expiry(now=now, absolute_end=now + remaining) == now + expected


def test_lookups_raise_rather_than_guess() -> None:
    """
    Unknown and disabled apps are told apart; nothing is matched loosely.
    """
    on, off = App(app_id="wx1", audiences=("a",)), App(app_id="wx2", audiences=("b",), enabled=False)
    registry = AppRegistry({"wx1": on, "wx2": off})

    assert registry.get("wx1") is on
    with pytest.raises(AppDisabled):
        registry.get("wx2")
    for unknown in ("", "WX1", " wx1", "wx1\0", "wx3"):
        with pytest.raises(UnknownApp):
            registry.get(unknown)


def test_the_longest_lifetime_counts_every_app() -> None:
    """
    Also a disabled app's tokens are still out there; without apps the default stands.
    """
    long = App(app_id="b", audiences=("b", "c"), access_lifetime=timedelta(hours=5), enabled=False)
    registry = AppRegistry({"a": App(app_id="a", audiences=("a",)), "b": long})

    assert registry.longest_access_lifetime == timedelta(hours=5)
    assert registry.audiences == {"a", "b", "c"}
    assert AppRegistry({}).longest_access_lifetime == timedelta(hours=2)
    assert AppRegistry({}).audiences == frozenset()


def test_all_apps_are_exchanged_at_once() -> None:
    """
    After a replacement every question is answered from the new apps; who holds the old mapping keeps it unchanged.
    """
    old = App(app_id="a", audiences=("a",), access_lifetime=timedelta(hours=3))
    registry = AppRegistry({"a": old})
    before = registry.apps
    given = {"b": App(app_id="b", audiences=("x",), access_lifetime=timedelta(hours=1))}
    registry.replace(given)
    given.clear()  # the registry has its own

    assert before == {"a": old}
    assert set(registry.apps) == {"b"}
    with pytest.raises(UnknownApp):
        registry.get("a")
    assert registry.audiences == {"x"}
    assert registry.longest_access_lifetime == timedelta(hours=1)


def test_an_apps_longest_access_lifetime_is_its_own() -> None:
    """
    Of an app that is not configured any more it is the longest of all: its tokens may still be out there.
    """
    short = App(app_id="a", audiences=("a",), access_lifetime=timedelta(minutes=10))
    long = App(app_id="b", audiences=("b",), access_lifetime=timedelta(hours=5))
    registry = AppRegistry({"a": short, "b": long})

    assert registry.max_access_lifetime("a") == timedelta(minutes=10)
    assert registry.max_access_lifetime("gone") == timedelta(hours=5)
