"""An error of the edge held against its row of the one table."""

from authsvc.status import BY_REASON
from tests.e2e.wire import Answer

LANGUAGES = {"zh": "zh-CN,zh;q=0.9", "en": "en-US,en;q=0.9"}


def assert_row(answer: Answer, reason: str, language: str) -> None:
    """The answer is the table's row in this language, with an id, and nothing that the row does not have."""
    row = BY_REASON[reason]
    error = answer.json["error"]
    assert (answer.status, error["reason"], error["message"]) == (row.http, reason, row.text(language))
    assert error["code"] == row.code.name
    assert error["request_id"] == answer.headers["x-request-id"]
    allowed = {"code", "reason", "message", "request_id"}
    allowed |= {"INVALID_FIELD": {"fields"}, "SESSION_ENDED": {"end_reason"}}.get(reason, set())
    assert set(answer.json) == {"error"}
    assert set(error) <= allowed
    waits = row.code.name in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    assert ("retry-after" in answer.headers) == waits
    assert ("www-authenticate" in answer.headers) == (row.http == 401 or reason == "TOKEN_INSUFFICIENT")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
