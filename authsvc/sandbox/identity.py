"""
Who a user is to an app: openid and unionid, the same in every process and after every restart.

They are computed from a fixed key, never stored. That makes them guessable, which is fine for people who
do not exist.
"""

import base64
import hmac
from dataclasses import dataclass
from typing import Final

from authsvc.sandbox.apps import SandboxApp

_KEY: Final = b"authsvc sandbox identities, version 1"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What one app sees of one user. ``unionid`` is None where the app is bound to no open platform.
    """

    openid: str
    unionid: str | None


def identity_of(user: str, *, app: SandboxApp) -> Identity:
    """
    The openid is per user and app, the unionid per user and open platform (facts/wechat-api.md sections
    5.5 and 5.6).
    """
    unionid = None
    if app.open_platform is not None:
        unionid = _derive("unionid", app.open_platform, user)
    return Identity(openid=_derive("openid", app.app_id, user), unionid=unionid)


def openpid_of(user: str, *, app_id: str, plugin: str) -> str:
    """
    A plug-in's name for a user of a host app (facts/wechat-api.md section 3.4).
    """
    return _derive("openpid", f"{app_id}\0{plugin}", user)


def _derive(kind: str, scope: str, user: str) -> str:
    # A user's name comes last, so that no two messages are alike.
    digest = hmac.digest(_KEY, f"{kind}\0{scope}\0{user}".encode(), "sha256")
    # Real ones have 28 characters of base64url and start with an o (facts section 1.1).
    return "o" + base64.urlsafe_b64encode(digest).decode("ascii")[:27]
