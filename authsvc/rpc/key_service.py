"""KeyService: the published signing keys, and what a verifier must know beside them."""

from authapi.v1 import key_service_pb2 as pb
from authsvc.domain.apps import AppRegistry
from authsvc.domain.signing_keys import JWKS_MAX_AGE
from authsvc.rpc.convert import duration
from authsvc.rpc.wrapper import Call, Service, Unary
from authsvc.service.keys import KeyDirectory
from authsvc.service.view import RevocationView

NAME = "authapi.v1.KeyService"


class KeyServicer:
    """Answers from memory."""

    def __init__(self, *, keys: KeyDirectory, view: RevocationView, issuer: str, apps: AppRegistry) -> None:
        self._keys = keys
        self._view = view
        self._issuer = issuer
        self._apps = apps

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {"GetJwks": Unary(pb.GetJwksRequest, self.get_jwks)}

    async def get_jwks(self, request: pb.GetJwksRequest, call: Call) -> pb.GetJwksResponse:
        """See the contract."""
        del request, call
        withdrawn = self._keys.withdrawn.union(self._view.withdrawn_keys)
        return pb.GetJwksResponse(
            jwks_json=self._keys.jwks_json,
            max_age=duration(JWKS_MAX_AGE),
            withdrawn_key_ids=sorted(withdrawn),
            issuer=self._issuer,
            max_token_lifetime=duration(self._apps.longest_access_lifetime),
        )
