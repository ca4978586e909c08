"""The details of a status, against google.rpc's own messages."""

from datetime import timedelta

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from authsvc_client.rpc_details import DETAILS_KEY, read_details, write_details
from tests.client.scripted import error_info


@given(
    message=st.text(max_size=40),
    reason=st.text(max_size=40),
    retry=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=1000)),
    metadata=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
)
def test_details_are_googles(
    message: str, reason: str, retry: timedelta | None, metadata: dict[str, str]
) -> None:
    """
    What is written here google.rpc reads, byte for byte the same; what it writes is read here.
    """
    raw = write_details(14, message, reason=reason, domain="authsvc", retry_after=retry)
    details = [error_info(reason)]
    if retry is not None:
        packed, delay = any_pb2.Any(), duration_pb2.Duration()
        delay.FromTimedelta(retry)
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        details.append(packed)
    assert status_pb2.Status.FromString(raw) == status_pb2.Status(code=14, message=message, details=details)
    theirs = status_pb2.Status(code=3, details=[error_info(reason, **metadata), *details[1:]])
    read = read_details([("x", "y"), (DETAILS_KEY, theirs.SerializeToString())])
    assert read is not None
    assert (read.reason, read.domain, dict(read.metadata), read.retry_after) == (
        reason,
        "authsvc",
        metadata,
        retry,
    )
