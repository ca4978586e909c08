"""One accepted spelling: what is MALFORMED, and that nothing PyJWT refuses passes here."""

import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain import access_token
from authsvc.domain.access_token import (
    MAX_TOKEN_LENGTH,
    Claims,
    Header,
    header_segment,
    join,
    parse,
    parse_claims,
)
from authsvc.domain.ids import encode_base64url
from tests.domain import tokens
from tests.domain.tokens import HEADER, PAYLOAD, SIGNATURE, segment, token

SECRET = "s" * 32
NOT_TEXTS: tuple[object, ...] = (None, "text", [1], ["a", None], {}, True, 1, [["a"]])
NOT_TEXT: tuple[object, ...] = (1, [], {}, True)
NOT_AUDIENCES: tuple[object, ...] = (1, True, ["a", 1], [None], [["a"]])


def raw(payload: dict[str, Any], **literal: str) -> str:
    """JSON of *payload* with some values replaced by literal text."""
    parts = [f"{json.dumps(name)}:{literal.get(name, json.dumps(value))}" for name, value in payload.items()]
    return "{" + ",".join(parts) + "}"


def test_the_plain_token_is_well_formed() -> None:
    """
    The base of every table below parses: each refusal is due to the one change it makes.
    """
    parsed = parse(token(), known_headers={})
    assert parsed is not None

    assert parsed.header == Header(kid="key-1", alg="ES256", typ="at+jwt")
    assert parsed.claims == Claims(
        issuer="authsvc",
        user_id="user-1",
        audiences=("wx1",),
        app_id="wx1",
        expires_at=1_800_007_200,
        issued_at=1_800_000_000,
        not_before=1_800_000_000,
        token_id="token-1",
        session_id="session-1",
        position=255,
        scopes=("read", "write"),
    )
    assert f"{parsed.signing_input.decode()}.{SIGNATURE}" == token()
    assert parsed.signature == bytes(64)


BAD_HEADERS: dict[str, object] = {
    "alg none": {**HEADER, "alg": "none"},
    "alg None": {**HEADER, "alg": "None"},
    "alg nONE": {**HEADER, "alg": "nONE"},
    "alg missing": {"typ": "at+jwt", "kid": "key-1"},
    "alg null": {**HEADER, "alg": None},
    "alg list": {**HEADER, "alg": ["ES256"]},
    "kid missing": {"typ": "at+jwt", "alg": "ES256"},
    "kid number": {**HEADER, "kid": 1},
    "kid surrogate": '{"typ":"at+jwt","alg":"ES256","kid":"\\ud800"}',
    "typ number": {**HEADER, "typ": 1},
    "typ surrogate": '{"typ":"\\ud800","alg":"ES256","kid":"key-1"}',
    "alg surrogate": '{"typ":"at+jwt","alg":"\\ud800","kid":"key-1"}',
    "jku": {**HEADER, "jku": "https://evil.example/keys"},
    "x5u": {**HEADER, "x5u": "https://evil.example/cert"},
    "jwk": {**HEADER, "jwk": {"kty": "oct", "k": "AAAA"}},
    "crit": {**HEADER, "crit": ["exp"]},
    "crit empty": {**HEADER, "crit": []},
    "crit b64": {**HEADER, "crit": ["b64"], "b64": False},
    "jku null": {**HEADER, "jku": None},
    "list": [HEADER],
    "text": "at+jwt",
    "empty": "",
    "empty object": {},
    "doubled alg": '{"typ":"at+jwt","alg":"ES256","kid":"key-1","alg":"none"}',
    "doubled by escape": '{"typ":"at+jwt","alg":"ES256","kid":"key-1","\\u0061lg":"RS256"}',
    "BOM": b"\xef\xbb\xbf" + json.dumps(HEADER).encode(),
    "UTF-16": json.dumps(HEADER).encode("utf-16"),
    "UTF-16LE": json.dumps(HEADER).encode("utf-16-le"),
    "Latin-1": '{"typ":"at+jwt","alg":"ES256","kid":"é"}'.encode("latin-1"),
    "trailing text": json.dumps(HEADER) + "x",
    "two values": json.dumps(HEADER) * 2,
    "NaN": '{"typ":"at+jwt","alg":"ES256","kid":"key-1","x":NaN}',
    "deep": "[" * 5000,
}

