"""Keys, algorithms and signatures."""

import hashlib
import hmac
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authsvc.domain.ids import decode_base64url, encode_base64url
from tests.conformance.vectors.keys import p384_jwk, short_rsa_jwk, sign_with_p384, sign_with_short_rsa, twin
from tests.conformance.vectors.minting import CLAIMS, claims, header, mint, unsigned
from tests.conformance.vectors.token_case import (
    EC,
    EC_NEXT,
    ED,
    MISLABELLED,
    NOBODY,
    RSA,
    WITHDRAWN,
    TokenCase,
)


def _joined(signed: str, signature: bytes) -> str:
    return f"{signed}.{encode_base64url(signature)}"


def _signature(token: str) -> bytes:
    decoded = decode_base64url(token.rpartition(".")[2])
    assert decoded is not None
    return decoded


def _hs256(secret: bytes, kid: str) -> str:
    signed = unsigned({"typ": "at+jwt", "alg": "HS256", "kid": kid}, CLAIMS)
    return _joined(signed, hmac.digest(secret, signed.encode(), hashlib.sha256))


def signatures() -> Iterator[TokenCase]:
    """Signatures that hold, that don't, and that have another spelling."""
    for key in (EC, ED, RSA):
        alg = key.alg.lower()
        good = mint(key)
        signed, signature = good.rpartition(".")[0], _signature(good)
        flipped = bytes([signature[0] ^ 1]) + signature[1:]
        forged = f"{unsigned(header(key), claims(sub='u-admin'))}.{encode_base64url(signature)}"
        yield TokenCase(f"{alg}-flipped", "one bit of the signature flipped", _joined(signed, flipped))
        yield TokenCase(
            f"{alg}-last-bit",
            "the last bit flipped",
            _joined(signed, signature[:-1] + bytes([signature[-1] ^ 1])),
        )
        yield TokenCase(f"{alg}-short", "a byte too short", _joined(signed, signature[:-1]))
        yield TokenCase(f"{alg}-long", "a byte too long", _joined(signed, signature + b"\x00"))
        yield TokenCase(f"{alg}-zeros", "a signature of zeros", _joined(signed, bytes(len(signature))))
        yield TokenCase(f"{alg}-empty", "an empty signature", _joined(signed, b""))
        yield TokenCase(f"{alg}-grafted", "a true signature under another payload", forged)
    good = mint(EC)
    signed, signature = good.rpartition(".")[0], _signature(good)
    ec_cases = {
        "twin": ("the other signature of the same content, (r, n - s), is accepted", twin(signature)),
        "r-only": ("s is zero", signature[:32] + bytes(32)),
        "s-only": ("r is zero", bytes(32) + signature[32:]),
        "ones": ("r and s above the order", b"\xff" * 64),
        "leading-zero": ("both halves a byte longer", b"\x00" + signature[:32] + b"\x00" + signature[32:]),
        "der": ("DER instead of r and s side by side", _der(signature)),
    }
    for name, (what, changed) in ec_cases.items():
        yield TokenCase(f"es256-{name}", what, _joined(signed, changed))
    wrong = f"{unsigned(header(EC), CLAIMS)}"
    yield TokenCase(
        "es256-other-key", "signed by another known key", _joined(wrong, EC_NEXT.sign(wrong.encode()))
    )


def _der(signature: bytes) -> bytes:
    """ASN.1 of r and s, as some libraries write it."""

    def integer(raw: bytes) -> bytes:
        body = raw.lstrip(b"\x00")
        body = b"\x00" + body if body[0] & 0x80 else body
        return bytes([2, len(body)]) + body

    both = integer(signature[:32]) + integer(signature[32:])
    return bytes([0x30, len(both)]) + both


