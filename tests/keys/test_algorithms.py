"""Signatures and thumbprints, held against the RFCs' own examples and PyJWT."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authsvc.domain.access_token import Header
from authsvc.domain.ids import decode_base64url, encode_base64url
from authsvc.keys.algorithms import (
    PrivateHalf,
    PrivateKey,
    algorithm_of,
    load_public_jwk,
    public_jwk,
    public_part,
    thumbprint,
    verification_key,
)
from authsvc.keys.pem import generate_signing_key
from authsvc.ports import SigningKeyRecord

ALGORITHMS = ("ES256", "EdDSA", "RS256")
ORACLES = {
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "EdDSA": OKPAlgorithm(),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
}
# The order n of the group of P-256 (FIPS 186-4, D.1.2.3).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

RFC7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
    "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu"
    "6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a"
    "wapJzKnqDKgw"
)

KEYS: dict[str, PrivateKey] = {}
for _alg in ALGORITHMS:
    _loaded = load_pem_private_key(generate_signing_key(_alg), password=None)
    assert isinstance(_loaded, PrivateKey)
    KEYS[_alg] = _loaded


def record(key: PrivateKey, **changes: str) -> SigningKeyRecord:
    jwk = public_jwk(public_part(key))
    made = SigningKeyRecord(
        kid=thumbprint(jwk),
        alg=algorithm_of(key),
        public_jwk=jwk,
        state="active",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # texts of texts


def signer(key: PrivateKey) -> PrivateHalf:
    return PrivateHalf(header=verification_key(record(key)).header, _key=key)


def test_thumbprint_of_rfc_7638_section_3_1() -> None:
    """
    The RFC's own example key has the RFC's own thumbprint, though its JWK carries `alg` and `kid` in another order.
    """
    example = {"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    key = jwt.PyJWK.from_dict(example).key

    assert thumbprint(public_jwk(key)) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_thumbprint_of_rfc_8037_appendix_a() -> None:
    """
    The Ed25519 example key (A.1) has the thumbprint of A.3.
    """
    secret = decode_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    assert secret is not None
    key = Ed25519PrivateKey.from_private_bytes(secret).public_key()

    assert thumbprint(public_jwk(key)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_record_holds_what_pyjwt_reads(alg: str) -> None:
    """
    PyJWT reads our JWK as the same public key; it is minimal, sorted and without whitespace.
    """
    jwk = public_jwk(public_part(KEYS[alg]))
    read = jwt.PyJWK.from_json(jwk, algorithm=alg)

    assert public_part(KEYS[alg]) == read.key
    assert json.dumps(json.loads(jwk), separators=(",", ":"), sort_keys=True) == jwk
    assert {"ES256": {"crv", "kty", "x", "y"}, "EdDSA": {"crv", "kty", "x"}, "RS256": {"e", "kty", "n"}}[
        alg
    ] == json.loads(jwk).keys()


def test_short_coordinates_keep_their_leading_zeros() -> None:
    """
    RFC 7518 6.2.1.2: a coordinate is always 32 bytes, or one key in 128 gets another thumbprint elsewhere.
    """
    scalar = next(
        n
        for n in range(1, 5000)
        if ec.derive_private_key(n, ec.SECP256R1()).public_key().public_numbers().x < 2**248
    )
    key = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    members = json.loads(public_jwk(key))

    assert len(members["x"]) == 43
    assert len(members["y"]) == 43
    assert key == load_public_jwk(public_jwk(key))


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_our_signatures_hold_for_pyjwt_and_its_for_us(alg: str) -> None:
    """
    Both ways: what one signs, the other accepts; and PyJWT decodes a whole token of ours.
    """
    key, check = KEYS[alg], verification_key(record(KEYS[alg]))
    signing_input = b".".join(
        encode_base64url(json.dumps(part).encode()).encode() for part in ({"alg": alg}, {"sub": "u"})
    )
    ours = await signer(key).sign(signing_input)
    theirs = ORACLES[alg].sign(signing_input, key)

    assert ORACLES[alg].verify(signing_input, public_part(key), ours)
    assert check.verify(signing_input, theirs)
    assert check.verify(signing_input, ours)
    token = f"{signing_input.decode()}.{encode_base64url(ours)}"
    assert jwt.decode(token, key=public_part(key), algorithms=[alg]) == {"sub": "u"}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_header_names_the_key_and_its_one_algorithm(alg: str) -> None:
    """
    A verification key and its signer carry the header of RFC 9068 tokens.
    """
    expected = Header(kid=record(KEYS[alg]).kid, alg=alg, typ="at+jwt")

    assert expected == verification_key(record(KEYS[alg])).header
    assert expected == signer(KEYS[alg]).header


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_every_flipped_bit_of_a_signature_is_refused(alg: str) -> None:
    """
    No bit of a signature is ignored, and another message does not pass.
    """
    check, signature = verification_key(record(KEYS[alg])), await signer(KEYS[alg]).sign(b"message")

    for bit in range(len(signature) * 8):
        damaged = bytearray(signature)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not check.verify(b"message", bytes(damaged)), f"bit {bit}"
    assert not check.verify(b"massage", signature)


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_only_the_exact_length_is_a_signature(alg: str) -> None:
    """
    Cut, extended, empty and DER-encoded signatures are refused.
    """
    check, signature = verification_key(record(KEYS[alg])), await signer(KEYS[alg]).sign(b"message")

    stretched = signature[:32] + b"\0" + signature[32:]  # the same r and s as numbers
    for wrong in (b"", signature[:-1], signature + b"\0", b"\0" + signature, signature * 2, stretched):
        assert not check.verify(b"message", wrong)
    if isinstance(key := KEYS[alg], ec.EllipticCurvePrivateKey):
        assert not check.verify(b"message", key.sign(b"message", ec.ECDSA(ec.hashes.SHA256())))  # type: ignore[attr-defined]


@pytest.mark.parametrize("r", [0, 1, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, 2**256 - 1])
def test_extreme_r_and_s_are_refused_without_an_exception(r: int, s: int) -> None:
    """
    Zero, the group order and values above it are no signature of anything (the all-zero one once passed in Java).
    """
    check = verification_key(record(KEYS["ES256"]))

    assert not check.verify(b"message", r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@given(
    signing_input=st.binary(max_size=64),
    signature=st.binary(max_size=300) | st.binary(min_size=64, max_size=64),
)
def test_junk_never_raises(signing_input: bytes, signature: bytes) -> None:
    """
    Whatever a stranger sends, the answer is False.
    """
    for alg in ALGORITHMS:
        assert not verification_key(record(KEYS[alg])).verify(signing_input, signature)


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "RS256"},
        {"alg": "HS256"},
        {"kid": "another"},
        {"public_jwk": ""},
        {"public_jwk": "[]"},
        {"public_jwk": "[" * 100_000},
        {"public_jwk": '{"kty":"oct","k":"AAAA"}'},
        {"public_jwk": '{"crv":"P-256","kty":"EC","x":"AAAA","y":"AAAA"}'},
        {"public_jwk": '{"crv":"P-256","kty":"EC","x":"A+==","y":"AAAA"}'},
        {"public_jwk": '{"crv":"P-256","kty":"EC","x":1,"y":2}'},
        {"public_jwk": '{"crv":"Ed25519","kty":"OKP","x":"AAAA"}'},
        {"public_jwk": '{"e":"AQAB","kty":"RSA","n":"AAAA"}'},
    ],
)
def test_a_tampered_record_gives_no_key(changes: dict[str, str]) -> None:
    """
    A row whose parts do not belong together, or are not a key, is a ValueError and never a check.
    """
    with pytest.raises(ValueError):
        verification_key(record(KEYS["ES256"], **changes))


def test_a_respelt_jwk_is_refused() -> None:
    """
    One key has one text: added members, other order or whitespace would make a second kid for it.
    """
    canonical = public_jwk(public_part(KEYS["EdDSA"]))
    with_use = json.dumps({**json.loads(canonical), "use": "sig"}, separators=(",", ":"), sort_keys=True)

    for text in (with_use, canonical.replace(",", ", "), canonical.replace('"}', '="}')):
        with pytest.raises(ValueError, match=r"canonical|base64url"):
            load_public_jwk(text)


def test_weak_and_foreign_public_keys_are_refused() -> None:
    """
    RSA below 2048 bits, other curves and other families never become a check.
    """
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - weak on purpose
    wide = ec.generate_private_key(ec.SECP384R1())

    with pytest.raises(ValueError, match="1024 bits"):
        load_public_jwk(public_jwk(small.public_key()))
    with pytest.raises(ValueError, match="secp384r1"):
        algorithm_of(wide)
    with pytest.raises(ValueError, match="neither"):
        algorithm_of(ed448.Ed448PrivateKey.generate())


def test_no_half_prints_its_key() -> None:
    """
    Repr shows kid and algorithm only.
    """
    private, public = signer(KEYS["EdDSA"]), verification_key(record(KEYS["EdDSA"]))

    assert f"PrivateHalf(kid={private.header.kid}, alg=EdDSA)" == repr(private)
    assert f"PublicHalf(kid={public.header.kid}, alg=EdDSA)" == repr(public)
