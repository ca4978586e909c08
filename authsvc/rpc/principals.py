"""Who is calling: from the connection and its metadata to a `Principal`."""

from collections.abc import Mapping
from typing import Any, Protocol

import grpc.aio

from authsvc.domain.apps import AppRegistry
from authsvc.domain.principals import Principal, Role

ServicerContext = grpc.aio.ServicerContext[Any, Any]


class Authenticator(Protocol):
    """Identifies callers from transport facts only; it never looks at the request."""

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
