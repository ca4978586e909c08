"""
The log of arrivals counts exactly, stays bounded and shows no secret.
"""

from datetime import UTC, datetime

import pytest

from authsvc.sandbox import Arrival, Arrivals

SECRET = "5a4d00000000000000000000000000d1"


def arrive(
    arrivals: Arrivals, *, code: str | None = None, target: str = "/", app_id: str | None = None
) -> Arrival:
    return arrivals.record(
        at=datetime(2026, 1, 1, tzinfo=UTC),
        method="GET",
        target=target,
        app_id=app_id,
        code=code,
        peer="127.0.0.1:1",
    )


def test_counts_per_code() -> None:
    """
    Each code has its own count; a code never seen has 0.
    """
    arrivals = Arrivals()
    for code in ("a", "b", "a", None):
        arrive(arrivals, code=code)
    assert (arrivals.count("a"), arrivals.count("b"), arrivals.count("c")) == (2, 1, 0)
    assert arrivals.counts() == {"a": 2, "b": 1}
    assert [arrival.number for arrival in arrivals.select(code="a")] == [1, 3]
    assert [arrival.number for arrival in arrivals.select()] == [1, 2, 3, 4]


def test_the_oldest_is_forgotten_and_that_is_told() -> None:
    """
    Beyond the bound the log keeps the newest, its counts match what is kept, and it says how many went.
    """
    arrivals = Arrivals(kept=3)
    for code in ("a", "a", "b", "c"):
        arrive(arrivals, code=code)
    assert arrivals.counts() == {"a": 1, "b": 1, "c": 1}
    assert arrivals.forgotten == 1
    arrive(arrivals)
    assert arrivals.counts() == {"b": 1, "c": 1}
    assert [arrival.number for arrival in arrivals.select()] == [3, 4, 5]


def test_the_default_bound_is_ten_thousand() -> None:
    """
    A long-lived sandbox keeps ten thousand requests.
    """
    arrivals = Arrivals()
    for _ in range(10_001):
        arrive(arrivals, code="a")
    assert 10_000 == arrivals.count("a") == len(arrivals.select())


def test_clear_forgets_all() -> None:
    """
    After clear nothing was ever seen.
    """
    arrivals = Arrivals(kept=1)
    arrive(arrivals, code="a")
    arrive(arrivals, code="a")
    arrivals.clear()
    assert (arrivals.counts(), arrivals.select(), arrivals.forgotten) == ({}, [], 0)
    assert arrive(arrivals).number == 1


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/p?appid=x&secret={SECRET}&js_code=c", "/p?appid=x&secret=***&js_code=c"),
        ("/p?secret=another-apps-secret&a=1", "/p?secret=***&a=1"),
        ("/p?s%65cret=hidden", "/p?s%65cret=***"),
        ("/p?SECRET=hidden&secret=twice", "/p?SECRET=***&secret=***"),
        ("/p?access_token=hidden", "/p?access_token=***"),
        (f"/p?js_code={SECRET}", "/p?js_code=***"),
        (f"/{SECRET}/p", "/***/p"),
        ("/p?secret", "/p?secret"),
        ("/p", "/p"),
    ],
)
def test_secrets_are_masked(target: str, shown: str) -> None:
    """
    The value of a secret parameter never shows, nor a known secret anywhere else.
    """
    assert shown == arrive(Arrivals(secrets=[SECRET]), target=target).target


def test_a_secret_in_the_wrong_field_is_masked() -> None:
    """
    A secret sent as code or app id does not show either.
    """
    arrival = arrive(Arrivals(secrets=[SECRET]), code=SECRET, app_id=SECRET)
    assert (arrival.code, arrival.app_id) == ("***", "***")
