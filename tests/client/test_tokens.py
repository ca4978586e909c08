"""What counts as a good token: PyJWT as oracle, every other kind of token of ours, and many thousand damaged ones."""

import json
import random  # noqa: TID251 - seeded: which damage is done is the same in every run
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc_client import Active, Inactive, InactiveReason
from authsvc_client.judgement import Demand, judge
from authsvc_client.revocations import RevocationView
from authsvc_client.signatures import KeySet, UnreadableKeys, read_key_set
from authsvc_client.testing import FakeClock, TokenMint
from authsvc_client.tokens import MAX_TOKEN_LENGTH, encode_base64url, parse_claims

CLOCK = FakeClock()
MINTS = {algorithm: TokenMint(algorithm=algorithm, clock=CLOCK) for algorithm in ("ES256", "EdDSA", "RS256")}
MINT = MINTS["ES256"]
KEYS = read_key_set(
    json.dumps({"keys": [mint.jwk for mint in MINTS.values()]}), issuer="authsvc", max_lifetime_s=86_400
)
NOW = CLOCK.now_s()
AUDIENCE = "orders"


def verdict(token: str, *, keys: KeySet = KEYS, now_s: float = NOW, **demand: Any) -> InactiveReason | None:
    """Why a token is refused; None if it is not."""
    found = judge(token, keys=keys, view=RevocationView(), now_s=now_s, demand=Demand(AUDIENCE, **demand))
    return found.reason if isinstance(found, Inactive) else None


@pytest.mark.parametrize("algorithm", MINTS)
def test_a_good_token_is_good_to_us_and_to_the_oracle(algorithm: str) -> None:
    """
    Each algorithm: what it says is what was put in, and PyJWT reads the same with the published key.
    """
    mint = MINTS[algorithm]
    claims = mint.claims(
        "用户",
        audience=[AUDIENCE, "b"],
        scopes=["x", "y"],
        roles=["r"],
        openid="o",
        external_id="e",
        prev=["p"],
    )
    token = mint.sign(claims)
    found = judge(token, keys=KEYS, view=RevocationView(), now_s=NOW, demand=Demand(AUDIENCE, ("y",), ("r",)))
    assert isinstance(found, Active)

    key = jwt.PyJWK(mint.jwk).key
    read = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert read == claims
    assert (found.user_id, found.session_id, found.app_id) == ("用户", claims["sid"], "wx-app")
    assert (found.scopes, found.roles, found.audiences) == (("x", "y"), ("r",), (AUDIENCE, "b"))
    assert (found.openid, found.external_id, found.previous_user_ids) == ("o", "e", ("p",))
    assert (found.token_id, found.issued_at.timestamp(), found.expires_at.timestamp()) == (
        claims["jti"],
        NOW,
        NOW + 7200,
    )


def test_personal_ids_stay_out_of_a_repr() -> None:
    """
    An Active that ends in a log line does not carry openid or external id there.
    """
    token = MINT.token(audience=AUDIENCE, openid="secret-openid", external_id="secret-external")
    found = judge(token, keys=KEYS, view=RevocationView(), now_s=NOW, demand=Demand(AUDIENCE))

    assert isinstance(found, Active)
    assert found.openid == "secret-openid"
    assert "secret" not in repr(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
CLAIM_NAMES = [*MINT.claims(audience=AUDIENCE), "openid", "roles", "external_id", "prev", "extra"]


@settings(max_examples=400, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(CLAIM_NAMES), json_values, max_size=2))
def test_what_the_oracle_refuses_is_refused_here(changes: dict[str, Any]) -> None:
    """
    Whatever a holder of the key signs: a token that passes here passes PyJWT with every check on.
    """
    claims = {**MINT.claims(audience=AUDIENCE), **changes}
    # The oracle reads the wall clock, so times are compared on its clock: far in the future for both.
    token = MINT.sign(json.dumps(claims).encode())
    if verdict(token) is None:
        jwt.decode(
            token,
            jwt.PyJWK(MINT.jwk).key,
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer="authsvc",
            options={
                "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                "require": ["exp", "iat", "nbf", "iss", "sub", "aud", "jti"],
            },
        )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_payload_breaks_the_reader(payload: bytes) -> None:
    """
    Any bytes are claims or none; nothing is raised.
    """
    assert parse_claims(payload) is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_text_breaks_the_judgement(text: str) -> None:
    """
    Any text at all is MALFORMED, lone surrogates included.
    """
    assert verdict(text) is InactiveReason.MALFORMED


