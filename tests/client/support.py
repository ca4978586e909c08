"""Values that several tests make."""

from typing import Any

from authsvc_client.revocations import VerifiedToken
from authsvc_client.tokens import Claims


def verified(**said: Any) -> VerifiedToken:
    """A verified token that says this, and something plain of the rest."""
    plain: dict[str, Any] = {
        "issuer": "authsvc",
        "user_id": "u",
        "audiences": ("orders",),
        "app_id": "a",
        "expires_at": 100,
        "issued_at": 0,
        "not_before": 0,
        "token_id": "t",
        "session_id": "s",
        "scopes": (),
        "position": 0,
        "openid": None,
        "roles": (),
        "external_id": None,
        "previous_user_ids": (),
    }
    return VerifiedToken(Claims(**{**plain, **said}), "k", 0)
