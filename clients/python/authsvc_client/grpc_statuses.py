"""Refusals as gRPC statuses, and the methods that are public by themselves."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import grpc

from authapi.v1 import ERROR_DOMAIN
from authsvc_client.requiring import Refused
from authsvc_client.rpc_details import DETAILS_KEY, write_details

HEALTH: Final = frozenset(f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch"))
"""The methods of gRPC's health service: probes and clients' load balancing carry no user's token."""
REFLECTION: Final = frozenset(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)
"""The methods of gRPC's reflection service."""

AUTHORIZATION: Final = "authorization"
Trailers = tuple[tuple[str, str | bytes], ...]


def status_of(refused: Refused) -> tuple[grpc.StatusCode, str, Trailers]:
    """Return code, text and trailing metadata."""
    refusal = refused.refusal
    raw = _details(refusal.number, refusal.en, refusal.reason, refused.retry_after)
    return grpc.StatusCode[refusal.code], refusal.en, ((DETAILS_KEY, raw),)


@lru_cache(maxsize=64)
def _details(number: int, text: str, reason: str, retry_after: Any) -> bytes:
    return write_details(number, text, reason=reason, domain=ERROR_DOMAIN, retry_after=retry_after)


def authorizations(metadata: Iterable[Any] | None) -> list[str]:
    """Return the values of all Authorization headers in a call's metadata."""
    found: list[str] = []
    for pair in metadata or ():
        if pair[0] == AUTHORIZATION:
            found.append(pair[1])  # noqa: PERF401 - nearly always one: a list comprehension costs more than it saves
    return found