def test_no_other_kind_of_token_passes() -> None:
    """
    Refresh tokens, ID tokens, logout tokens, plain JWTs and untyped ones are refused, whoever signed them.
    """
    claims = MINT.claims(audience=AUDIENCE)
    kinds: list[Any] = [
        "JWT",
        "jwt",
        "id+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "AT+JWT",
        "application/at+jwt",
        "",
        "at+jwt ",
    ]
    refused = {kind: verdict(MINT.sign(claims, {"typ": kind})) for kind in kinds}
    untyped = MINT.sign(claims, {"typ": None}).split(".")
    untyped[0] = encode_base64url(json.dumps({"alg": "ES256", "kid": MINT.kid}).encode()).decode()

    assert refused == dict.fromkeys(kinds, InactiveReason.WRONG_TYPE)
    assert verdict(".".join(untyped)) is InactiveReason.WRONG_TYPE
    assert verdict("wxr1." + "A" * 97) is InactiveReason.MALFORMED
    assert verdict(MINT.sign(claims)) is None


HEADERS = {
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "jku": {"jku": "https://evil.example"},
    "x5u": {"x5u": "https://evil.example"},
    "jwk": {"jwk": MINT.jwk},
    "crit": {"crit": ["exp"]},
    "empty crit": {"crit": []},
    "kid number": {"kid": 1},
    "kid surrogate": {"kid": "\ud800"},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_header_games_are_malformed(header: dict[str, Any]) -> None:
    """
    Signed with the right key or not.
    """
    assert verdict(MINT.sign(MINT.claims(audience=AUDIENCE), header)) is InactiveReason.MALFORMED


def test_a_key_is_bound_to_its_algorithm() -> None:
    """
    The kid of one key with the algorithm and signature of another, and HMAC with the public key as its secret.
    """
    claims = MINT.claims(audience=AUDIENCE)
    for algorithm, mint in MINTS.items():
        for other, stranger in MINTS.items():
            if other != algorithm:
                mixed = stranger.sign(claims, {"kid": mint.kid})
                assert verdict(mixed) is InactiveReason.BAD_SIGNATURE
    for alg in ("HS256", "HS512"):
        import hashlib
        import hmac

        head = encode_base64url(json.dumps({"typ": "at+jwt", "alg": alg, "kid": MINT.kid}).encode())
        signing_input = head + b"." + encode_base64url(json.dumps(claims).encode())
        digest = hmac.digest(
            json.dumps(MINT.jwk).encode(), signing_input, getattr(hashlib, alg.replace("HS", "sha"))
        )
        assert (
            verdict((signing_input + b"." + encode_base64url(digest)).decode())
            is InactiveReason.BAD_SIGNATURE
        )


SPELLINGS = {
    "doubled name": b'{"sub":"a",',
    "BOM": b"\xef\xbb\xbf{",
    "NaN": b'{"extra":NaN,',
    "bad UTF-8": b'{"extra":"\xff",',
    "UTF-16": None,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_json_has_one_reading(name: str) -> None:
    """
    Payloads that two parsers could read differently are malformed though the key signed them.
    """
    plain = json.dumps(MINT.claims(audience=AUDIENCE)).encode()
    start = SPELLINGS[name]
    payload = plain.decode().encode("utf-16") if start is None else start + plain[1:]

    assert verdict(MINT.sign(plain)) is None
    assert verdict(MINT.sign(payload)) is InactiveReason.MALFORMED


@pytest.mark.parametrize(
    "name", ["iss", "sub", "aud", "client_id", "jti", "sid", "scope", "openid", "external_id"]
)
def test_a_lone_surrogate_is_malformed(name: str) -> None:
    """
    In any text of the token: it is no text, and trips whoever writes it anywhere.
    """
    claims = MINT.claims(audience=AUDIENCE)

    assert verdict(MINT.sign({**claims, name: "\ud83d"})) is InactiveReason.MALFORMED
    assert verdict(MINT.sign({**claims, "extra": "\ud83d", "jti": "😀"})) is None


def test_size_and_time_end_where_they_should() -> None:
    """
    8192 characters pass, one more does not; leeway is 5 s on both sides, `exp` itself excluded and `nbf` included.
    """
    short = MINT.token(audience=AUDIENCE, extra="")
    filler = (MAX_TOKEN_LENGTH - len(short)) * 3 // 4
    fits = [
        token
        for n in range(filler - 4, filler + 4)
        if len(token := MINT.token(audience=AUDIENCE, extra="x" * n)) <= MAX_TOKEN_LENGTH
    ]
    assert max(map(len, fits)) >= MAX_TOKEN_LENGTH - 1
    assert verdict(fits[-1]) is None
    assert verdict(MINT.token(audience=AUDIENCE, extra="x" * (filler + 5))) is InactiveReason.MALFORMED

    token = MINT.token(audience=AUDIENCE)
    assert verdict(token, now_s=NOW - 5) is None
    assert verdict(token, now_s=NOW - 5.01) is InactiveReason.NOT_YET_VALID
    assert verdict(token, now_s=NOW + 7204.99) is None
    assert verdict(token, now_s=NOW + 7205) is InactiveReason.EXPIRED
    assert verdict(MINT.token(audience=AUDIENCE, exp=int(NOW) + 86_401)) is InactiveReason.LIFETIME_TOO_LONG
    assert verdict(MINT.token(audience=AUDIENCE, iss="other")) is InactiveReason.WRONG_ISSUER


def mutant(token: str, dice: random.Random) -> str:
    """The token with one to three small damages: a letter, a cut, a repetition, a swap of segments or of neighbours."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \x00é"
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        at = dice.randrange(len(token))
        match dice.randrange(6):
            case 0 | 1:
                token = token[:at] + dice.choice(letters) + token[at + 1 :]
            case 2:
                token = token[:at] + token[at + 1 :]
            case 3:
                token = token[:at] + dice.choice(letters) + token[at:]
            case 4:
                token = token[: at + 1]
            case _:
                parts = token.split(".")
                dice.shuffle(parts)
                token = ".".join(parts)
    return token


@pytest.mark.parametrize("algorithm", MINTS)
def test_no_mutant_is_accepted(algorithm: str) -> None:
    """
    5,000 damaged spellings per algorithm, 15,000 in all: none passes, none raises.
    """
    dice = random.Random(20_260_101)  # noqa: S311 - seeded damage
    token = MINTS[algorithm].token(audience=AUDIENCE, scopes=["a"], openid="o")
    assert verdict(token) is None
    mutants = {mutant(token, dice) for _ in range(7000)} - {token}
    chosen = sorted(mutants)[:5000]

    assert len(chosen) == 5000
    assert [one for one in chosen if verdict(one) is None] == []


def test_a_stolen_signature_fits_nothing_else() -> None:
    """
    The payload of one token under the header and signature of another.
    """
    one, other = (MINT.token(user, audience=AUDIENCE) for user in ("alice", "mallory"))
    head, _, tail = one.split(".")

    assert verdict(f"{head}.{other.split('.')[1]}.{tail}") is InactiveReason.BAD_SIGNATURE


USELESS = {
    "HMAC": {"kty": "oct", "alg": "HS256", "k": "AAAA", "kid": "k"},
    "other curve": {"kty": "EC", "crv": "P-384", "alg": "ES384", "x": "AA", "y": "AA", "kid": "k"},
    "off the curve": {**MINT.jwk, "x": "A" * 43, "kid": "k"},
    "alg of another type": {**MINT.jwk, "alg": "RS256", "kid": "k"},
    "for encryption": {**MINT.jwk, "use": "enc", "kid": "k"},
    "small RSA": {"kty": "RSA", "alg": "RS256", "n": "_" * 86, "e": "AQAB", "kid": "k"},
    "no kid": {**{name: value for name, value in MINT.jwk.items() if name != "kid"}},
    "not an object": "key",
}


@pytest.mark.parametrize("entry", USELESS.values(), ids=USELESS.keys())
def test_a_useless_key_is_as_if_it_were_not_there(entry: Any) -> None:
    """
    The rest of the set is read.
    """
    keys = read_key_set(json.dumps({"keys": [entry, MINT.jwk]}), issuer="authsvc", max_lifetime_s=1)

    assert list(keys.by_kid) == [MINT.kid]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys":{}}', "[" * 9999, "null"])
def test_what_is_no_key_set_is_refused(text: str) -> None:
    """
    So that the last good one stays.
    """
    with pytest.raises(UnreadableKeys):
        read_key_set(text, issuer="authsvc", max_lifetime_s=1)
