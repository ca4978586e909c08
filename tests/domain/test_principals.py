"""Names, limits, and service keys as texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.errors import CallerForbidden
from authsvc.domain.ids import encode_id
from authsvc.domain.principals import (
    RESERVED_NAMES,
    Declared,
    Principal,
    Role,
    check_declared,
    check_name,
    require_app,
)
from authsvc.domain.service_keys import KeyRecord, hash_secret, make_key, parse_key

BYTES_16 = st.binary(min_size=16, max_size=16)
BYTES_32 = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    "name",
    [*sorted(RESERVED_NAMES), "Local", "LOGIN", "service", "retention", "schedule", "process", "Server"],
)
def test_reserved_names_are_refused(name: str) -> None:
    """
    In any case of letters: `ended_by` and logs must not be ambiguous about who it was.
    """
    assert list(check_name(name)) == ["name: is reserved"]


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a\n", "ä", "a" * 65, "a/b", "\u202ea"])
def test_names_are_plain(name: str) -> None:
    """
    What goes into every log line has nothing in it that could be mistaken for anything else.
    """
    assert len(list(check_name(name))) == 1


@pytest.mark.parametrize("name", ["orders", "A", "9", "shop.orders_v2-blue", "a" * 64])
def test_ordinary_names_are_good(name: str) -> None:
    """
    Letters, digits, dots, dashes and underscores.
    """
    assert list(check_name(name)) == []


def test_a_verifier_needs_audiences_and_everybody_a_role() -> None:
    """
    No verifier works without an audience.
    """
    assert list(check_declared(Declared("a", frozenset({Role.VERIFIER})))) != []
    assert list(check_declared(Declared("a", frozenset()))) != []
    assert list(check_declared(Declared("a", frozenset({Role.VERIFIER}), frozenset({"x"})))) == []
    assert list(check_declared(Declared("a", frozenset({Role.EDGE})))) == []


def test_limits() -> None:
    """
    Without apps everything is its own; with some, only those; likewise audiences.
    """
    free = Principal("a", frozenset(), frozenset({"x"}))
    bound = Principal("a", frozenset(), frozenset({"x"}), apps=frozenset({"wx1"}), any_audience=False)
    assert (free.is_restricted, bound.is_restricted) == (False, True)
    free.require_audience("y")
    bound.require_audience("x")
    require_app(None, "wx2")
    require_app(frozenset({"wx1"}), "wx1")
    with pytest.raises(CallerForbidden):
        bound.require_audience("y")
    for app_id in ("wx2", "", "WX1"):
        with pytest.raises(CallerForbidden):
            require_app(frozenset({"wx1"}), app_id)


@given(BYTES_16, BYTES_32)
def test_a_key_survives_its_spelling(key_id: bytes, secret: bytes) -> None:
    """
    And proves its own record only.
    """
    text = make_key(encode_id(key_id), secret)
    presented = parse_key(text)
    assert presented is not None
    assert presented.key_id == encode_id(key_id)
    assert presented.proves(KeyRecord(presented.key_id, "a", hash_secret(secret)))
    assert not presented.proves(KeyRecord(presented.key_id, "a", hash_secret(secret[::-1] + b"x")))


@given(BYTES_16, BYTES_32, st.data())
def test_a_key_has_one_spelling(key_id: bytes, secret: bytes, data: st.DataObject) -> None:
    """
    One character more, less or other is no key, or another one.
    """
    text = make_key(encode_id(key_id), secret)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    for changed in (
        text[:at] + text[at + 1 :],
        text[:at] + other + text[at:],
        text[:at] + other + text[at + 1 :],
        text + "=",
        " " + text,
    ):
        if changed != text:
            found = parse_key(changed)
            assert found is None or (found.key_id, found.secret_hash) != (
                encode_id(key_id),
                hash_secret(secret),
            )


@given(st.text())
def test_junk_is_no_key(text: str) -> None:
    """
    Any text at all is judged without an exception.
    """
    assert parse_key(text) is None
    assert parse_key("wxk1." + text) is None


def test_no_repr_holds_a_secret() -> None:
    """
    Neither of what is kept nor of what was presented.
    """
    secret = b"s" * 32
    presented = parse_key(make_key(encode_id(b"i" * 16), secret))
    record = KeyRecord(encode_id(b"i" * 16), "a", hash_secret(secret))
    for shown in (repr(presented), repr(record)):
        assert "secret_hash" not in shown
        assert hash_secret(secret).hex() not in shown
