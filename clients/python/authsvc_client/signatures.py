"""
The key set of a verifier: what GetJwks says, read once, and the bare signature checks.

Three algorithms (RFC 7518 section 3, RFC 8037), each bound to one type of key; `none` and HMAC are not among them. A
key of the set that cannot be used safely is left out, so that its tokens are of an unknown key.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.tokens import TYPE, Header, KnownHeaders, decode_base64url, header_segment

_RSA_BITS = range(2048, 8192 + 1)
_SHA256, _ECDSA, _PKCS1 = SHA256(), ECDSA(SHA256()), PKCS1v15()

Check = Callable[[bytes, bytes], bool]
"""Tell whether the second argument is the key's signature over the first."""


class UnreadableKeys(ValueError):
    """The answer of GetJwks is none to verify with; the last good one stays."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key with its one algorithm."""

    kid: str
    alg: str
    verify: Check = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id, the ids of withdrawn keys, and the rules for every token; `max_lifetime_s` is seconds."""

    by_kid: dict[str, VerificationKey]
    withdrawn: frozenset[str]
    issuer: str
    max_lifetime_s: float
    known_headers: KnownHeaders = field(repr=False)

    def without(self, withdrawn: frozenset[str]) -> "KeySet":
        """Return the same keys with these withdrawn."""
        return replace(self, withdrawn=withdrawn)


NO_KEYS = KeySet(by_kid={}, withdrawn=frozenset(), issuer="", max_lifetime_s=0, known_headers={})


def read_key_set(
    jwks_json: str, *, issuer: str, max_lifetime_s: float, withdrawn: Iterable[str] = ()
) -> KeySet:
    """
    Return the key set of a JWKS document (RFC 7517) and the rules that came with it.

    Raises:
        UnreadableKeys: it is no key set, or a rule is missing. A set without usable keys is an answer.

    """
    try:
        entries = json.loads(jwks_json)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not issuer or max_lifetime_s <= 0:
        raise UnreadableKeys("not a key set with its rules")
    by_kid: dict[str, VerificationKey] = {}
    for entry in entries:
        key = _read_key(entry)
        # A second key of the same name would make the verdict a matter of order.
        if key is not None and key.kid not in by_kid:
            by_kid[key.kid] = key
    return KeySet(
        by_kid=by_kid,
        withdrawn=frozenset(withdrawn),
        issuer=issuer,
        max_lifetime_s=max_lifetime_s,
        known_headers={
            header_segment(key.kid, key.alg): Header(key.kid, key.alg, TYPE) for key in by_kid.values()
        },
    )


def _read_key(entry: Any) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, alg = entry.get("kid"), entry.get("alg")
    read = {("EC", "ES256"): _read_ec, ("OKP", "EdDSA"): _read_ed, ("RSA", "RS256"): _read_rsa}.get(
        (str(entry.get("kty")), str(alg))
    )
    if read is None or not isinstance(kid, str) or not kid:
        return None
    try:
        check = read(entry)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return VerificationKey(kid=kid, alg=str(alg), verify=check)


def _member(entry: dict[str, Any], name: str, *, length: int | None = None) -> bytes:
    raw = decode_base64url(entry.get(name))
    if raw is None or (length is not None and len(raw) != length):
        raise ValueError(f"member {name}")
    return raw


def _number(entry: dict[str, Any], name: str, *, length: int | None = None) -> int:
    return int.from_bytes(_member(entry, name, length=length), "big")


def _read_ec(entry: dict[str, Any]) -> Check:
    if entry.get("crv") != "P-256":
        raise ValueError("curve")
    numbers = EllipticCurvePublicNumbers(
        _number(entry, "x", length=32), _number(entry, "y", length=32), SECP256R1()
    )
    bare = numbers.public_key().verify

    def verify(signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            bare(encode_dss_signature(r, s), signing_input, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return verify


def _read_ed(entry: dict[str, Any]) -> Check:
    if entry.get("crv") != "Ed25519":
        raise ValueError("curve")
    bare = Ed25519PublicKey.from_public_bytes(_member(entry, "x", length=32)).verify

    def verify(signing_input: bytes, signature: bytes) -> bool:
        try:
            bare(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return verify


def _read_rsa(entry: dict[str, Any]) -> Check:
    key = RSAPublicNumbers(_number(entry, "e"), _number(entry, "n")).public_key()
    if key.key_size not in _RSA_BITS:
        raise ValueError("size")
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
