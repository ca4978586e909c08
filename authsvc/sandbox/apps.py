"""
The mini-programs the sandbox plays: the three it ships, and the rule that keeps real ones out.

The shipped secrets are public and worth nothing. A real AppSecret pasted into a sandbox would sit in
developers' shells and logs, so a list of apps that looks real is refused unless the caller insists
(facts/wechat-api.md section 10, self-check). Users and codes are not here: see ``world``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_REAL_APP_ID: Final = re.compile(r"wx[0-9a-f]{16}", re.IGNORECASE)
_REAL_SECRET: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_FAKE_APP_ID_PREFIX: Final = "wx00000000"
_FAKE_SECRET_PREFIX: Final = "5a4d0000"  # noqa: S105 - a prefix


class RealLookingCredential(ValueError):
    """
    An app id or secret has the shape WeChat gives to real ones. The text never holds the secret.
    """


@dataclass(frozen=True, slots=True)
class SandboxApp:
    """
    One mini-program: its id, its secret, and the open-platform account it is bound to, if any.

    Apps that share an ``open_platform`` see the same unionid for one user; an app without one sees none
    (facts/wechat-api.md section 5.6).
    """

    app_id: str
    secret: str = field(repr=False)
    open_platform: str | None = None


SANDBOX_APPS: Final = (
    SandboxApp("wx00000000000000d1", "5a4d00000000000000000000000000d1", open_platform="op1"),
    SandboxApp("wx00000000000000d2", "5a4d00000000000000000000000000d2", open_platform="op1"),
    SandboxApp("wx00000000000000d3", "5a4d00000000000000000000000000d3"),
)
"""The apps that ship with the sandbox: d1 and d2 on one open-platform account, d3 on none."""

DEFAULT_APP_ID: Final = SANDBOX_APPS[0].app_id


def check_apps(apps: Iterable[SandboxApp], *, allow_real: bool) -> dict[str, SandboxApp]:
    """
    The apps by id, after every one has been judged.

    Raises:
        ValueError: an id or secret is empty, or an id occurs twice.
        RealLookingCredential: an id or secret has the shape of a real one and ``allow_real`` is off.
    """
    by_id: dict[str, SandboxApp] = {}
    for app in apps:
        if not app.app_id or not app.secret:
            raise ValueError(f"sandbox app {app.app_id!r} needs an id and a secret")
        if app.app_id in by_id:
            raise ValueError(f"sandbox app {app.app_id!r} is listed twice")
        if not allow_real and _looks_real(app):
            raise RealLookingCredential(
                f"sandbox app {app.app_id!r} looks like a real mini-program; sandbox ids start with "
                f"{_FAKE_APP_ID_PREFIX!r} and sandbox secrets with {_FAKE_SECRET_PREFIX!r}"
            )
        by_id[app.app_id] = app
    return by_id


def _looks_real(app: SandboxApp) -> bool:
    real_id = _REAL_APP_ID.fullmatch(app.app_id) and not app.app_id.startswith(_FAKE_APP_ID_PREFIX)
    real_secret = _REAL_SECRET.fullmatch(app.secret) and not app.secret.startswith(_FAKE_SECRET_PREFIX)
    return bool(real_id or real_secret)
