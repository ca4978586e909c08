"""Cursors and page tokens: opaque, authenticated, one text per place."""

import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.cursors import Cursor, open_cursor, position_bytes, position_claim, seal_cursor
from authsvc.domain.ids import decode_base64url, encode_base64url, encode_id
from authsvc.domain.keyring import KeyRing
from authsvc.domain.page_tokens import open_page_token, seal_page_token

RING = KeyRing(current_id=b"key1", keys={b"key1": b"a" * 32, b"key0": b"b" * 32})
positions = st.integers(0, 2**64 - 1)
cursors = st.builds(Cursor, incarnation=st.binary(min_size=8, max_size=8), position=positions)
instants = st.integers(0, 2**52).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
places = st.tuples(instants, st.binary(min_size=16, max_size=16).map(encode_id))
filters = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=3).map(tuple)


@given(cursors)
def test_a_cursor_survives_sealing(cursor: Cursor) -> None:
    """
    open(seal(c)) is c over the whole range of positions.
    """
    assert open_cursor(seal_cursor(cursor, ring=RING), ring=RING) == cursor


def test_a_cursor_survives_key_rotation() -> None:
    """
    A cursor sealed with an older key of the ring still opens; without that key it does not.
    """
    cursor = Cursor(incarnation=b"incarnat", position=9)
    old = KeyRing(current_id=b"key0", keys={b"key0": b"b" * 32})

    assert open_cursor(seal_cursor(cursor, ring=old), ring=RING) == cursor
    assert open_cursor(seal_cursor(cursor, ring=RING), ring=old) is None


def test_every_flipped_bit_and_every_cut_of_a_cursor_is_refused() -> None:
    """
    Nobody moves a cursor forward, or into another incarnation.
    """
    sealed = seal_cursor(Cursor(incarnation=b"incarnat", position=2**33), ring=RING)

    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert open_cursor(bytes(damaged), ring=RING) is None, f"bit {bit}"
    for wrong in (*(sealed[:length] for length in range(len(sealed))), sealed + b"\0", b"\0" + sealed):
        assert open_cursor(wrong, ring=RING) is None


def test_only_this_format_is_read_even_with_a_good_mac() -> None:
    """
    Another version or length under the same key is a later format, not a cursor to be guessed at.
    """
    body = seal_cursor(Cursor(incarnation=b"incarnat", position=9), ring=RING)[:-16]
    for other in (b"\x02" + body[1:], body + b"\0", body[:-1]):
        assert open_cursor(other + hmac.digest(RING.current, other, "sha256")[:16], ring=RING) is None
    assert open_cursor(body + hmac.digest(RING.current, body, "sha256")[:16], ring=RING) is not None


@given(st.binary(max_size=60) | st.binary(min_size=37, max_size=37))
def test_junk_is_no_cursor(junk: bytes) -> None:
    """
    No bytes make it raise.
    """
    assert open_cursor(junk, ring=RING) is None


@given(positions, positions)
def test_positions_compare_as_numbers_in_every_form(one: int, other: int) -> None:
    """
    8 bytes big-endian and 16 lowercase hex digits both sort as the counter does.
    """
    assert (
        (one < other)
        == (position_bytes(one) < position_bytes(other))
        == (position_claim(one) < position_claim(other))
    )
    assert position_bytes(one).hex() == position_claim(one)


@pytest.mark.parametrize("position", [-1, 2**64])
def test_a_position_is_an_unsigned_64_bit_number(position: int) -> None:
    """
    Nothing outside the range gets a wire form.
    """
    with pytest.raises(OverflowError):
        position_bytes(position)


@given(place=places, chosen=filters)
def test_a_page_token_survives_sealing(place: tuple[datetime, str], chosen: tuple[str, ...]) -> None:
    """
    open(seal(p)) is p, to the microsecond.
    """
    assert (
        open_page_token(seal_page_token(place, filters=chosen, ring=RING), filters=chosen, ring=RING) == place
    )


@given(one=filters, other=filters)
def test_a_page_token_is_good_for_its_own_filters_only(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """
    It opens with other filters never, whatever characters they hold.
    """
    place = (datetime(2026, 1, 1, tzinfo=UTC), encode_id(bytes(16)))
    opened = open_page_token(seal_page_token(place, filters=one, ring=RING), filters=other, ring=RING)

    assert (opened is not None) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a\0b",), ("a", "b")),
        (("", "a"), ("\0a",)),
        ((), ("",)),
        (("a",), ("a", "")),
        (("user", "app", "1"), ("user", "app1")),
    ],
)
def test_filters_cannot_be_cut_elsewhere(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """
    Two lists of filters that join to the same text are still two lists.
    """
    place = (datetime(2026, 1, 1, tzinfo=UTC), encode_id(bytes(16)))

    assert open_page_token(seal_page_token(place, filters=one, ring=RING), filters=other, ring=RING) is None


def test_every_flipped_bit_of_a_page_token_is_refused() -> None:
    """
    A page token cannot be moved, nor spelt otherwise.
    """
    place = (datetime(2026, 1, 1, tzinfo=UTC), encode_id(bytes(16)))
    text = seal_page_token(place, filters=("u",), ring=RING)
    raw = decode_base64url(text)
    assert raw is not None
    for bit in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        assert open_page_token(encode_base64url(bytes(damaged)), filters=("u",), ring=RING) is None, (
            f"bit {bit}"
        )
    for respelt in ("", text + "=", text + "A", text[:-1], text + "\n", "ä"):
        assert open_page_token(respelt, filters=("u",), ring=RING) is None


def test_page_token_and_cursor_are_not_each_other() -> None:
    """
    One ring, two purposes: bytes of one never open as the other.
    """
    page = decode_base64url(
        seal_page_token((datetime(2026, 1, 1, tzinfo=UTC), encode_id(bytes(16))), filters=(), ring=RING)
    )
    cursor = seal_cursor(Cursor(incarnation=b"incarnat", position=9), ring=RING)
    assert page is not None

    assert open_cursor(page, ring=RING) is None
    assert open_page_token(encode_base64url(cursor), filters=(), ring=RING) is None


def test_a_place_needs_an_id_of_ours() -> None:
    """
    A list can only stop at a session.
    """
    with pytest.raises(ValueError, match="id of ours"):
        seal_page_token((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(1), "junk"), filters=(), ring=RING)
