"""
Verifies authsvc's access tokens where they are used, without a call to the server.

`Verifier` (asyncio) and `SyncVerifier` (threads) read the public keys, follow the revocation stream, and judge a token
in microseconds; a revocation is known here within a second. What they can't know they say (`CannotKnow`), after asking
the server where `Settings.when_stale` says so. `AuthInterceptor`, `SyncAuthInterceptor`, `AuthMiddleware` (ASGI) and
`auth_middleware` (aiohttp) put them in front of a service; `AuthClient` and `SyncAuthClient` make the contract's calls.
`authsvc_client.testing` has what tests need. The contract's messages and stubs are the package `authapi`; the server is
never imported.

Names that a verifier does not need are loaded at first use, so that it pays for none of them; only `auth_middleware`
and `requires` need aiohttp (`authsvc-client[aiohttp]`).
"""

import importlib
import typing

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.blocking import SyncVerifier
from authsvc_client.connection import MetadataSource, aio_channel, blocking_channel, channel_options
from authsvc_client.hooks import Hooks
from authsvc_client.settings import Settings, WhenStale
from authsvc_client.surface import SyncTokenVerifier, TokenChecker, TokenVerifier
from authsvc_client.verdicts import (
    Active,
    CannotKnow,
    Cause,
    Inactive,
    InactiveReason,
    SessionEndReason,
    Verdict,
)
from authsvc_client.verifier import Position, Verifier

if typing.TYPE_CHECKING:
    from authsvc_client.aiohttp_guard import auth_middleware, requires
    from authsvc_client.asgi import AuthMiddleware, require
    from authsvc_client.asking import verdict_of
    from authsvc_client.blocking_client import SyncAuthClient
    from authsvc_client.client import AuthClient
    from authsvc_client.errors import AuthError, CallFailed, LibraryError
    from authsvc_client.grpc_aio import AuthInterceptor
    from authsvc_client.grpc_statuses import HEALTH, REFLECTION
    from authsvc_client.grpc_sync import SyncAuthInterceptor
    from authsvc_client.requiring import Refused, Require, current, current_or_none
else:
    _HOMES = {
        "auth_middleware": "aiohttp_guard",
        "requires": "aiohttp_guard",
        "AuthMiddleware": "asgi",
        "require": "asgi",
        "verdict_of": "asking",
        "SyncAuthClient": "blocking_client",
        "AuthClient": "client",
        "AuthError": "errors",
        "CallFailed": "errors",
        "LibraryError": "errors",
        "AuthInterceptor": "grpc_aio",
        "HEALTH": "grpc_statuses",
        "REFLECTION": "grpc_statuses",
        "SyncAuthInterceptor": "grpc_sync",
        "Refused": "requiring",
        "Require": "requiring",
        "current": "requiring",
        "current_or_none": "requiring",
    }

    def __getattr__(name: str) -> object:
        """Return a name that is loaded at first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


__all__ = [
    "HEALTH",
    "REFLECTION",
    "Active",
    "AuthClient",
    "AuthError",
    "AuthInterceptor",
    "AuthMiddleware",
    "CallFailed",
    "CannotKnow",
    "Cause",
    "Clock",
    "Hooks",
    "Inactive",
    "InactiveReason",
    "LibraryError",
    "MetadataSource",
    "Position",
    "Refused",
    "Require",
    "SessionEndReason",
    "Settings",
    "SyncAuthClient",
    "SyncAuthInterceptor",
    "SyncTokenVerifier",
    "SyncVerifier",
    "SystemClock",
    "TokenChecker",
    "TokenVerifier",
    "Verdict",
    "Verifier",
    "WhenStale",
    "aio_channel",
    "auth_middleware",
    "blocking_channel",
    "channel_options",
    "current",
    "current_or_none",
    "require",
    "requires",
    "verdict_of",
]
