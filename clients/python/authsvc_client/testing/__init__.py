"""
What tests of a service need: tokens, a clock that obeys, a verifier that says what it is told, and a whole fake server.

`FakeVerifier` and `FakeSyncVerifier` stand in where only the verdict matters. `FakeAuthsvc` is a real gRPC server in the
test's process that answers GetJwks, WatchRevocations and VerifyToken for a `TokenMint`, as scripted, for a real
`Verifier`. Not for production: its keys are made on the spot and trusted by nobody else.
"""

from authsvc_client.testing.clock import FakeClock
from authsvc_client.testing.minting import TokenMint
from authsvc_client.testing.server import FakeAuthsvc
from authsvc_client.testing.verifier import FakeSyncVerifier, FakeVerifier

__all__ = ["FakeAuthsvc", "FakeClock", "FakeSyncVerifier", "FakeVerifier", "TokenMint"]
