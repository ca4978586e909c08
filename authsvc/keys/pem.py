"""
One private key as PEM (PKCS#8, RFC 5958): made, or read and judged.

Nothing of a key's text is ever repeated in a complaint.
"""

from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from authsvc.keys.algorithms import GOOD_RSA_BITS, PrivateKey, algorithm_of

# PKCS#8 (RFC 7468 section 11) and the older form of OpenSSL.
_ENCRYPTED = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


class KeyProblem(ValueError):
    """The directory's keys cannot be used as they are; `complaints` has one line per fault, naming its file."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = tuple(complaints)


def generate_signing_key(alg: str = "ES256", *, passphrase: str = "") -> bytes:
    """
    Return a new private key as PEM, PKCS#8, encrypted if there is a *passphrase*.

    Randomness is the cryptographic library's own: it takes none from outside.

    Raises:
        ValueError: *alg* is none of ES256, EdDSA, RS256.

    """
    key: PrivateKey
    match alg:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case "RS256":
            key = rsa.generate_private_key(public_exponent=65537, key_size=GOOD_RSA_BITS)
        case _:
            raise ValueError(f"no such signing algorithm: {alg}")
    wrapping = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, wrapping)


def read_key(pem: bytes, *, name: str, passphrase: str, complaints: list[str]) -> PrivateKey | None:
    """Return the private key, or None and a complaint under this *name*; a passphrase opens encrypted ones only."""
    encrypted = any(marker in pem for marker in _ENCRYPTED)
    if encrypted and not passphrase:
        complaints.append(f"{name}: encrypted; give its passphrase as signing_keys_passphrase")
        return None
    try:
        key = load_pem_private_key(pem, password=passphrase.encode() if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's text is left out: it may quote what it could not read.
        what = "it does not open with the passphrase" if encrypted else "not a readable PEM private key"
        complaints.append(f"{name}: {what}")
        return None
    try:
        algorithm_of(key)
    except ValueError as error:
        complaints.append(f"{name}: {error}")
        return None
    assert isinstance(key, PrivateKey)
    return key
