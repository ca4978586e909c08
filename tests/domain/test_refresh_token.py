"""Refresh tokens: one text per token, made only by a holder of the ring."""

import hashlib
import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain import refresh_token
from authsvc.domain.ids import decode_base64url, encode_base64url, encode_id
from authsvc.domain.keyring import KeyRing
from authsvc.domain.refresh_token import RefreshToken, first_token, parse, spell

RING = KeyRing(current_id=b"new!", keys={b"new!": b"n" * 32, b"old!": b"o" * 32})
TOKEN = first_token(bytes(range(16)), nonce=bytes(range(16, 32)), key_id=b"new!").successor(
    counter=7, key_id=b"new!"
)
TEXT = spell(TOKEN, ring=RING)

tokens = st.builds(
    lambda raw, counter, key_id, nonce: RefreshToken(
        session_id=encode_id(raw), counter=counter, key_id=key_id, nonce=nonce, raw_session_id=raw
    ),
    st.binary(min_size=16, max_size=16),
    st.integers(0, refresh_token.MAX_COUNTER),
    st.sampled_from(sorted(RING.keys)),
    st.binary(min_size=16, max_size=16),
)


@given(tokens)
def test_a_token_survives_its_spelling(token: RefreshToken) -> None:
    """
    parse(spell(t)) is t, in the documented layout, for current and old keys of the ring.
    """
    text = spell(token, ring=RING)
    raw = decode_base64url(text.removeprefix("wxr1."))

    assert parse(text, ring=RING) == token
    assert raw is not None
    assert (
        raw[:-32]
        == b"\x01" + token.key_id + token.raw_session_id + token.counter.to_bytes(4, "big") + token.nonce
    )


@given(tokens)
def test_spelling_is_a_pure_function(token: RefreshToken) -> None:
    """
    The successor made again for the loser of a race is the same text.
    """
    assert spell(token, ring=RING) == spell(token, ring=RING)


def test_every_flipped_bit_of_the_bytes_is_refused() -> None:
    """
    Version, key id, session, counter, nonce, MAC: no bit can be changed.
    """
    raw = decode_base64url(TEXT.removeprefix("wxr1."))
    assert raw is not None
    for bit in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        assert parse("wxr1." + encode_base64url(bytes(damaged)), ring=RING) is None, f"bit {bit}"


@pytest.mark.parametrize("change", [b"\x00", b"\x02"])
def test_another_version_is_refused_even_with_a_good_mac(change: bytes) -> None:
    """
    A later format under the same key is not read as this one.
    """
    raw = decode_base64url(TEXT.removeprefix("wxr1."))
    assert raw is not None
    body = change + raw[1:-32]

    assert (
        parse("wxr1." + encode_base64url(body + hmac.digest(RING.current, body, "sha256")), ring=RING) is None
    )
    body = b"\x01" + body[1:]
    assert (
        parse("wxr1." + encode_base64url(body + hmac.digest(RING.current, body, "sha256")), ring=RING)
        == TOKEN
    )


def test_every_flipped_bit_of_the_text_is_refused() -> None:
    """
    No bit of any character, prefix included, can be changed.
    """
    for place in range(len(TEXT)):
        for bit in range(8):
            damaged = TEXT[:place] + chr(ord(TEXT[place]) ^ 1 << bit) + TEXT[place + 1 :]
            assert parse(damaged, ring=RING) is None, f"character {place} bit {bit}"


def test_every_other_character_anywhere_is_refused() -> None:
    """
    One text per token: no place takes another printable character, the last one (with its stray bits) included.
    """
    for place in range(len(TEXT)):
        for character in string.printable:
            if character != TEXT[place]:
                assert parse(TEXT[:place] + character + TEXT[place + 1 :], ring=RING) is None


@pytest.mark.parametrize(
    "respelt",
    [
        "",
        "wxr1.",
        TEXT + "=",
        TEXT + "==",
        TEXT + "\n",
        " " + TEXT,
        TEXT + "A",
        TEXT[:-1],
        TEXT.removeprefix("wxr1."),
        TEXT.upper(),
        "wxr2." + TEXT[5:],
        "WXR1." + TEXT[5:],
        "wxr1.." + TEXT[6:],
        TEXT[:-1] + "\ud800",
        TEXT.replace("-", "+").replace("_", "/") if set(TEXT) & set("-_") else TEXT + "+",
        TEXT * 1000,
    ],
)
def test_respellings_are_refused(respelt: str) -> None:
    """
    Padding, whitespace, case, other prefix, cuts, surrogates, huge text.
    """
    assert parse(respelt, ring=RING) is None


@given(
    st.text(max_size=120)
    | st.binary(min_size=73, max_size=73).map(lambda raw: "wxr1." + encode_base64url(raw))
)
def test_junk_is_none(text: str) -> None:
    """
    No text makes parse raise, and nothing that was not made with the ring passes.
    """
    assert parse(text, ring=RING) is None


def test_another_ring_understands_nothing() -> None:
    """
    Neither an unknown key id nor the same id over another key opens a token.
    """
    assert parse(TEXT, ring=KeyRing(current_id=b"else", keys={b"else": b"n" * 32})) is None
    assert parse(TEXT, ring=KeyRing(current_id=b"new!", keys={b"new!": b"x" * 32})) is None


def test_a_token_of_a_removed_key_cannot_be_spelt() -> None:
    """
    A successor is made with the key of the row, or not at all.
    """
    with pytest.raises(KeyError):
        spell(TOKEN, ring=KeyRing(current_id=b"else", keys={b"else": b"n" * 32}))


def test_a_successor_keeps_its_line() -> None:
    """
    Only counter and key change: session and nonce are the line's.
    """
    successor = TOKEN.successor(counter=8, key_id=b"old!")

    assert (successor.counter, successor.key_id) == (8, b"old!")
    assert (successor.session_id, successor.nonce) == (TOKEN.session_id, TOKEN.nonce)
    assert first_token(bytes(16), nonce=bytes(16), key_id=b"new!").counter == 0


def test_the_database_sees_a_hash() -> None:
    """
    What is stored is SHA-256 of the nonce; neither nonce nor session bytes are in the repr.
    """
    assert TOKEN.nonce_hash == hashlib.sha256(bytes(range(16, 32))).digest()
    assert "nonce" not in repr(TOKEN)
    assert "\\x10" not in repr(TOKEN)
