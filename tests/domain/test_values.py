"""The small values: login codes, blocks, facts, key rings, errors."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain import errors
from authsvc.domain.errors import (
    AuthError,
    InvalidField,
    LoginCodeInvalid,
    NotFound,
    SessionEnded,
    WeChatMisconfigured,
)
from authsvc.domain.keyring import KeyRing
from authsvc.domain.login_code import MAX_CODE_LENGTH, check_code, hash_code
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block, User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "code",
    [
        "0a1" * 10,
        "x",
        "with space",
        "a&b=c",
        "'quoted\"",
        "%00",
        "中文",
        "c" * MAX_CODE_LENGTH,
        "the code is",
    ],
)
def test_odd_codes_are_wechats_to_judge(code: str) -> None:
    """
    Only what cannot be a code is refused here: the format was never documented.
    """
    check_code(code)


def test_empty_and_absurd_codes_are_refused_by_field() -> None:
    """
    Refused before any I/O, naming the field, without echoing the code.
    """
    for code in ("", "c" * (MAX_CODE_LENGTH + 1), "c" * 10**6):
        with pytest.raises(InvalidField) as refused:
            check_code(code)
        assert list(refused.value.violations) == ["mini_program_code"]
        assert "cc" not in str(refused.value)


def test_a_developer_tools_mock_code_is_no_code() -> None:
    """
    The text developer tools hand out without an app id (facts page 1.1) is LOGIN_CODE_INVALID.
    """
    with pytest.raises(LoginCodeInvalid) as refused:
        check_code("the code is a mock one")
    assert "the code is a mock one" not in str(refused.value)


@given(one=st.text(), other=st.text())
def test_codes_are_remembered_by_hash(one: str, other: str) -> None:
    """
    SHA-256 of UTF-8; different codes differ; lone surrogates do not raise.
    """
    assert (hash_code(one) == hash_code(other)) == (one == other)
    assert len(hash_code(one + "\ud800")) == 32
    assert hash_code("0a1") == hashlib.sha256(b"0a1").digest()


@pytest.mark.parametrize(
    ("block", "blocked"),
    [
        (None, False),
        (Block(reason="r", by="op", at=NOW), True),
        (Block(reason="r", by="op", at=NOW, until=NOW + TICK), True),
        (Block(reason="r", by="op", at=NOW, until=NOW), False),
        (Block(reason="r", by="op", at=NOW, until=NOW - TICK), False),
    ],
)
def test_a_block_holds_until_its_end(block: Block | None, blocked: bool) -> None:
    """
    Without an end it holds until lifted; at its end it no longer does.
    """
    assert User(user_id="u", created_at=NOW, block=block).is_blocked(now=NOW) == blocked


@pytest.mark.parametrize(
    ("until", "useful"), [(None, True), (NOW + TICK, True), (NOW, False), (NOW - TICK, False)]
)
def test_a_fact_is_useful_until_its_end(until: datetime | None, useful: bool) -> None:
    """
    Key withdrawals (no end) are for ever.
    """
    fact = Fact(position=1, kind=FactKind.SESSION, target="s", reason=EndReason.LOGOUT, useful_until=until)

    assert fact.is_useful(now=NOW) == useful


def test_a_ring_holds_its_current_key_and_shows_none() -> None:
    """
    A ring without its current key, or with ids of another size, cannot exist.
    """
    ring = KeyRing(current_id=b"key1", keys={b"key1": b"canary"})

    assert ring.current == b"canary"
    assert "canary" not in repr(ring)
    with pytest.raises(ValueError, match="current key"):
        KeyRing(current_id=b"key2", keys={b"key1": b"canary"})
    with pytest.raises(ValueError, match="4-byte"):
        KeyRing(current_id=b"key", keys={b"key": b"canary"})


def leaves(kind: type[AuthError]) -> list[type[AuthError]]:
    below = [leaf for child in kind.__subclasses__() for leaf in leaves(child)]
    return below or [kind]


def make(kind: type[AuthError]) -> AuthError:
    arguments = {
        InvalidField: ("field", "wrong"),
        NotFound: ("user",),
        SessionEnded: ("LOGOUT",),
        WeChatMisconfigured: ("wx1", 40125),
    }
    return kind(*arguments.get(kind, ()))


@pytest.mark.parametrize("kind", [kind for kind in leaves(AuthError) if kind.__module__ == errors.__name__])
def test_metadata_is_text_and_waiting_times_are_positive(kind: type[AuthError]) -> None:
    """
    What travels to callers is text by fixed keys; whoever may retry is told to wait.
    """
    error = make(kind)

    assert all(isinstance(item, str) for pair in error.metadata.items() for item in pair)
    assert error.retry_after is None or error.retry_after > timedelta(0)


def test_metadata_names_what_the_contract_says() -> None:
    """
    The reason a session ended, the app and errcode at fault, the kind of thing not found.
    """
    assert make(SessionEnded).metadata == {"end_reason": "LOGOUT"}
    assert make(WeChatMisconfigured).metadata == {"app_id": "wx1", "errcode": "40125"}
    assert make(NotFound).metadata == {"what": "user"}
    assert InvalidField("a", "b", c="d").violations == {"a": "b", "c": "d"}