def confusions() -> Iterator[TokenCase]:
    """Header and key that do not go together."""
    for key in (EC, ED, RSA):
        for alg in ("ES256", "EdDSA", "RS256", "PS256", "RS512", "ES384", "HS256", "ES256K", "", "es256"):
            if alg != key.alg:
                token = mint(key, head=header(key, alg=alg))
                name = f"confusion-{key.alg.lower()}-as-{alg.lower() or 'nothing'}" + (
                    "-lower" if alg == "es256" else ""
                )
                yield TokenCase(name, f"a header that says {alg!r} over a key for {key.alg}", token)
    public = EC.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    rsa_pem = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = {
        "ec-pem": ("HS256 with the EC key's PEM as secret", pem, EC.kid),
        "rsa-pem": ("HS256 with the RSA key's PEM as secret", rsa_pem, RSA.kid),
        "ed-x": ("HS256 with the bytes of the Ed25519 key", decode_base64url(ED.jwk["x"]) or b"", ED.kid),
        "kid": ("HS256 with the kid as secret", EC.kid.encode(), EC.kid),
        "empty": ("HS256 with an empty secret", b"", EC.kid),
    }
    for name, (what, secret, kid) in secrets.items():
        yield TokenCase(f"hs256-{name}", what, _hs256(secret, kid))
    none = unsigned({"typ": "at+jwt", "alg": "none", "kid": EC.kid}, CLAIMS)
    yield TokenCase("none-unsigned", "alg none without a signature", f"{none}.")


def unknown() -> Iterator[TokenCase]:
    """Keys that nobody knows, that were withdrawn, or that no verifier may use."""
    stranger = mint(NOBODY)
    yield TokenCase("unknown-key", "a kid that is not in the set, which is read anew", stranger)
    yield TokenCase(
        "unknown-key-no-read", "the same, and the set cannot be read", stranger, key_fetch="fails"
    )
    # A kid is compared as text: no trimming, no case folding, no other spelling.
    for name, kid in {
        "case": EC.kid.swapcase(),
        "space": EC.kid + " ",
        "padded": EC.kid + "=",
        "prefix": EC.kid[:-1],
    }.items():
        yield TokenCase(
            f"unknown-kid-{name}",
            f"a known kid with a difference: {name}",
            mint(EC, head=header(EC, kid=kid)),
        )
    yield TokenCase(
        "unknown-kid-proto", "a kid that some objects have", mint(EC, head=header(EC, kid="__proto__"))
    )
    yield TokenCase("withdrawn-key", "a kid that the key answer names as withdrawn", mint(WITHDRAWN))
    fails = TokenCase(
        "withdrawn-key-no-read", "no read is needed to know that", mint(WITHDRAWN), key_fetch="fails"
    )
    yield fails
    both = "published and withdrawn: withdrawn counts"
    yield TokenCase("withdrawn-and-published", both, mint(EC), keys="published_and_withdrawn")
    yield TokenCase(
        "withdrawn-other", "another key's withdrawal changes nothing", mint(EC_NEXT), keys="first_withdrawn"
    )
    yield from _strangers()


def _strangers() -> Iterator[TokenCase]:
    """Keys in the set that nobody may use are as if not in it; the others are used."""
    p384, short = p384_jwk("p384"), short_rsa_jwk("short")
    p384_signed = unsigned({"typ": "at+jwt", "alg": "ES384", "kid": p384["kid"]}, CLAIMS)
    short_signed = unsigned({"typ": "at+jwt", "alg": "RS256", "kid": short["kid"]}, CLAIMS)
    tokens = {
        "oct": ("a symmetric key in the set", _hs256(b"secret-that-nobody-may-use", "oct-1")),
        "p384": (
            "a key on another curve",
            _joined(p384_signed, sign_with_p384("p384", p384_signed.encode())),
        ),
        "short-rsa": (
            "RSA of 1024 bits",
            _joined(short_signed, sign_with_short_rsa("short", short_signed.encode())),
        ),
        "mislabelled": ("an EC key that the set calls RS256", mint(MISLABELLED)),
        "mislabelled-as-said": (
            "the same, and the token says RS256",
            mint(MISLABELLED, head=header(MISLABELLED, alg="RS256")),
        ),
        "future": (
            "a kind of key from the future",
            mint(EC, head=header(EC, kid="future-1", alg="ML-DSA-65")),
        ),
        "first": ("the key before them", mint(EC)),
        "last": ("the key behind them", mint(RSA)),
    }
    for name, (what, token) in tokens.items():
        yield TokenCase(f"strangers-{name}", what, token, keys="strangers")
