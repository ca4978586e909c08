"""Four verifiers of one token: the server's, the Python client's, and two that others wrote, asked the same question."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet as JoserfcKeys
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.jwt import decode as joserfc_decode

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.ids import encode_id
from authsvc.service.verify import Demand, Refusal
from authsvc_client.judgement import Demand as ClientDemand
from authsvc_client.judgement import judge as client_judge
from authsvc_client.revocations import RevocationView
from authsvc_client.signatures import KeySet, read_key_set
from authsvc_client.verdicts import Active
from tests.fakes import FakeClock
from tests.hardening.keyring import ALGORITHMS, Keyring
from tests.support.core import D1, ISSUER, Core, build_core

LEEWAY_S = 5
LIFETIME_S = 7200
REQUIRED = ("iss", "sub", "aud", "client_id", "exp", "iat", "nbf", "jti", "sid", "scope", "sp")


@dataclass(slots=True)
class Bench:
    """A core with keys of three algorithms, and the same keys as every verifier reads them from the published set."""

    core: Core
    keyring: Keyring
    client_keys: KeySet
    joserfc_keys: JoserfcKeys
    view: RevocationView = field(default_factory=RevocationView)

    @property
    def now(self) -> int:
        return int(self.core.clock.now().timestamp())

    def payload(self, **changes: Any) -> dict[str, Any]:
        """What a fresh token of ours says; None takes a claim away."""
        claims = {
            "iss": ISSUER,
            "sub": encode_id(bytes(16)),
            "aud": D1,
            "client_id": D1,
            "exp": self.now + LIFETIME_S,
            "iat": self.now,
            "nbf": self.now,
            "jti": encode_id(bytes(range(16))),
            "sid": encode_id(bytes(range(1, 17))),
            "scope": "profile orders",
            "sp": f"{1:016x}",
            "openid": "o-alice",
            "roles": ["buyer"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    async def server(self, token: str) -> InactiveReason | None:
        """The server's verdict; None is Active."""
        # As if the keys had been read after the token came: an unknown key id is unknown, not a reason to wait.
        verdict = await self.core.verifier.judge(token, Demand(frozenset({D1})), arrived_at=float("-inf"))
        return verdict.reason if isinstance(verdict, Refusal) else None

    def client(self, token: str) -> InactiveReason | None:
        """The local verifier's."""
        verdict = client_judge(
            token, keys=self.client_keys, view=self.view, now_s=self.now, demand=ClientDemand(D1)
        )
        return None if isinstance(verdict, Active) else InactiveReason(verdict.reason.value)

    def joserfc(self, token: str) -> bool:
        """
        Whether joserfc accepts it.

        It has no maximum age; unknown header members are let pass, as RFC 7515 section 4 says and we do.
        """
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        options: dict[str, Any] = {name: {"essential": True, "allow_blank": True} for name in REQUIRED}
        options["iss"] = {"essential": True, "value": ISSUER}
        options["aud"] = {"essential": True, "value": D1}
        claims = JWTClaimsRegistry(now=self.now, leeway=LEEWAY_S, **options)
        try:
            read = joserfc_decode(token, self.joserfc_keys, registry=registry)
            if read.header.get("typ") != "at+jwt":
                return False
            claims.validate(read.claims)
        except (JoseError, ValueError, TypeError, RecursionError):
            return False
        return True

    def jose_options(self) -> dict[str, Any]:
        """
        The same for npm's jose.

        Its maxTokenAge counts from `iat` to now, ours from `iat` to `exp`: whatever ours lets live is not older.
        """
        return {
            "jwks": json.loads(self.core.keys.jwks_json),
            "options": {
                "algorithms": list(ALGORITHMS),
                "typ": "at+jwt",
                "issuer": ISSUER,
                "audience": D1,
                "clockTolerance": LEEWAY_S,
                "maxTokenAge": LIFETIME_S,
                "requiredClaims": list(REQUIRED),
            },
            "now_ms": self.now * 1000,
        }


@asynccontextmanager
async def bench(directory: Path, *, cache_size: int = 1000) -> AsyncIterator[Bench]:
    """The verifiers over one published set of keys, at the fake clock's present."""
    clock = FakeClock()
    keyring = Keyring.write(directory, clock)
    async with build_core(directory, clock=clock, cache_size=cache_size) as core:
        published = core.keys.jwks_json
        yield Bench(
            core,
            keyring,
            read_key_set(published, issuer=ISSUER, max_lifetime_s=LIFETIME_S),
            JoserfcKeys.import_key_set(json.loads(published)),
        )
