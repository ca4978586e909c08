"""
The three signature algorithms (RFC 7518 section 3, RFC 8037), their public JWKs and thumbprints (RFC 7638).

PyJWT reads and writes JWKs. Checks call `cryptography` directly: PyJWT's algorithm objects cost another 2-3 µs on top
of the 67 µs that an ES256 check takes; they are the oracle in the tests. One key has one algorithm, by its type.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.domain.access_token import TYPE, Header
from authsvc.domain.ids import encode_base64url
from authsvc.ports import SigningKeyRecord

MIN_RSA_BITS = 2048
# What NIST SP 800-57 part 1 (table 2) wants of keys that are used beyond 2030.
GOOD_RSA_BITS = 3072
# Above this a single check costs more than a caller should be able to spend for us.
MAX_RSA_BITS = 8192
_EC_BYTES = 32
_EC_SIGNATURE_BYTES = 64
_ED_SIGNATURE_BYTES = 64
_ECDSA = ECDSA(SHA256())
_PKCS1 = padding.PKCS1v15()
_SHA256 = SHA256()

# RFC 7638 section 3.2, RFC 8037 appendix A.3.
_REQUIRED_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_ALGORITHM_OF_KTY = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey
Check = Callable[[bytes, bytes], bool]


def algorithm_of(key: object) -> str:
    """
    Return the one algorithm of a private or public key: `ES256`, `EdDSA` or `RS256`.

    Raises:
        ValueError: another kind of key, another curve than P-256, or RSA outside 2048-8192 bits.

    """
    match key:
        case EllipticCurvePrivateKey() | EllipticCurvePublicKey():
            if not isinstance(key.curve, SECP256R1):
                raise ValueError(f"curve {key.curve.name} is not P-256")
            return "ES256"
        case Ed25519PrivateKey() | Ed25519PublicKey():
            return "EdDSA"
        case RSAPrivateKey() | RSAPublicKey():
            if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
                raise ValueError(f"RSA of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")
            return "RS256"
        case _:
            raise ValueError("neither a P-256, nor an Ed25519, nor an RSA key")


def public_jwk(key: PublicKey) -> str:
    """Return the key as the JSON that RFC 7638 section 3 hashes: required members only, sorted, no whitespace."""
    members: dict[str, str] = _jwk_codec(algorithm_of(key)).to_jwk(key, as_dict=True)
    required = {name: members[name] for name in _REQUIRED_MEMBERS[members["kty"]]}
    return json.dumps(required, separators=(",", ":"), sort_keys=True)


def thumbprint(canonical_jwk: str) -> str:
    """Return the kid of a canonical JWK: base64url of its SHA-256 (RFC 7638)."""
    return encode_base64url(hashlib.sha256(canonical_jwk.encode()).digest())


def load_public_jwk(text: str) -> PublicKey:
    """
    Return the public key behind a canonical JWK, as `public_jwk` wrote it.

    Raises:
        ValueError: unreadable, not canonical, not on the curve, or too weak.

    """
    from jwt.exceptions import InvalidKeyError

    try:
        members = json.loads(text)
        key = _jwk_codec(_ALGORITHM_OF_KTY[members["kty"]]).from_jwk(members)
    except (InvalidKeyError, LookupError, TypeError, RecursionError):
        key = None
    if not isinstance(key, PublicKey) or public_jwk(key) != text:
        raise ValueError("not the canonical JWK of a supported public key")
    return key


def _jwk_codec(alg: str) -> Any:
    """Return PyJWT's codec for the JWKs of an algorithm's keys."""
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    return {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm}[alg]


@dataclass(frozen=True, slots=True, repr=False)
class PublicHalf:
    """Implements ports.VerificationKey; `verify` is the bare check, chosen once by the key's type."""

    header: Header
    verify: Check

    def __repr__(self) -> str:
        return f"PublicHalf(kid={self.header.kid}, alg={self.header.alg})"


@dataclass(frozen=True, slots=True, repr=False)
class PrivateHalf:
    """Implements ports.Signer over a private key in memory."""

    header: Header
    _key: PrivateKey

    async def sign(self, signing_input: bytes) -> bytes:
        """See ports.Signer.sign."""
        match self._key:
            case EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self._key.sign(signing_input, _ECDSA))
                return r.to_bytes(_EC_BYTES, "big") + s.to_bytes(_EC_BYTES, "big")
            case Ed25519PrivateKey():
                return self._key.sign(signing_input)
            case RSAPrivateKey():
                return self._key.sign(signing_input, _PKCS1, _SHA256)

    def __repr__(self) -> str:
        return f"PrivateHalf(kid={self.header.kid}, alg={self.header.alg})"


def verification_key(record: SigningKeyRecord) -> PublicHalf:
    """
    Return the check for a key of the database.

    Raises:
        ValueError: the JWK is unreadable or weak, or the record's kid or algorithm is not this key's own.

    """
    key = load_public_jwk(record.public_jwk)
    alg = algorithm_of(key)
    if record.alg != alg:
        raise ValueError(f"a key for {alg} is recorded as one for {record.alg}")
    if record.kid != thumbprint(record.public_jwk):
        raise ValueError("the kid is not the thumbprint of the key")
    return PublicHalf(header=Header(kid=record.kid, alg=alg, typ=TYPE), verify=_check(key))


def _check(key: PublicKey) -> Check:
    match key:
        case EllipticCurvePublicKey():
            return _ec_check(key)
        case Ed25519PublicKey():
            return _ed_check(key)
        case RSAPublicKey():
            return _rsa_check(key)


def _ec_check(key: EllipticCurvePublicKey) -> Check:
    bare = key.verify

    def verify(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != _EC_SIGNATURE_BYTES:
            return False
        r, s = int.from_bytes(signature[:_EC_BYTES], "big"), int.from_bytes(signature[_EC_BYTES:], "big")
        try:
            bare(encode_dss_signature(r, s), signing_input, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return verify


def _ed_check(key: Ed25519PublicKey) -> Check:
    bare = key.verify

    def verify(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != _ED_SIGNATURE_BYTES:
            return False
        try:
            bare(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return verify


def _rsa_check(key: RSAPublicKey) -> Check:
    bare, length = key.verify, (key.key_size + 7) // 8

    def verify(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != length:
            return False
        try:
            bare(signature, signing_input, _PKCS1, _SHA256)
        except InvalidSignature:
            return False
        return True

    return verify


def public_part(key: PrivateKey) -> PublicKey:
    """Return the public half of a private key."""
    return key.public_key()
