"""Values that several tests make."""

from datetime import UTC, datetime
from typing import Any

from authsvc_client import Active


def active(**said: Any) -> Active:
    """An Active that says this, and something plain of the rest."""
    at = datetime(2027, 1, 15, tzinfo=UTC)
    plain: dict[str, Any] = {
        "user_id": "u",
        "session_id": "s",
        "app_id": "a",
        "openid": None,
        "scopes": (),
        "roles": (),
        "audiences": ("orders",),
        "token_id": "t",
        "issued_at": at,
        "expires_at": at,
    }
    return Active(**{**plain, **said})
