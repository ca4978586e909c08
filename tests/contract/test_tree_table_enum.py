"""The exception tree, the server's one table and the contract's enum name the same things the same way."""

import json
from collections.abc import Iterator

import pytest

from authsvc.domain import errors
from authsvc.domain.principals import Role
from authsvc.status import BY_REASON, TABLE, row_for
from tests.contract import pinned
from tests.contract.source import Source

# The errors that carry something, as the comments in error_reason.proto work them out.
EXAMPLES: dict[type[errors.AuthError], errors.AuthError] = {
    errors.InvalidField: errors.InvalidField("app_id", "is empty"),
    errors.WeChatMisconfigured: errors.WeChatMisconfigured("wx00000000000000d1", 40125),
    errors.SessionEnded: errors.SessionEnded("REFRESH_STALE"),
    errors.NotFound: errors.NotFound("session"),
}


def _leaves(kind: type[errors.AuthError]) -> Iterator[type[errors.AuthError]]:
    for below in kind.__subclasses__():
        yield from _leaves(below) if below.__subclasses__() else (below,)


# Other test modules may define errors of their own; the tree is what the domain ships.
LEAVES = sorted(
    (leaf for leaf in _leaves(errors.AuthError) if leaf.__module__ == errors.__name__),
    key=lambda kind: kind.__name__,
)


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    """Tree = table; INTERNAL is the one row without an error of ours, for whatever is not in the tree."""
    assert set(TABLE) == set(LEAVES)
    assert row_for(RuntimeError()).reason == "INTERNAL"
    assert len({row.reason for row in TABLE.values()}) == len(TABLE)


def test_the_table_says_what_the_contract_says() -> None:
    """Table = enum = CONTRACT.md, with gRPC code and HTTP status; a row that never crosses the edge may say any."""
    found = {
        reason: (row.code.name, pinned.REASONS[reason][1] and row.http) for reason, row in BY_REASON.items()
    }
    assert found == pinned.REASONS


@pytest.mark.parametrize("kind", LEAVES)
def test_the_worked_error_info_is_what_the_error_carries(
    source: Source, kind: type[errors.AuthError]
) -> None:
    """The metadata in the enum's comment are those of the error, key for key."""
    error = EXAMPLES[kind] if kind in EXAMPLES else kind()
    comment = source.value_comments("ErrorReason")[TABLE[kind].reason]
    example = json.loads(comment[comment.index("{") :])
    assert example["metadata"] == dict(error.metadata)


@pytest.mark.parametrize("kind", LEAVES)
def test_a_delay_is_promised_where_one_is_given(source: Source, kind: type[errors.AuthError]) -> None:
    """The comment names RetryInfo exactly where the error carries a delay."""
    error = EXAMPLES[kind] if kind in EXAMPLES else kind()
    comment = source.value_comments("ErrorReason")[TABLE[kind].reason]
    assert ("google.rpc.RetryInfo" in comment) == (error.retry_after is not None)


def test_the_callers_are_roles_that_exist() -> None:
    """Whoever an RPC comment names is a role of the domain."""
    named = {role for roles in pinned.CALLERS.values() for role in roles}
    assert named <= {role.value for role in Role}
