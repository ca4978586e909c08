"""
Verifies authsvc's access tokens where they are used, without a call to the server.

`Verifier` (asyncio) and `SyncVerifier` (threads) read the public keys, follow the revocation stream, and judge a token
in microseconds; a revocation is known here within a second. What they can't know they say (`CannotKnow`), after asking
the server where `Settings.when_stale` says so. `authsvc_client.testing` has what tests need. The contract's messages and
stubs are the package `authapi`; the server is never imported.
"""

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

__all__ = [
    "Active",
    "CannotKnow",
    "Cause",
    "Clock",
    "Hooks",
    "Inactive",
    "InactiveReason",
    "MetadataSource",
    "Position",
    "SessionEndReason",
    "Settings",
    "SyncTokenVerifier",
    "SyncVerifier",
    "SystemClock",
    "TokenChecker",
    "TokenVerifier",
    "Verdict",
    "Verifier",
    "WhenStale",
    "aio_channel",
    "blocking_channel",
    "channel_options",
]
