"""The `legacy` table of an app: what makes a migration, and every way to get it dangerously wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from authsvc.config import AppsFileProblem, ConfiguredApp, Environment
from authsvc.config.apps import judge_apps
from authsvc.domain.legacy_token import LegacyPolicy, LegacySubject

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "the old service's own long secret"
TABLE: dict[str, Any] = {
    "secret": SECRET,
    "legacy_until": NOW + timedelta(days=90),
    "user_claim": "openid",
    "user_is": "openid",
}


def judged(*tables: dict[str, Any]) -> tuple[ConfiguredApp, ...]:
    apps = [{"id": f"wx{n}", "secret": f"app secret {n}", "legacy": table} for n, table in enumerate(tables)]
    return judge_apps(apps, environment=Environment.PROD, now=NOW)


def policy(**changes: Any) -> LegacyPolicy:
    [app] = judged({**TABLE, **changes})
    found = app.policy().legacy
    assert found is not None
    return found


def complaint(*tables: dict[str, Any]) -> str:
    with pytest.raises(AppsFileProblem) as problem:
        judged(*tables)
    assert SECRET not in str(problem.value)
    return str(problem.value)


def test_a_short_table_is_a_strict_policy() -> None:
    """The tutorial's header, exactly the claims that are read, no role and no scope."""
    assert policy() == LegacyPolicy(
        secret=SECRET.encode(),
        until=NOW + timedelta(days=90),
        user_claim="openid",
        subject=LegacySubject.OPENID,
        header={"alg": "HS256", "typ": "JWT"},
        claims=frozenset({"openid", "iat", "exp"}),
    )


def test_every_field_arrives() -> None:
    """A whole table, in the domain's words."""
    found = policy(
        header={"alg": "HS256"},
        claims=["uid", "made", "ends", "iss"],
        optional_claims=["nick"],
        expected={"iss": "shop"},
        user_claim="uid",
        user_is="external_id",
        issued_claim="made",
        expires_claim="ends",
        max_lifetime=3600,
        scopes=["profile"],
        roles=["guest"],
    )
    assert found == LegacyPolicy(
        secret=SECRET.encode(),
        until=NOW + timedelta(days=90),
        user_claim="uid",
        subject=LegacySubject.EXTERNAL_ID,
        header={"alg": "HS256"},
        claims=frozenset({"uid", "made", "ends", "iss"}),
        optional_claims=frozenset({"nick"}),
        expected={"iss": "shop"},
        issued_claim="made",
        expires_claim="ends",
        max_lifetime=timedelta(hours=1),
        scopes=("profile",),
        roles=("guest",),
    )


def test_a_migration_ends_within_ninety_days() -> None:
    """A day of a later end is refused; one that is over is no mistake, so that a restart after it works."""
    late = {**TABLE, "legacy_until": NOW + timedelta(days=90, seconds=1)}
    assert complaint(late) == "wx0: legacy.legacy_until is more than 90 days ahead"
    assert not policy(legacy_until=NOW - timedelta(days=400)).applies(now=NOW)


@pytest.mark.parametrize("way", ["secret_env", "secret_file", "secret_command"])
def test_the_secret_may_come_from_elsewhere(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """As an app's own secret may."""
    monkeypatch.setenv("OLD_SECRET", SECRET)
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    value = {"secret_env": "OLD_SECRET", "secret_file": str(file), "secret_command": f"cat {file}"}[way]
    table = {name: value for name, value in TABLE.items() if name != "secret"}
    [app] = judged({**table, way: value})
    found = app.policy().legacy
    assert found is not None
    assert found.secret == SECRET.encode()


def test_the_secret_is_named_once_and_never_shown() -> None:
    """Two ways at once, and none, are refused; no repr tells it."""
    assert "apps[1].legacy.secret: give it in one way" in complaint({**TABLE, "secret_env": "X"})
    without = {name: value for name, value in TABLE.items() if name != "secret"}
    assert "secret: is shorter than 16 bytes" in complaint(without)
    [app] = judged(TABLE)
    assert SECRET not in repr(app)
    assert SECRET not in repr(app.policy())


def test_a_base64_secret_is_its_bytes() -> None:
    """As Java services keep them."""
    assert policy(secret="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", encoding="base64").secret == bytes(
        range(32)
    )
    assert "secret: is not base64" in complaint({**TABLE, "encoding": "base64"})


def test_a_weak_secret_has_to_be_asked_for() -> None:
    """Under 32 bytes only by name, under 16 never."""
    assert "set accept_weak_secret" in complaint({**TABLE, "secret": "x" * 31})
    assert policy(secret="x" * 16, accept_weak_secret=True).secret == b"x" * 16
    assert "anybody can guess it" in complaint({**TABLE, "secret": "x" * 15, "accept_weak_secret": True})


def test_a_public_key_is_no_secret() -> None:
    """A PEM file where the secret belongs would let anybody who has the public key sign."""
    pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"
    assert "is a PEM file" in complaint({**TABLE, "secret": pem})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"header": {"alg": "none"}}, "must have alg HS256"),
        ({"header": {"alg": "ES256", "typ": "JWT"}}, "must have alg HS256"),
        ({"header": {"alg": "HS256", "typ": "at+jwt"}}, "may have alg and typ JWT"),
        ({"header": {"alg": "HS256", "kid": "1"}}, "may have alg and typ JWT"),
        ({"claims": ["openid", "exp"]}, "claims must hold"),
        ({"optional_claims": ["exp"]}, "cannot be optional"),
        ({"claims": ["openid", "iat", "exp", "x"], "optional_claims": ["x"]}, "not in both"),
        ({"claims": ["openid", "iat", "exp", "aud"]}, "authsvc's own tokens only"),
        ({"optional_claims": ["sid"]}, "authsvc's own tokens only"),
        ({"expires_claim": ""}, "expires_claim"),
        ({"user_is": "phone"}, "user_is"),
        ({"max_lifetime": 90 * 86400 + 1}, "max_lifetime"),
        ({"legacy_until": datetime(2026, 1, 2)}, "legacy_until"),  # noqa: DTZ001 - that it is naive is the case
        ({"audiences": ["x"]}, "audiences"),
    ],
)
def test_what_makes_no_policy_is_refused(changes: dict[str, Any], told: str) -> None:
    """A shape that could be taken for ours, or that reads what need not be there."""
    assert told in complaint({**TABLE, **changes})


def test_two_apps_do_not_share_a_secret() -> None:
    """Nobody could tell whose token it is."""
    assert "wx1: legacy.secret is another app's too" in complaint(TABLE, TABLE)
