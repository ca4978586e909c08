"""
The mini-programs the sandbox plays: the three it ships, and the rule that keeps real ones out.

The shipped secrets are public and worth nothing. A real AppSecret pasted into a sandbox would sit in
developers' shells and logs, so one that looks real is refused unless the caller insists
(facts/wechat-api.md section 10, self-check). Users and codes are not here: see ``world``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from authsvc.sandbox.outcomes import require_text

_REAL_APP_ID: Final = re.compile(r"wx[0-9a-f]{16}", re.IGNORECASE)
_REAL_SECRET: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
FAKE_APP_ID_PREFIX: Final = "wx00000000"
FAKE_SECRET_PREFIX: Final = "5a4d0000"  # noqa: S105 - a prefix
_MAX_LENGTH: Final = 128


class UnknownApp(LookupError):
    """
    The sandbox has no app with this id.
    """


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


class Apps:
    """
    The apps by id, with what an administrator may change about them in WeChat's console.
    """

    def __init__(self, apps: Iterable[SandboxApp], *, allow_real: bool) -> None:
        """
        Raises:
            ValueError: an id or secret is empty, or an id occurs twice.
            RealLookingCredential: an id or secret has the shape of a real one and ``allow_real`` is off.
        """
        self._allow_real = allow_real
        self._by_id: dict[str, SandboxApp] = {}
        self._frozen: set[str] = set()
        for app in apps:
            if not app.app_id or not app.secret:
                raise ValueError(f"sandbox app {app.app_id!r} needs an id and a secret")
            if app.app_id in self._by_id:
                raise ValueError(f"sandbox app {app.app_id!r} is listed twice")
            self._by_id[app.app_id] = self._checked(app)

    @property
    def listed(self) -> tuple[SandboxApp, ...]:
        """
        Every app, in the order given.
        """
        return tuple(self._by_id.values())

    def require(self, app_id: str) -> SandboxApp:
        """
        The app.

        Raises:
            UnknownApp: no such app.
        """
        app = self._by_id.get(app_id)
        if app is None:
            raise UnknownApp("the sandbox has no such app")
        return app

    def change_secret(self, app_id: str, secret: str) -> None:
        """
        The app has this secret only; the old one is refused with 40125 from now on. Tokens live on.

        Raises:
            UnknownApp: no such app.
            BadInput: the secret is empty or too long.
            RealLookingCredential: it looks real, and real ones are not allowed.
        """
        require_text(secret, what="secret", limit=_MAX_LENGTH)
        self._by_id[app_id] = self._checked(replace(self.require(app_id), secret=secret))

    def bind(self, app_id: str, open_platform: str | None) -> None:
        """
        The app is bound to this open-platform account, or to none: it sees unionids accordingly.

        Raises:
            UnknownApp: no such app.
            BadInput: the account's name is empty or too long.
        """
        app = self.require(app_id)
        if open_platform is not None:
            require_text(open_platform, what="open_platform", limit=_MAX_LENGTH)
        self._by_id[app_id] = replace(app, open_platform=open_platform)

    def freeze(self, app_id: str, *, frozen: bool) -> None:
        """
        The app's secret is refused with 40243, or works again.

        Raises:
            UnknownApp: no such app.
        """
        self.require(app_id)
        (self._frozen.add if frozen else self._frozen.discard)(app_id)

    def is_frozen(self, app_id: str) -> bool:
        """
        Whether the app's secret is frozen.
        """
        return app_id in self._frozen

    def judge(self, app_id: str | None, secret: str | None) -> int | None:
        """
        The first errcode against these credentials, None if they are right: the order of
        facts/wechat-api.md section 10.
        """
        if not app_id:
            return 41002
        app = self._by_id.get(app_id)
        if app is None:
            return 40013
        if not secret:
            return 41004
        if secret != app.secret:
            return 40125
        return 40243 if app_id in self._frozen else None

    def _checked(self, app: SandboxApp) -> SandboxApp:
        if not self._allow_real and _looks_real(app):
            raise RealLookingCredential(
                f"sandbox app {app.app_id!r} looks like a real mini-program; sandbox ids start with "
                f"{FAKE_APP_ID_PREFIX!r} and sandbox secrets with {FAKE_SECRET_PREFIX!r}"
            )
        return app


def _looks_real(app: SandboxApp) -> bool:
    real_id = _REAL_APP_ID.fullmatch(app.app_id) and not app.app_id.startswith(FAKE_APP_ID_PREFIX)
    real_secret = _REAL_SECRET.fullmatch(app.secret) and not app.secret.startswith(FAKE_SECRET_PREFIX)
    return bool(real_id or real_secret)
