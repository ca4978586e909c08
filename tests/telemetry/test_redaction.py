"""Canaries: secrets planted anywhere never come out."""

import base64
import json
from collections import UserDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain import refresh_token
from authsvc.domain.errors import InvalidField, NotFound, WeChatMisconfigured
from authsvc.domain.ids import encode_base64url, encode_id
from authsvc.domain.keyring import KeyRing
from authsvc.telemetry.redaction import (
    MAX_TEXT,
    REDACTED,
    describe,
    is_secret_name,
    redact,
    redact_text,
    trace,
)

SECRET_NAMES = [
    "token", "access_token", "refresh_token", "code", "js_code", "secret", "session_key", "openid", "unionid",
    "authorization", "phone", "phone_number", "purePhoneNumber", "phone_code", "app_secret", "AppSecret",
    "accessToken", "X-Refresh-Token", "Authorization", "cookie", "Set-Cookie", "mini_program_code", "password",
    "master_keys", "private_key", "api-key", "OPENID", "encryptedData", "iv", "current_secret",
]  # fmt: skip
# In free text these words are too common to hide what follows them.
FIELD_ONLY = {"encryptedData", "iv", "master_keys", "private_key", "api-key"}
PLAIN_NAMES = [
    "user_id", "session_id", "app_id", "kid", "key_id", "errcode", "status", "reason", "token_id", "request_id",
    "trace_id", "method", "outcome", "duration_ms", "count", "phone_error", "message",
]  # fmt: skip


def refresh_text(nonce: bytes) -> str:
    ring = KeyRing(current_id=b"keyI", keys={b"keyI": b"k" * 32})
    token = refresh_token.first_token(nonce, nonce=nonce, key_id=b"keyI")
    return refresh_token.spell(token, ring=ring)


def jwt_text(header: str, claims: dict[str, Any], signature: bytes) -> str:
    payload = json.dumps(claims).encode()
    return ".".join(encode_base64url(part) for part in (header.encode(), payload, signature))


random_16 = st.binary(min_size=16, max_size=16)
jwts = st.builds(
    jwt_text,
    st.sampled_from(
        [
            '{"typ":"at+jwt","alg":"ES256","kid":"k"}',
            '{ "alg" : "none" }',
            '{\n"alg":"RS256"}',
            '{"alg":"HS256"}',
        ]
    ),
    st.fixed_dictionaries({"sub": st.text(max_size=10), "openid": st.just("canary")}),
    st.binary(min_size=0, max_size=64),
)
our_jwts = st.builds(
    jwt_text, st.just('{"typ":"at+jwt","alg":"ES256","kid":"k"}'), st.just({"openid": "canary"}), random_16
)
openids = st.text("ABCDEFGHIJKLMNOPabcdefgh0123456789_-", min_size=27, max_size=27).map("o".__add__)
recognised = st.one_of(
    random_16.map(refresh_text),
    jwts,
    openids,
    random_16.map(lambda raw: base64.b64encode(raw).decode()),
    st.just("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"),
)
plain_text = st.text(st.characters(codec="utf-8", exclude_characters="="), max_size=20)
canaries = st.integers(10**11, 10**12).map("canary{}".format)
filler = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | plain_text | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3) | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


