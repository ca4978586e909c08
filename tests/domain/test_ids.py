"""Identifiers and base64url: one text per value, one value per text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.ids import decode_base64url, decode_id, encode_base64url, encode_id

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(min_size=16, max_size=16))
def test_an_id_survives_its_spelling(raw: bytes) -> None:
    """
    16 bytes become 22 characters of base64url and come back.
    """
    text = encode_id(raw)

    assert len(text) == 22
    assert set(text) <= set(ALPHABET)
    assert decode_id(text) == raw


@given(st.binary(min_size=16, max_size=16), st.sampled_from(ALPHABET))
def test_an_id_has_one_spelling(raw: bytes, last: str) -> None:
    """
    Of all last characters only the one without stray bits is an id.
    """
    text = encode_id(raw)

    assert (decode_id(text[:-1] + last) is not None) == (last in "AQgw")
    for respelt in (text + "=", text + "==", text + "\n", " " + text, text + "A", text[:-1], text[:-1] + "ä"):
        assert decode_id(respelt) is None


@pytest.mark.parametrize("size", [0, 15, 17])
def test_an_id_has_sixteen_bytes(size: int) -> None:
    """
    Anything else is refused, not cut.
    """
    with pytest.raises(ValueError, match="16 bytes"):
        encode_id(bytes(size))


@given(st.binary(max_size=60))
def test_base64url_is_rfc_4648_without_padding(raw: bytes) -> None:
    """
    The spelling is the standard library's without '='; it comes back whole.
    """
    text = encode_base64url(raw)

    assert text == base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert decode_base64url(text) == raw


@given(st.text(max_size=12) | st.text(ALPHABET + "=+/ \n", max_size=12))
def test_only_the_one_spelling_decodes(text: str) -> None:
    """
    Whatever decodes is spelt exactly so again: no padding, stray bits, other alphabet, whitespace or surrogate.
    """
    raw = decode_base64url(text)

    assert raw is None or encode_base64url(raw) == text


@pytest.mark.parametrize(
    "text", ["AA==", "AB", "AAA=", "AAB", "+/8", "A", "AAAAA", "A A", "AA\n", "ÅA", "\ud800A", "AA.A"]
)
def test_other_spellings_are_refused(text: str) -> None:
    """
    The known traps one by one: padding, stray bits, the other alphabet, impossible lengths, bytes outside.
    """
    assert decode_base64url(text) is None
