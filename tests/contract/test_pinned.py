"""The protos say what CONTRACT.md pins: names, numbers, types, and comments a caller can act on."""

import json
import re
from http import HTTPStatus

import grpc
import pytest

from tests.contract import pinned
from tests.contract.source import Source, declarations

METHODS = sorted(pinned.CALLERS)
EVERYWHERE = {"INVALID_FIELD", "CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN", "INTERNAL"}


def _paragraph(comment: str, label: str) -> str:
    """Return what follows `label:` up to the next blank line, on one line."""
    (found,) = re.findall(rf"^ *{label}: (.+?)(?:\n *\n|\Z)", comment, flags=re.MULTILINE | re.DOTALL)
    return " ".join(found.split())


def _reasons(comment: str) -> set[str]:
    """Return the reasons an RPC comment lists; what stands in brackets explains."""
    return set(
        re.sub(r"\([^)]*\)", "", _paragraph(comment, "Reasons")).replace(" ", "").rstrip(".").split(",")
    )


def test_messages(source: Source) -> None:
    """Every message has exactly the pinned fields: label, type, name, number, oneof."""
    assert declarations(pinned.MESSAGES) == source.messages()


def test_enums(source: Source) -> None:
    """Every enum has exactly the pinned values under its own prefix."""
    assert declarations(pinned.ENUMS) == source.enums()


def test_services(source: Source) -> None:
    """The services have exactly the pinned RPCs, and only WatchRevocations streams."""
    assert declarations(pinned.SERVICES) == source.services()


def test_requests_and_responses_are_named_after_their_rpc(source: Source) -> None:
    """No two RPCs share a message, so that each can grow alone."""
    found = list(source.method_types())
    assert [(name, f"{name}Request", f"{name}Response") for name, _, _ in found] == found


def test_the_error_reasons_are_the_rows_of_the_table(source: Source) -> None:
    """The enum and CONTRACT.md's table name the same reasons."""
    assert set(pinned.REASONS) == set(source.value_comments("ErrorReason"))


def test_every_rpc_is_in_the_callers_table(source: Source) -> None:
    """An RPC without a row would escape the tests below."""
    assert sorted(source.method_comments()) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_an_rpc_comment_names_who_may_call(source: Source, method: str) -> None:
    """The roles in `Callers:` are those of DESIGN section 9, and a role bound to some targets says to which."""
    callers = _paragraph(source.method_comments()[method], "Callers")
    roles = set(re.sub(r"\([^)]*\)", "", callers).replace(" ", "").rstrip(".").split(","))
    assert pinned.CALLERS[method] == roles
    narrowed = re.search(r"edge \((?:targets?|subject) ([^:)]+) only: ", callers)
    assert pinned.EDGE_CASES.get(method) == (set(narrowed[1].split(" and ")) if narrowed else None)


@pytest.mark.parametrize("method", METHODS)
def test_an_rpc_comment_says_whether_it_is_idempotent(source: Source, method: str) -> None:
    """`Idempotent:` starts with yes or no, and only what is pinned so is not."""
    answer = re.split(r"\W", _paragraph(source.method_comments()[method], "Idempotent"))[0]
    assert ("no" if method in pinned.NOT_IDEMPOTENT else "yes") == answer


@pytest.mark.parametrize("method", METHODS)
def test_an_rpc_comment_lists_reasons_that_exist(source: Source, method: str) -> None:
    """`Reasons:` lists only values of ErrorReason, and always those that any call can meet."""
    reasons = _reasons(source.method_comments()[method])
    assert set() == reasons - set(pinned.REASONS)
    assert reasons >= EVERYWHERE


def test_watch_revocations_makes_four_promises(source: Source) -> None:
    """Its comment numbers four promises and says what a drain looks like."""
    comment = source.method_comments()["WatchRevocations"]
    assert re.findall(r"^ *\d\. ([^:]+):", comment, re.MULTILINE) == [
        "Order",
        "Resumption",
        "Completeness and age",
        "Loss",
    ]
    assert "GoAway" in comment


@pytest.mark.parametrize("reason", sorted(pinned.REASONS))
def test_a_reason_comment_is_complete(source: Source, reason: str) -> None:
    """It holds code, HTTP status and retry rule as pinned, and a worked ErrorInfo of this very reason."""
    comment = " ".join(source.value_comments("ErrorReason")[reason].split())
    parts = re.search(r" Code: (\w+)(.*?)\. HTTP: (\w+).*?\. Retry: .+?\. (\{.+\})$", comment)
    assert parts is not None, comment
    code, detail, http, example = parts.groups()
    assert pinned.REASONS[reason] == (code, int(http) if http != "none" else None)
    assert code in grpc.StatusCode.__members__
    assert http == "none" or HTTPStatus(int(http))
    assert (code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}) == ("google.rpc.RetryInfo" in detail)
    info = json.loads(example)
    assert (reason, "authsvc") == (info.pop("reason"), info.pop("domain"))
    assert all(isinstance(value, str) for value in info.pop("metadata").values())
    assert info == {}


def test_the_table_reader_sees_a_changed_number() -> None:
    """The comparison above is by content: one digit makes another declaration."""
    before = declarations("message A { oneof o { string b = 1; } } enum E { X=0 Y=1 }")
    after = declarations("message A { oneof o { string b = 2; } } enum E { X=0 Y=1 }")
    assert {"enum E { X=0 Y=1 }"} == before & after