def buried(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Put a leaf somewhere inside nested containers."""
    return st.recursive(
        leaf,
        lambda inner: (
            st.tuples(filler, inner).map(list)
            | st.tuples(inner, filler)
            | st.dictionaries(st.sampled_from(PLAIN_NAMES), inner, min_size=1, max_size=2)
            | st.dictionaries(st.sampled_from(PLAIN_NAMES), inner, min_size=1, max_size=1).map(UserDict)
        ),
        max_leaves=4,
    )


def shown(value: object) -> str:
    return orjson.dumps(redact(value)).decode()


@given(data=st.data(), name=st.sampled_from(SECRET_NAMES), canary=canaries)
def test_a_secret_field_never_shows_whatever_it_holds_at_any_depth(
    data: st.DataObject, name: str, canary: str
) -> None:
    """
    Under a secret name, text, lists and nested fields all vanish, wherever the field lies.
    """
    held = data.draw(st.sampled_from([canary, [canary], {"inner": canary}, {canary: 1}, canary.encode()]))
    value = data.draw(buried(st.just({name: held})))

    assert canary not in shown(value)


@given(value=st.data(), secret=recognised, before=plain_text, after=plain_text)
def test_what_looks_like_a_token_never_shows_under_any_name(
    value: st.DataObject, secret: str, before: str, after: str
) -> None:
    """
    Refresh tokens, JWTs, openids, session keys and PEM are cut out of text under harmless names, at any depth.
    """
    text = f"{before} {secret} {after}"
    result = shown(
        value.draw(buried(st.just(text) | st.just({text: 1}) | st.just({secret: {"x": [secret]}})))
    )

    for part in (secret, secret.rpartition(".")[0] or secret, json.dumps(secret)[1:-1]):
        assert part not in result


@given(token=our_jwts | random_16.map(refresh_text), keep=st.integers(24, 200))
def test_a_token_cut_short_is_no_less_secret(token: str, keep: int) -> None:
    """
    Truncation by a library does not carry a token past the redaction.
    """
    cut = token[:keep]

    assert cut not in redact_text(f"token was {cut}")


@pytest.mark.parametrize("name", [name for name in SECRET_NAMES if name not in FIELD_ONLY])
@pytest.mark.parametrize(
    "form",
    [
        "{0}={1}",
        "{0}: {1}",
        '"{0}": "{1}"',
        "'{0}': '{1}'",
        "?x=1&{0}={1}&y=2",
        "{0}%3D{1}",
        "{0}:{1}",
        "{0} = {1}",
    ],
)
def test_pairs_in_free_text_lose_their_value(name: str, form: str) -> None:
    """
    URLs, headers, JSON and reprs that libraries log do not show the values of secret parameters.
    """
    canary = "0a1Canary2b3c4d5e"
    text = f"GET https://api.weixin.qq.com/sns {form.format(name, canary)} done"

    assert canary not in redact_text(text)
    assert redact_text(text).startswith("GET https://api.weixin.qq.com/sns ")


def test_the_url_of_code2session_is_harmless_in_any_message() -> None:
    """
    The one URL that holds the AppSecret and a code (facts page 1.1), as aiohttp prints it.
    """
    url = (
        "https://api.weixin.qq.com/sns/jscode2session?appid=wx00000000000000d1&secret=5ecre7&js_code=0a1&"
        "grant_type=authorization_code"
    )
    result = redact_text(f"500, message='x', url='{url}'")

    assert "5ecre7" not in result
    assert "js_code=0a1" not in result
    assert "appid=wx00000000000000d1" in result


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
def test_authorization_headers_lose_their_credentials(scheme: str) -> None:
    """
    A credential after its scheme's name goes, with or without the header's name.
    """
    for text in (
        f"Authorization: {scheme} s3cr3t",
        f"sent {scheme} s3cr3t",
        f"{{'Authorization': '{scheme} s3cr3t'}}",
    ):
        assert "s3cr3t" not in redact_text(text)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_documented_fields_are_shown(name: str) -> None:
    """
    Redaction is not bought by hiding everything: our ids, names and numbers pass.
    """
    values = [encode_id(bytes(range(16))), "wx00000000000000d1", "0123456789abcdef" * 2, 17, 1.5, True, "SESSION_ENDED",
              "/authapi.v1.AuthService/VerifyToken", "WeChat refuses our configuration of app wx1: errcode 40013"]  # fmt: skip

    assert not is_secret_name(name)
    for value in values:
        assert redact({name: value}) == {name: value}


@given(text=st.text(max_size=200) | recognised | st.builds("{} {}".format, plain_text, recognised))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """
    Lines may pass the redaction more than once.
    """
    once = redact_text(text)

    assert redact_text(once) == once


@given(
    value=st.recursive(
        filler,
        lambda inner: st.dictionaries(
            filler.filter(lambda x: not isinstance(x, list | dict) and not (isinstance(x, tuple))), inner
        ),
    )
)
def test_anything_becomes_json(value: object) -> None:
    """
    Whatever is given, orjson takes the result, and its text is UTF-8.
    """
    orjson.dumps(redact({"field": value}))


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"\udfff": 1},
        2**70,
        -(2**70),
        float("nan"),
        {1: {2: 3}},
        frozenset({1}),
        range(3),
        object,
        memoryview(b"x"),
    ],
)
def test_odd_values_become_json(value: object) -> None:
    """
    Lone surrogates, huge numbers, NaN and types: what no encoder likes is made harmless.
    """
    orjson.dumps(redact([value]))


def test_objects_are_shown_as_their_type() -> None:
    """
    A repr may hold anything, so none is made; bytes are never shown.
    """

    @dataclass
    class Holder:
        secret: str = "canary"

    class Plain(Enum):
        ONE = "value"

    class Number(IntEnum):
        TWO = 2

    shown_values = redact(
        [Holder(), b"canary", Plain.ONE, Number.TWO, timedelta(seconds=2), datetime(2026, 1, 1, tzinfo=UTC)]
    )

    assert shown_values == ["[Holder]", "[bytes]", "ONE", "TWO", 2.0, "2026-01-01T00:00:00+00:00"]


def test_size_and_depth_are_bounded() -> None:
    """
    A structure that contains itself, or is huge, ends.
    """
    endless: list[Any] = []
    endless.append(endless)

    assert "[deeper]" in shown(endless)
    assert len(redact(list(range(10_000)))) < 1000
    assert len(redact_text("x" * 10**6)) <= MAX_TEXT + 1


def test_long_text_without_a_match_is_cheap_for_every_rule() -> None:
    """
    No rule backtracks over the whole text from every place in it: the worst texts are judged within the timeout.
    """
    for unit in ("a", "eyJ", "e.", "token", "o", "a.", "=", "wxr", "-----BEGIN", "code: "):
        for _ in range(20):
            redact_text(unit * (MAX_TEXT // len(unit)))


def test_our_errors_keep_their_text_and_others_lose_it() -> None:
    """
    Domain errors carry safe text by rule; a foreign exception's text may hold the AppSecret.
    """
    assert describe(WeChatMisconfigured("wx00000000000000d1", 40125)).endswith(
        "app wx00000000000000d1: errcode 40125"
    )
    assert describe(NotFound("user")) == "NotFound: no such user"
    assert describe(InvalidField("mini_program_code", "must not be empty")).endswith(
        "code: must not be empty"
    )
    assert describe(ValueError("canary")) == "ValueError"
    assert redact(KeyError("canary")) == "KeyError"


def raise_chain(canary: str) -> None:
    password = canary  # a local that a traceback with locals would show
    try:
        raise KeyError(canary)
    except KeyError as cause:
        raise ExceptionGroup(canary, [ValueError(canary + password)]) from cause


def test_a_trace_names_places_and_types_only() -> None:
    """
    Frames as module:line function; no texts, locals or source lines; causes and group members by type.
    """
    with pytest.raises(ExceptionGroup) as raised:
        raise_chain("canary")
    result = trace(raised.value)

    assert result["error"] == "ExceptionGroup"
    assert result["causes"] == ["ValueError", "KeyError"]
    assert result["stack"][-1].startswith(f"{__name__}:")
    assert result["stack"][-1].endswith(" raise_chain")
    assert "canary" not in str(result)
    assert REDACTED not in str(result)
