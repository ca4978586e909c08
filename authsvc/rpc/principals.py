"""Who is calling: from the connection and its metadata to a `Principal`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import grpc.aio

from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import CallerUnauthenticated
from authsvc.domain.principals import Principal, Role

ServicerContext = grpc.aio.ServicerContext[Any, Any]
_BEARER = "bearer "
# What gRPC says of a client certificate that holds against the client CA: its URI and DNS names (RFC 5280, 4.2.1.6).
_URIS, _DNS_NAMES = "peer_uri", "peer_dns"


class Authenticator(Protocol):
    """
    Identifies callers from transport facts only; it never looks at the request.

    It answers from memory: it is asked again for every running stream when somebody may no longer be who they were.
    """

    def identify(self, context: ServicerContext, metadata: Mapping[str, str]) -> Principal:
        """
        Return the caller.

        Raises:
            CallerUnauthenticated: it did not say who it is, or could not prove it.

        """
        ...


class LocalAuthenticator:
    """
    Every caller is the principal `local`.

    Only for a server that binds loopback and has no other authenticator (DESIGN section 4); *roles* are the
    configured ones, its audiences those of all apps as they are configured at the time of the call.
    """

    def __init__(self, *, roles: frozenset[Role], apps: AppRegistry) -> None:
        self._apps = apps
        self._principal = Principal(name="local", roles=roles, audiences=apps.audiences)

    def identify(self, context: ServicerContext, metadata: Mapping[str, str]) -> Principal:
        """See Authenticator.identify."""
        del context, metadata
        principal = self._principal
        if principal.audiences is not self._apps.audiences:
            principal = Principal(name="local", roles=principal.roles, audiences=self._apps.audiences)
            self._principal = principal
        return principal


class CredentialAuthenticator:
    """
    A service key in the metadata (`authorization: Bearer wxk1.…`), else the names in the client's certificate.

    Who presents a key is judged by it, whatever certificate the connection has: a bad key never falls back to a good
    certificate. Any other `authorization` is a user's or somebody else's, and no business of ours.
    """

    def __init__(
        self,
        *,
        by_key: Callable[[str], Principal],
        by_certificate: Callable[[Iterable[str]], Principal],
    ) -> None:
        self._by_key = by_key
        self._by_certificate = by_certificate

    def identify(self, context: ServicerContext, metadata: Mapping[str, str]) -> Principal:
        """See Authenticator.identify."""
        given = metadata.get("authorization")
        if given is not None and given[: len(_BEARER)].lower() == _BEARER:
            text = given[len(_BEARER) :].strip()
            if text.startswith("wxk"):
                return self._by_key(text)
        names = certificate_names(context)
        if not names:
            raise CallerUnauthenticated("neither a service key nor a certificate")
        return self._by_certificate(names)


def certificate_names(context: ServicerContext) -> tuple[str, ...]:
    """
    Return the SPIFFE ids and DNS names of the client's certificate; none where there is no certificate that holds.

    Each from its own kind of name only: who may have any URI certified must not pass for a host, nor the other way
    round. A certificate with several URIs proves no SPIFFE id (X509-SVID, section 2).
    """
    told: Mapping[str, Iterable[bytes]] = context.auth_context()
    uris = [name.decode("utf-8", "replace") for name in told.get(_URIS, ())]
    hosts = [name.decode("utf-8", "replace") for name in told.get(_DNS_NAMES, ())]
    return (
        *(uri for uri in uris if len(uris) == 1 and uri.startswith("spiffe://")),
        *(host for host in hosts if "/" not in host),
    )
