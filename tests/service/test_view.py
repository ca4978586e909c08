"""What the process's memory of the log kills, and what it does not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from authsvc.domain.access_token import Claims, InactiveReason
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.view import Death, RevocationView
from tests.fakes import FakeClock

NOW = FakeClock().now()
CLAIMS = Claims(
    issuer="authsvc",
    user_id="user",
    audiences=("app",),
    app_id="app",
    expires_at=0,
    issued_at=0,
    not_before=0,
    token_id="jti",
    session_id="sid",
    position=10,
)


def fact(kind: FactKind, target: str, position: int = 11, **more: object) -> Fact:
    made = Fact(position, kind, target, EndReason.ADMIN, NOW + timedelta(hours=1))
    return replace(made, **more)  # type: ignore[arg-type]


SESSION = fact(FactKind.SESSION, "sid")
USER = fact(FactKind.USER, "user")
APP = fact(FactKind.APP, "app")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (SESSION, InactiveReason.SESSION_REVOKED),
        (
            replace(SESSION, position=1),
            InactiveReason.SESSION_REVOKED,
        ),  # named outright: position means nothing
        (USER, InactiveReason.USER_REVOKED),
        (replace(USER, app_filter="app"), InactiveReason.USER_REVOKED),
        (APP, InactiveReason.APP_REVOKED),
    ],
)
def test_a_fact_kills_what_it_names(held: Fact, reason: InactiveReason) -> None:
    """A session outright; a user's and an app's tokens by position."""
    view = RevocationView()
    view.apply([held])
    assert view.death_of(CLAIMS) == Death(reason, EndReason.ADMIN)


@pytest.mark.parametrize(
    "held",
    [
        fact(FactKind.SESSION, "other"),
        fact(FactKind.USER, "other"),
        fact(FactKind.APP, "other"),
        replace(USER, position=10),  # strictly below dies, at the position lives
        replace(APP, position=10),
        replace(USER, app_filter="other"),
        fact(FactKind.PRINCIPAL, "user"),
        fact(FactKind.KEY, "sid"),
    ],
)
def test_a_fact_spares_the_rest(held: Fact) -> None:
    """Others' tokens, tokens of sessions created at or after the position, other apps of a narrowed fact."""
    view = RevocationView()
    view.apply([held])
    assert view.death_of(CLAIMS) is None


def test_the_nearest_cause_is_told_first() -> None:
    """Session before user before app, in whatever order the facts came."""
    view = RevocationView()
    for held, reason in (
        (APP, InactiveReason.APP_REVOKED),
        (USER, InactiveReason.USER_REVOKED),
        (SESSION, InactiveReason.SESSION_REVOKED),
    ):
        view.apply([held])
        death = view.death_of(CLAIMS)
        assert death is not None
        assert death.reason is reason


def test_a_later_fact_never_revives() -> None:
    """A narrowed fact beside a wide one, and an older one after a newer, take nothing back."""
    view = RevocationView()
    view.apply([USER, replace(USER, position=5), replace(USER, position=12, app_filter="other")])
    assert view.death_of(CLAIMS) is not None


@pytest.mark.parametrize("later", [None, NOW + timedelta(hours=2)])
def test_the_first_reason_stands_and_the_longest_use(later: object) -> None:
    """A second fact about a session makes it be remembered longer, under the reason it died of."""
    view = RevocationView()
    view.apply([SESSION, replace(SESSION, position=12, reason=EndReason.LOGOUT, useful_until=later)])  # type: ignore[arg-type]
    list(view.pack(now=NOW + timedelta(minutes=90)))
    assert view.death_of(CLAIMS) == Death(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)


def test_a_shorter_second_fact_shortens_nothing() -> None:
    """What must be remembered for an hour is, whatever comes later."""
    view = RevocationView()
    view.apply([SESSION, replace(SESSION, position=12, useful_until=NOW + timedelta(minutes=1))])
    list(view.pack(now=NOW + timedelta(minutes=59)))
    assert view.death_of(CLAIMS) is not None


def test_pruning_forgets_what_no_token_needs() -> None:
    """At `useful_until` a fact goes; withdrawn keys and endless facts stay."""
    view = RevocationView()
    view.apply([SESSION, USER, APP, fact(FactKind.KEY, "kid", useful_until=None)])
    list(view.pack(now=NOW + timedelta(minutes=59)))
    assert len(view) == 4
    list(view.pack(now=NOW + timedelta(hours=1)))
    assert len(view) == 1
    assert view.is_withdrawn("kid")
    assert view.withdrawn_keys == ("kid",)


def test_applying_twice_is_harmless() -> None:
    """The tail may see again what was loaded or written here."""
    view = RevocationView()
    view.apply([SESSION, USER, APP])
    view.apply([APP, USER, SESSION])
    assert len(view) == 3
