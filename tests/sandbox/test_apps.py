"""
The shipped apps are obviously fake, and real-looking ones stay out.
"""

import pytest

from authsvc.sandbox import DEFAULT_APP_ID, SANDBOX_APPS, RealLookingCredential, SandboxApp, World
from tests.fakes import SeededEntropy

REAL_ID = "wx1a2b3c4d5e6f7890"
REAL_SECRET = "0123456789abcdef0123456789abcdef"
FAKE_ID = "wx00000000000000f1"
FAKE_SECRET = "5a4d00000000000000000000000000f1"


def test_ships_two_bound_apps_and_one_unbound() -> None:
    """
    d1 and d2 share an open-platform account, d3 has none, and d1 is the default.
    """
    assert [(app.app_id, app.open_platform) for app in SANDBOX_APPS] == [
        ("wx00000000000000d1", "op1"),
        ("wx00000000000000d2", "op1"),
        ("wx00000000000000d3", None),
    ]
    assert DEFAULT_APP_ID == "wx00000000000000d1"
    assert all(len(app.secret) == 32 and app.secret.startswith("5a4d") for app in SANDBOX_APPS)


@pytest.mark.parametrize(
    "app",
    [
        SandboxApp(REAL_ID, FAKE_SECRET),
        SandboxApp(REAL_ID.upper(), FAKE_SECRET),
        SandboxApp(FAKE_ID, REAL_SECRET),
        SandboxApp(FAKE_ID, REAL_SECRET.upper()),
        SandboxApp("my-app", REAL_SECRET),
    ],
)
def test_refuses_what_looks_real_unless_told(app: SandboxApp) -> None:
    """
    A real-looking id or secret is refused without repeating the secret, and let in when asked for.
    """
    with pytest.raises(RealLookingCredential) as refused:
        World([app], entropy=SeededEntropy())
    assert app.secret not in str(refused.value)
    assert (app,) == World([app], entropy=SeededEntropy(), allow_real=True).apps


@pytest.mark.parametrize(
    "apps",
    [
        [SandboxApp("", FAKE_SECRET)],
        [SandboxApp(FAKE_ID, "")],
        [SandboxApp(FAKE_ID, FAKE_SECRET), SandboxApp(FAKE_ID, FAKE_SECRET)],
    ],
)
def test_refuses_a_malformed_list(apps: list[SandboxApp]) -> None:
    """
    Empty ids, empty secrets and ids listed twice never become a world.
    """
    with pytest.raises(ValueError, match="sandbox app"):
        World(apps, entropy=SeededEntropy())


def test_a_secret_is_not_in_the_repr() -> None:
    """
    Printing an app does not print its secret.
    """
    assert FAKE_SECRET not in repr(SandboxApp(FAKE_ID, FAKE_SECRET))
