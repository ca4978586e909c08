"""Keys of ours in the three algorithms, keys of strangers, and tokens signed by any of them, made at once."""

import base64
import functools
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from authsvc.keys import generate_signing_key, public_jwk, thumbprint, write_new
from tests.fakes import FakeClock

ALGORITHMS = ("ES256", "EdDSA", "RS256")
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def hs256(signed: str, secret: bytes) -> str:
    return encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


@dataclass(frozen=True)
class Key:
    """A private key with its names."""

    alg: str
    owner: str
    private: PrivateKey = field(repr=False)
    pem: bytes = field(repr=False)

    @classmethod
    @functools.cache  # an RSA key takes a second, and nothing here changes one
    def generate(cls, alg: str, owner: str) -> "Key":
        """The key of this owner, made once per process."""
        pem = generate_signing_key(alg)
        private = load_pem_private_key(pem, password=None)
        assert isinstance(private, PrivateKey)
        return cls(alg, owner, private, pem)

    @property
    def jwk(self) -> str:
        return public_jwk(self.private.public_key())

    @property
    def kid(self) -> str:
        return thumbprint(self.jwk)

    def sign(self, signed: str) -> bytes:
        """The signature in the form of RFC 7518 and RFC 8037."""
        match self.private:
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.der(signed))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(signed.encode())
            case rsa.RSAPrivateKey():
                return self.private.sign(signed.encode(), PKCS1v15(), SHA256())

    def der(self, signed: str) -> bytes:
        """The ECDSA signature as ASN.1, which no JWS has."""
        assert isinstance(self.private, ec.EllipticCurvePrivateKey)
        return self.private.sign(signed.encode(), ec.ECDSA(SHA256()))

    def header(self, **members: Any) -> dict[str, Any]:
        """The header of its tokens; None takes a member away."""
        plain = {"typ": "at+jwt", "alg": self.alg, "kid": self.kid, **members}
        return {name: value for name, value in plain.items() if value is not None}

    def token(self, payload: object, header: object = None) -> str:
        """Any header and payload (bytes as they are), really signed by this key."""
        head = header if isinstance(header, bytes) else to_json(self.header() if header is None else header)
        body = payload if isinstance(payload, bytes) else to_json(payload)
        signed = f"{encode(head)}.{encode(body)}"
        return f"{signed}.{encode(self.sign(signed))}"

    def public_texts(self) -> tuple[bytes, ...]:
        """Everything public that somebody could take for an HMAC secret."""
        public = self.private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return pem, pem.rstrip(), der, self.jwk.encode(), self.kid.encode(), b""


@dataclass(frozen=True)
class Keyring:
    """Ours by algorithm, and as many of a stranger's."""

    ours: dict[str, Key]
    foreign: dict[str, Key]

    @classmethod
    def write(cls, directory: Path, clock: FakeClock) -> "Keyring":
        """Make them; ours lie in the directory that a core loads."""
        keyring = cls(
            {alg: Key.generate(alg, "us") for alg in ALGORITHMS},
            {alg: Key.generate(alg, "a stranger") for alg in ALGORITHMS},
        )
        for key in keyring.ours.values():
            write_new(directory / "keys", key.pem, created_at=clock.now())
        return keyring
