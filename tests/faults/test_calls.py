"""What the load makes of the errors it meets."""

import grpc
import pytest

from tests.faults.calls import judge_error
from tests.faults.history import Outcome


def failed(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)


@pytest.mark.parametrize(
    ("code", "details", "outcome", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Outcome.LOST, "UNAVAILABLE"),
        (grpc.StatusCode.UNKNOWN, "Stream removed", Outcome.LOST, "STREAM_REMOVED"),
        (
            grpc.StatusCode.UNKNOWN,
            "Stream removed (Connection reset by peer)",
            Outcome.LOST,
            "STREAM_REMOVED",
        ),
        (grpc.StatusCode.UNKNOWN, "Unexpected <class 'KeyError'>: x", Outcome.REFUSED, "UNKNOWN"),
        (grpc.StatusCode.UNKNOWN, "no idea", Outcome.LOST, "UNKNOWN: no idea"),
    ],
)
def test_a_dead_connection_is_no_finding(
    code: grpc.StatusCode, details: str, outcome: Outcome, reason: str
) -> None:
    """
    A connection killed under a call loses the call, whatever status gRPC makes of it; an exception that escaped, or
    an UNKNOWN that nobody explains, stays a finding.
    """
    told = judge_error(failed(code, details))
    assert (outcome, reason) == (told["outcome"], told["reason"])
