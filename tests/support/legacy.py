"""Tokens as a home-made service makes them."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from authsvc.domain.apps import App
from authsvc.domain.legacy_token import LegacyPolicy, LegacySubject

SECRET = b"the home-made service's own secret"
HEADER = {"alg": "HS256", "typ": "JWT"}


def policy(*, until: datetime, **changes: Any) -> LegacyPolicy:
    """What a service of the tutorials made: the openid, when, and until when."""
    plain = LegacyPolicy(
        secret=SECRET,
        until=until,
        user_claim="openid",
        subject=LegacySubject.OPENID,
        header=HEADER,
        claims=frozenset({"openid", "iat", "exp"}),
        scopes=("profile",),
        roles=("guest",),
    )
    return replace(plain, **changes)


def migrating(app: App, *, until: datetime, **changes: Any) -> App:
    """The app with such a policy."""
    return replace(app, legacy=policy(until=until, **changes))


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def mint(payload: object, *, secret: bytes = SECRET, header: object = HEADER, digest: str = "sha256") -> str:
    """Any header and payload, signed by HMAC."""
    signed = f"{segment(header)}.{segment(payload)}"
    return f"{signed}.{segment(hmac.new(secret, signed.encode(), getattr(hashlib, digest)).digest())}"


def said(openid: str, *, now: datetime, **changes: Any) -> dict[str, Any]:
    """The payload of a fresh token; None takes a claim away."""
    claims: dict[str, Any] = {
        "openid": openid,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(days=7)).timestamp()),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}
