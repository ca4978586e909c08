"""
The vectors' keys. Anybody can derive them from this file: TEST KEYS, never to be trusted anywhere.

A fixed label is hashed into a scalar (P-256), a seed (Ed25519) or primes (RSA), so that the public halves and, with
deterministic signatures (RFC 6979; Ed25519 and PKCS#1 v1.5 are so by themselves), every token stay the same.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authsvc.domain.ids import encode_base64url
from authsvc.keys import public_jwk, thumbprint

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_RSA_EXPONENT = 65537
_ROUNDS = 40


@dataclass(frozen=True)
class TestKey:
    """One key pair: how tokens name it, and how it signs."""

    __test__ = False  # not a test, whatever its name

    alg: str
    private: ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey

    @property
    def canonical_jwk(self) -> str:
        """The public half, as RFC 7638 section 3 hashes it."""
        return public_jwk(self.private.public_key())

    @property
    def kid(self) -> str:
        """Its thumbprint."""
        return thumbprint(self.canonical_jwk)

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as GetJwks publishes it."""
        return {**json.loads(self.canonical_jwk), "use": "sig", "alg": self.alg, "kid": self.kid}

    def sign(self, signed: bytes) -> bytes:
        """Return the JWS signature, the same one every time."""
        match self.private:
            case ec.EllipticCurvePrivateKey():
                algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
                r, s = decode_dss_signature(self.private.sign(signed, algorithm))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case Ed25519PrivateKey():
                return self.private.sign(signed)
            case rsa.RSAPrivateKey():
                return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def twin(signature: bytes) -> bytes:
    """Return the other ECDSA signature of the same content: (r, n - s)."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + (_P256_ORDER - s).to_bytes(32, "big")


@cache
def ec_key(label: str) -> TestKey:
    """A P-256 key."""
    scalar = int.from_bytes(_stretch(label, 32), "big") % (_P256_ORDER - 1) + 1
    return TestKey("ES256", ec.derive_private_key(scalar, ec.SECP256R1()))


@cache
def ed_key(label: str) -> TestKey:
    """An Ed25519 key."""
    return TestKey("EdDSA", Ed25519PrivateKey.from_private_bytes(_stretch(label, 32)))


@cache
def rsa_key(label: str, bits: int = 2048) -> TestKey:
    """An RSA key."""
    return TestKey("RS256", _rsa_private(label, bits))


def short_rsa_jwk(label: str) -> dict[str, str]:
    """A JWK of an RSA key of 1024 bits, which nobody may use."""
    numbers = _rsa_private(label, 1024).public_key().public_numbers()
    jwk = {"kty": "RSA", "e": _number(numbers.e), "n": _number(numbers.n)}
    kid = thumbprint(json.dumps(jwk, separators=(",", ":"), sort_keys=True))
    return {**jwk, "use": "sig", "alg": "RS256", "kid": kid}


def sign_with_short_rsa(label: str, signed: bytes) -> bytes:
    """A true signature by that key."""
    return _rsa_private(label, 1024).sign(signed, padding.PKCS1v15(), hashes.SHA256())


def p384_jwk(label: str) -> dict[str, str]:
    """A JWK of another curve and algorithm, as a later server might publish."""
    scalar = int.from_bytes(_stretch(label, 47), "big")
    numbers = ec.derive_private_key(scalar, ec.SECP384R1()).public_key().public_numbers()
    x, y = (encode_base64url(number.to_bytes(48, "big")) for number in (numbers.x, numbers.y))
    jwk = {"crv": "P-384", "kty": "EC", "x": x, "y": y}
    kid = thumbprint(json.dumps(jwk, separators=(",", ":"), sort_keys=True))
    return {**jwk, "use": "sig", "alg": "ES384", "kid": kid}


def sign_with_p384(label: str, signed: bytes) -> bytes:
    """A true ES384 signature by that key."""
    scalar = int.from_bytes(_stretch(label, 47), "big")
    key = ec.derive_private_key(scalar, ec.SECP384R1())
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384(), deterministic_signing=True)))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


@cache
def _rsa_private(label: str, bits: int) -> rsa.RSAPrivateKey:
    p, q = _prime(f"{label} p", bits // 2), _prime(f"{label} q", bits // 2)
    d = pow(_RSA_EXPONENT, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(_RSA_EXPONENT, p * q),
    ).private_key()


def _stretch(label: str, length: int) -> bytes:
    return hashlib.shake_256(b"authsvc conformance vectors, test keys only: " + label.encode()).digest(length)


def _number(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _prime(label: str, bits: int) -> int:
    """Return the first prime above a hash, its two top bits set so that a product of two has twice the bits."""
    candidate = int.from_bytes(_stretch(label, bits // 8), "big") | 3 << (bits - 2) | 1
    while candidate % _RSA_EXPONENT == 1 or not _is_prime(candidate):
        candidate += 2
    return candidate


_SMALL = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]


def _is_prime(number: int) -> bool:
    """Miller-Rabin with fixed bases; the candidates are hashes, not somebody's choice."""
    if any(number % small == 0 for small in _SMALL):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in _SMALL[:_ROUNDS]:
        power = pow(base, odd, number)
        if power in {1, number - 1}:
            continue
        for _ in range(twos - 1):
            power = pow(power, 2, number)
            if power == number - 1:
                break
        else:
            return False
    return True
