"""Tokens for tests, signed with a key of their own."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client._clock import Clock, SystemClock
from authsvc_client.tokens import TYPE, encode_base64url

Algorithm = Literal["ES256", "EdDSA", "RS256"]
_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class TokenMint:
    """
    Makes access tokens as authsvc does; `kid` and `jwks_json` are what a verifier needs to believe them.

    Every mint has a fresh key. Ids follow each other and are the same in every run.
    """

    def __init__(
        self, *, issuer: str = "authsvc", algorithm: Algorithm = "ES256", clock: Clock | None = None
    ) -> None:
        self.issuer = issuer
        self.algorithm = algorithm
        self._clock = clock or SystemClock()
        self._key = _generate(algorithm)
        members = _public_members(self._key)
        # RFC 7638: the thumbprint is of the required members, sorted.
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
        self.kid = encode_base64url(hashlib.sha256(canonical).digest()).decode()
        self.jwk = {**members, "use": "sig", "alg": algorithm, "kid": self.kid}
        self._numbers = itertools.count(1)

    @property
    def jwks_json(self) -> str:
        """A key set with this mint's public key alone."""
        return json.dumps({"keys": [self.jwk]})

    def new_id(self) -> str:
        """Return an id as ours are: 22 characters for 16 bytes."""
        return encode_base64url(hashlib.sha256(str(next(self._numbers)).encode()).digest()[:16]).decode()

    def token(
        self,
        user_id: str = "alice",
        *,
        audience: str | Sequence[str],
        session_id: str | None = None,
        app_id: str = "wx-app",
        scopes: Sequence[str] = (),
        roles: Sequence[str] = (),
        lifetime: timedelta = timedelta(hours=2),
        position: int = 0,
        **claims: Any,
    ) -> str:
        """
        Return a token that begins now; *claims* are added to or replace those made here.

        *position* is the claim `sp`: revocations of its user or app above it kill the token.
        """
        return self.sign(
            self.claims(
                user_id,
                audience=audience,
                session_id=session_id,
                app_id=app_id,
                scopes=scopes,
                roles=roles,
                lifetime=lifetime,
                position=position,
                **claims,
            )
        )

    def claims(
        self,
        user_id: str = "alice",
        *,
        audience: str | Sequence[str],
        session_id: str | None = None,
        app_id: str = "wx-app",
        scopes: Sequence[str] = (),
        roles: Sequence[str] = (),
        lifetime: timedelta = timedelta(hours=2),
        position: int = 0,
        **claims: Any,
    ) -> dict[str, Any]:
        """Return the payload that `token` signs."""
        now = int(self._clock.now_s())
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user_id,
            "aud": audience if isinstance(audience, str) else list(audience),
            "client_id": app_id,
            "exp": now + int(lifetime.total_seconds()),
            "iat": now,
            "nbf": now,
            "jti": self.new_id(),
            "sid": session_id or self.new_id(),
            "scope": " ".join(scopes),
            "sp": f"{position:016x}",
        }
        if roles:
            payload["roles"] = list(roles)
        return {**payload, **claims}

    def sign(self, payload: Mapping[str, Any] | bytes, header: Mapping[str, Any] | None = None) -> str:
        """Return a token with any payload, and any *header* members instead of or beside the usual ones."""
        body = payload if isinstance(payload, bytes) else _json(payload)
        head = _json({"typ": TYPE, "alg": self.algorithm, "kid": self.kid, **(header or {})})
        signing_input = encode_base64url(head) + b"." + encode_base64url(body)
        return (signing_input + b"." + encode_base64url(self.signature(signing_input))).decode()

    def signature(self, signing_input: bytes) -> bytes:
        """Return this mint's signature over any bytes, in the form of RFC 7518."""
        match self._key:
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self._key.sign(signing_input, ec.ECDSA(SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case ed25519.Ed25519PrivateKey():
                return self._key.sign(signing_input)
            case rsa.RSAPrivateKey():
                return self._key.sign(signing_input, PKCS1v15(), SHA256())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _generate(algorithm: Algorithm) -> _PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public_members(key: _PrivateKey) -> dict[str, str]:
    match key:
        case ec.EllipticCurvePrivateKey():
            point = key.public_key().public_numbers()
            x, y = (encode_base64url(number.to_bytes(32, "big")).decode() for number in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        case ed25519.Ed25519PrivateKey():
            raw = key.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(raw).decode()}
        case rsa.RSAPrivateKey():
            numbers = key.public_key().public_numbers()
            n, e = (
                encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()
                for number in (numbers.n, numbers.e)
            )
            return {"kty": "RSA", "n": n, "e": e}
