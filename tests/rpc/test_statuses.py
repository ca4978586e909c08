"""From error to status, without a wire."""

from datetime import timedelta

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from authsvc.domain import errors
from authsvc.rpc.statuses import encode_status
from authsvc.status import TABLE
from tests.contract import pinned

EXAMPLES: dict[type[errors.AuthError], errors.AuthError] = {
    errors.InvalidField: errors.InvalidField("app_id", "is empty", client="is long"),
    errors.WeChatMisconfigured: errors.WeChatMisconfigured("wx1", 40125),
    errors.SessionEnded: errors.SessionEnded("LOGOUT"),
    errors.NotFound: errors.NotFound("session"),
    errors.WeChatThrottled: errors.WeChatThrottled(
        "secret", retry_after=timedelta(seconds=60, milliseconds=500)
    ),
}
RETRIED = {
    "WECHAT_THROTTLED",
    "RATE_LIMITED",
    "WECHAT_UNAVAILABLE",
    "STORE_UNAVAILABLE",
    "NOT_FRESH",
    "WATCHER_TOO_SLOW",
}


def details(encoded: bytes) -> list[Message]:
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)
    found: list[Message] = []
    for packed in status_pb2.Status.FromString(encoded).details:
        (kind,) = [kind for kind in kinds if packed.Is(kind.DESCRIPTOR)]
        message = kind()
        packed.Unpack(message)
        found.append(message)
    return found


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_every_error_has_one_status(kind: type[errors.AuthError]) -> None:
    """Code and reason as pinned, one ErrorInfo, RetryInfo exactly where waiting helps, BadRequest for fields."""
    error = EXAMPLES[kind] if kind in EXAMPLES else kind("a text for our log")
    code, text, encoded = encode_status(error)
    found = details(encoded)
    info = found[0]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert code.name == pinned.REASONS[info.reason][0]
    assert info.domain == "authsvc"
    assert dict(info.metadata) == dict(error.metadata)
    others = [type(message).__name__ for message in found[1:]]
    assert ("RetryInfo" in others) == (info.reason in RETRIED)
    assert ("BadRequest" in others) == (info.reason == "INVALID_FIELD")
    assert len(others) <= 1
    assert text
    assert text == status_pb2.Status.FromString(encoded).message
    assert str(error) not in text


def test_a_delay_is_carried_exactly() -> None:
    """To the fraction of a second."""
    _, _, encoded = encode_status(EXAMPLES[errors.WeChatThrottled])
    retry = details(encoded)[1]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=60, milliseconds=500)


def test_every_violation_is_named() -> None:
    """All fields of one refusal, each with what is wrong."""
    _, _, encoded = encode_status(EXAMPLES[errors.InvalidField])
    bad = details(encoded)[1]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert {one.field: one.description for one in bad.field_violations} == {
        "app_id": "is empty",
        "client": "is long",
    }


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyError("x"), BaseException("x"), errors.AuthError("x")]
)
def test_whatever_is_not_in_the_table_is_internal(error: BaseException) -> None:
    """A fixed text, no metadata."""
    code, text, encoded = encode_status(error)
    assert (code, text) == (grpc.StatusCode.INTERNAL, "Something went wrong on our side.")
    assert details(encoded) == [error_details_pb2.ErrorInfo(reason="INTERNAL", domain="authsvc")]
