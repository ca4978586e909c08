"""Access tokens as nobody but a test would make them: any claims, any header, any key, any damage."""

import json
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authsvc.domain import access_token
from authsvc.domain.access_token import Claims
from authsvc.domain.ids import decode_base64url, encode_base64url
from authsvc.keys import generate_signing_key, public_jwk, thumbprint
from authsvc.ports import Signer, SigningKeyRecord
from tests.fakes import FakeClock

# RFC 5903 section 3.1: the order of P-256.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def claims_of(token: str) -> Claims:
    """What a token says, believed or not."""
    payload = decode_base64url(token.split(".")[1])
    assert payload is not None
    claims = access_token.parse_claims(payload)
    assert claims is not None
    return claims


async def sign(claims: Claims, *, signer: Signer, **header: Any) -> str:
    """A token with these claims; *header* changes or adds header members (None takes one away)."""
    members: dict[str, Any] = {"typ": access_token.TYPE, "alg": signer.header.alg, "kid": signer.header.kid}
    members.update(header)
    present = {name: value for name, value in members.items() if value is not None}
    segment = encode_base64url(json.dumps(present, separators=(",", ":")).encode())
    signed = access_token.signing_input(claims, header=segment)
    return access_token.join(signed, await signer.sign(signed))


async def resign(token: str, *, signer: Signer, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """The same token with changed claims or header, signed anew."""
    return await sign(replace(claims_of(token), **changes), signer=signer, **(header or {}))


def twin(token: str) -> str:
    """The other signature that ECDSA accepts for the same content: (r, n - s)."""
    head, payload, tail = token.split(".")
    signature = decode_base64url(tail)
    assert signature is not None
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    return f"{head}.{payload}.{encode_base64url(r + (P256_ORDER - s).to_bytes(32, 'big'))}"


def graft(payload_of: str, signature_of: str) -> str:
    """The payload of one token under the header and signature of another."""
    head, _, tail = signature_of.split(".")
    return f"{head}.{payload_of.split('.')[1]}.{tail}"


def stranger(clock: FakeClock) -> tuple[SigningKeyRecord, bytes]:
    """A fresh key that nobody knows: its public record and its PEM."""
    pem = generate_signing_key()
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    jwk = public_jwk(key.public_key())
    return SigningKeyRecord(
        kid=thumbprint(jwk), alg="ES256", public_jwk=jwk, state="prepared", created_at=clock.now()
    ), pem
