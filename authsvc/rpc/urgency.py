"""How urgent each RPC is to an overloaded server; who may call it is the business of `policy`."""

from collections.abc import Mapping
from types import MappingProxyType

from authsvc.service.admission import Priority

_URGENCY: Mapping[str, Priority] = MappingProxyType(
    {
        "/authapi.v1.AuthService/Login": Priority.BEGINS,
        "/authapi.v1.AuthService/RefreshToken": Priority.ENDS_ACCESS,
        "/authapi.v1.AuthService/VerifyToken": Priority.VERIFIES,
        "/authapi.v1.AuthService/BatchVerifyTokens": Priority.VERIFIES,
        "/authapi.v1.AuthService/Revoke": Priority.ENDS_ACCESS,
        "/authapi.v1.KeyService/GetJwks": Priority.VERIFIES,
        "/grpc.health.v1.Health/Check": Priority.ALWAYS,
    }
)


def priority_of(path: str) -> Priority:
    """Return the priority of the method at *path* (`/package.Service/Method`)."""
    return _URGENCY.get(path, Priority.ORDINARY)