BAD_PAYLOADS: dict[str, object] = {
    **{f"{name} missing": {k: v for k, v in PAYLOAD.items() if k != name} for name in PAYLOAD},
    **{f"{name} null": {**PAYLOAD, name: None} for name in PAYLOAD},
    **{f"{name} object": {**PAYLOAD, name: {}} for name in PAYLOAD},
    **{f"{name} number": {**PAYLOAD, name: 7.5} for name in PAYLOAD},
    **{f"{name} doubled": raw(PAYLOAD)[:-1] + f',"{name}":{json.dumps(PAYLOAD[name])}}}' for name in PAYLOAD},
    **{
        f"{name} {literal}": raw(PAYLOAD, **{name: literal})
        for name in ("exp", "iat", "nbf")
        for literal in ('"1800007200"', "1800007200.0", "1.8e9", "true", "false", "-1", "NaN", "Infinity", "-Infinity",
                        "9007199254740992", "1" * 5000, "[1800007200]", "1800007200.5", "1E400")
    },
    **{
        f"{name} surrogate": raw(PAYLOAD, **{name: '"\\ud800"'})
        for name in ("iss", "sub", "aud", "client_id", "jti", "sid", "scope", "sp")
    },
    **{
        f"{name} {value!r}": {**PAYLOAD, name: value}
        for name in ("roles", "prev")
        for value in NOT_TEXTS
    },
    **{f"{name} {value!r}": {**PAYLOAD, name: value} for name in ("openid", "external_id") for value in NOT_TEXT},
    **{f"aud {value!r}": {**PAYLOAD, "aud": value} for value in NOT_AUDIENCES},
    **{
        f"sp {value!r}": {**PAYLOAD, "sp": value}
        for value in ("", "ff", "00000000000000FF", "00000000000000fg", "+0000000000000ff", "0x000000000000ff",
                      "00000000000000ff ", "000000000000000ff", "0000000000_000ff", "００００００００００００００ff", 255)
    },
    "scope list": {**PAYLOAD, "scope": ["read"]},
    "roles surrogate": raw({**PAYLOAD, "roles": []}, roles='["\\udfff"]'),
    "prev surrogate": raw({**PAYLOAD, "prev": []}, prev='["\\udfff"]'),
    "openid surrogate": raw({**PAYLOAD, "openid": ""}, openid='"\\ud800"'),
    "nested doubled": raw({**PAYLOAD, "x": 1}, x='{"a":1,"a":2}'),
    "doubled by escape": raw(PAYLOAD)[:-1] + ',"\\u0065xp":9999999999}',
    "NaN elsewhere": raw({**PAYLOAD, "x": 1}, x="NaN"),
    "list": [PAYLOAD],
    "text": '"text"',
    "number": "1",
    "null": "null",
    "empty": "",
    "empty object": {},
    "BOM": b"\xef\xbb\xbf" + json.dumps(PAYLOAD).encode(),
    "UTF-16": json.dumps(PAYLOAD).encode("utf-16"),
    "UTF-16BE": json.dumps(PAYLOAD).encode("utf-16-be"),
    "UTF-32": json.dumps(PAYLOAD).encode("utf-32"),
    "broken UTF-8": json.dumps(PAYLOAD).encode().replace(b"user-1", b"user-\xff"),
    "encoded surrogate": json.dumps(PAYLOAD).encode().replace(b"user-1", b"user-\xed\xa0\x80"),
    "overlong": json.dumps(PAYLOAD).encode().replace(b"user-1", b"user-\xc0\xaf"),
    "trailing comma": json.dumps(PAYLOAD)[:-1] + ",}",
    "trailing NUL": json.dumps(PAYLOAD) + "\0",
    "control character": json.dumps(PAYLOAD).replace("user-1", "user\n1"),
    "deep": '{"a":' * 900,
    "deeper": "[" * 4000,
}  # fmt: skip


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_malformed_headers(header: object) -> None:
    """
    Headers that name keys, extensions or no algorithm, are no JSON object of one reading, or of wrong types.
    """
    assert parse(token(header=header), known_headers={}) is None


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
def test_malformed_payloads(payload: object) -> None:
    """
    Claims missing, doubled, of wrong types, in other encodings: each is accepted by some parser somewhere.
    """
    assert parse(token(payload=payload), known_headers={}) is None


GOOD = token()
HEAD, BODY, _ = GOOD.split(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        HEAD,
        f"{HEAD}.{BODY}",
        f"{GOOD}.",
        f".{GOOD}",
        f"{GOOD}.{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}.{SIGNATURE}.{SIGNATURE}",
        f"{HEAD}=.{BODY}.{SIGNATURE}",
        f"{HEAD}.{BODY}=.{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}=",
        f"{HEAD}.{BODY}.{SIGNATURE}==",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}B",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}+",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}/",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}\0",
        f"Bearer {GOOD}",
        GOOD.replace(".", ". "),
        GOOD.replace(".", "．"),
        GOOD[:-1] + "é",
        GOOD[:-1] + "\ud800",
        HEAD[:-1] + "ａ" + GOOD[len(HEAD) :],
        "\ufeff" + GOOD,
        GOOD + "A" * MAX_TOKEN_LENGTH,
        "A" * 10**6,
        "." * 10**6,
    ],
)  # fmt: skip
def test_malformed_texts(text: str) -> None:
    """
    Parts, padding, stray bits, whitespace, foreign alphabets, surrogates, size.
    """
    assert parse(text, known_headers={}) is None
    assert parse(text, known_headers={HEAD: Header("key-1", "ES256", "at+jwt")}) is None


