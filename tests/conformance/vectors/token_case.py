"""What a token case consists of, the key sets they share, and its form in `tokens.json`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from authapi.v1 import revocation_service_pb2 as pb
from authsvc.domain.revocations import Fact
from tests.conformance.vectors import minting, wire
from tests.conformance.vectors.keys import TestKey, ec_key, ed_key, p384_jwk, rsa_key, short_rsa_jwk
from tests.conformance.vectors.reference import Json, Reference

EC, EC_NEXT, ED, RSA = ec_key("ec-1"), ec_key("ec-2"), ed_key("ed-1"), rsa_key("rsa-1")
WITHDRAWN, NOBODY = ec_key("withdrawn"), ec_key("nobody")
MISLABELLED = ec_key("mislabelled")
HEAD = 0x200
_READ_AGO_MS = 60_000
_MAX_AGE_S = 300


def key_set(
    *keys: TestKey,
    withdrawn: Iterable[str] = (WITHDRAWN.kid,),
    longest_s: int = 7200,
    more: Sequence[Any] = (),
) -> Any:
    """A GetJwksResponse with these keys."""
    return wire.key_answer(
        jwks_json=json.dumps({"keys": [*(key.jwk for key in keys), *more]}, separators=(",", ":")),
        withdrawn=withdrawn,
        issuer=minting.ISSUER,
        max_lifetime_s=longest_s,
        max_age_s=_MAX_AGE_S,
    )


_OCT = {
    "kty": "oct",
    "k": "c2VjcmV0LXRoYXQtbm9ib2R5LW1heS11c2U",
    "use": "sig",
    "alg": "HS256",
    "kid": "oct-1",
}

KEY_SETS = {
    "all": key_set(EC, EC_NEXT, ED, RSA),
    "one": key_set(EC),
    "next": key_set(EC_NEXT),
    "both": key_set(EC, EC_NEXT),
    "first_withdrawn": key_set(EC_NEXT, withdrawn=(WITHDRAWN.kid, EC.kid)),
    "published_and_withdrawn": key_set(EC, EC_NEXT, withdrawn=(EC.kid,)),
    "short_lifetime": key_set(EC, longest_s=900),
    "none": key_set(),
    "strangers": key_set(
        EC,
        more=[
            _OCT,
            p384_jwk("p384"),
            short_rsa_jwk("short"),
            {**MISLABELLED.jwk, "alg": "RS256"},
            {"kty": "future", "kid": "future-1", "alg": "ML-DSA-65", "use": "sig", "pub": "AAAA"},
            RSA.jwk,
        ],
    ),
}


@dataclass(frozen=True)
class TokenCase:
    """One token, what is known, and what is asked; the verdict is computed."""

    id: str
    description: str
    token: str
    facts: Sequence[Fact] = ()
    keys: str = "all"
    key_fetch: str = "same"
    now_ms: int = minting.NOW_S * 1000 + 100_000
    audience: str = minting.AUDIENCE
    scopes: Sequence[str] = ()
    roles: Sequence[str] = ()
    when_stale: str = "unavailable"
    hard_bound_ms: int = 30_000
    age_ms: int = 0
    has_view: bool = True
    view: pb.WatchRevocationsResponse | None = field(default=None)

    def judged(self) -> Json:
        """Return the case as `tokens.json` has it, with the reference's verdict."""
        rules = KEY_SETS[self.keys]
        reference = Reference(
            now_ms=self.now_ms - _READ_AGO_MS,
            keys=rules,
            rules=rules,
            hard_bound_ms=self.hard_bound_ms,
            when_stale=self.when_stale,
        )
        reference.clock.advance(_READ_AGO_MS)
        if self.key_fetch == "fails":
            reference.source.answer = None
        through = wire.at(max([HEAD, *(fact.position for fact in self.facts)]))
        message = self.view or wire.snapshot(*self.facts, through=through, age_ms=self.age_ms)
        if self.has_view:
            reference.receive(message, cursor=through)
        require = {"audience": self.audience, "scopes": list(self.scopes), "roles": list(self.roles)}
        verdict, _ = reference.verify(self.token, require)
        return {
            "id": self.id,
            "description": self.description,
            "now_ms": self.now_ms,
            "keys": self.keys,
            "key_fetch": self.key_fetch,
            "hard_bound_ms": self.hard_bound_ms,
            "when_stale": self.when_stale,
            "view": {"message": wire.both_forms(message)} if self.has_view else None,
            "token": self.token,
            "require": require,
            "expect": verdict,
        }