@given(place=st.integers(0, len(GOOD) - 1), character=st.characters(exclude_categories=()))
def test_a_byte_outside_the_alphabet_is_refused_anywhere(place: int, character: str) -> None:
    """
    Only A-Z a-z 0-9 - _ and the two dots ever occur in an accepted token.
    """
    text = GOOD[:place] + character + GOOD[place + 1 :]
    parsed = parse(text, known_headers={})

    assert parsed is None or set(text) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    )


def test_a_known_header_saves_the_parse_and_nothing_else() -> None:
    """
    The header segment of our own key is matched as text; the rest of the token is judged as ever.
    """
    ours = header_segment(kid="kid", alg="ES256")
    known = {ours: Header(kid="kid", alg="ES256", typ="at+jwt")}
    text = f"{ours}.{segment(PAYLOAD)}.{SIGNATURE}"

    assert parse(text, known_headers=known) == parse(text, known_headers={})
    assert parse(f"{ours}.{segment({})}.{SIGNATURE}", known_headers=known) is None


@pytest.mark.parametrize("typ", ["", "JWT", "jwt", "AT+JWT", "application/at+jwt", "dpop+jwt"])
def test_another_type_is_well_formed(typ: str) -> None:
    """
    WRONG_TYPE is judged after MALFORMED, so the type is carried, exactly as spelt.
    """
    parsed = parse(token(header={**HEADER, "typ": typ}), known_headers={})
    untyped = parse(token(header={"alg": "ES256", "kid": "k"}), known_headers={})

    assert parsed is not None
    assert parsed.header.typ == typ
    assert untyped is not None
    assert untyped.header.typ == ""


def test_unknown_claims_are_ignored() -> None:
    """
    A newer issuer may add claims (RFC 9068 section 4).
    """
    assert parse_claims(json.dumps({**PAYLOAD, "new": {"nested": [1, 2.5, None]}}).encode()) is not None


@given(tokens.claims)
def test_claims_survive_the_wire(claims: Claims) -> None:
    """
    parse_claims(payload()) is the claims, and the token is built of exactly that payload.
    """
    assert parse_claims(claims.payload()) == claims
    signed = access_token.signing_input(claims, header=header_segment(kid="k", alg="ES256"))
    assert signed.split(b".")[1].decode() == encode_base64url(claims.payload())


@given(tokens.claims)
def test_pyjwt_reads_the_same_token(claims: Claims) -> None:
    """
    The oracle: a token joined from our parts decodes under PyJWT to the claims of RFC 9068, and its token parses here.
    """
    ours = header_segment(kid="k", alg="HS256")
    signing_input = access_token.signing_input(claims, header=ours)
    signature = jwt.get_algorithm_by_name("HS256").sign(signing_input, SECRET.encode())
    options: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
    decoded = jwt.decode(join(signing_input, signature), SECRET, algorithms=["HS256"], options=options)

    assert jwt.get_unverified_header(join(signing_input, signature)) == {
        "typ": "at+jwt",
        "alg": "HS256",
        "kid": "k",
    }
    assert (decoded["iss"], decoded["sub"], decoded["client_id"]) == (
        claims.issuer,
        claims.user_id,
        claims.app_id,
    )
    assert (decoded["exp"], decoded["iat"], decoded["nbf"]) == (
        claims.expires_at,
        claims.issued_at,
        claims.not_before,
    )
    assert (decoded["jti"], decoded["sid"]) == (claims.token_id, claims.session_id)
    assert decoded["sp"] == claims.position.to_bytes(8, "big").hex()
    assert decoded.get("openid") == claims.openid
    theirs = jwt.encode(decoded, SECRET, algorithm="HS256", headers={"kid": "k", "typ": "at+jwt"})
    parsed = parse(theirs, known_headers={})
    assert parsed is not None
    assert parsed.claims == claims


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(
    header=st.dictionaries(st.sampled_from([*HEADER, "jku", "crit", "b64", "x"]), values),
    payload=st.dictionaries(st.sampled_from([*PAYLOAD, "openid", "roles"]), values),
)
def test_never_looser_than_pyjwt(header: dict[str, Any], payload: dict[str, Any]) -> None:
    """
    With some fields of a good token replaced by anything: what passes here, PyJWT decodes too.
    """
    text = token(header={**HEADER, **header}, payload={**PAYLOAD, **payload})
    parsed = parse(text, known_headers={})

    if parsed is not None:
        complete = jwt.api_jwt.decode_complete(text, options={"verify_signature": False})
        assert complete["payload"]["sub"] == parsed.claims.user_id
        assert complete["header"]["kid"] == parsed.header.kid


@given(st.binary(max_size=80) | values.map(lambda value: json.dumps(value).encode()))
def test_no_payload_raises(payload: bytes) -> None:
    """
    Whatever the bytes, the answer is claims or None.
    """
    parse_claims(payload)


def test_the_openid_stays_out_of_the_repr() -> None:
    """
    Claims may be printed.
    """
    claims = parse_claims(json.dumps({**PAYLOAD, "openid": "canary"}).encode())

    assert claims is not None
    assert claims.openid == "canary"
    assert "canary" not in repr(claims)
