"""From a domain error to a gRPC status: one code, exactly one ErrorInfo, RetryInfo and BadRequest where they help."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from authapi.v1 import error_reason_pb2
from authsvc.domain.errors import AuthError, InvalidField
from authsvc.status import row_for

DOMAIN = "authsvc"
DETAILS_KEY = "grpc-status-details-bin"
# Beside the status of a call that an overloaded process refused: for edges, which then hold back.
OVERLOAD_KEY = "authsvc-overload"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def encode_status(error: BaseException) -> tuple[grpc.StatusCode, str, bytes]:
    """
    Return code, public text and the serialized `google.rpc.Status` for any exception.

    Of an exception that is not the domain's, nothing at all is taken over.
    """
    row = row_for(error)
    info = error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN)
    details: list[Message] = [info]
    if isinstance(error, AuthError):
        info.metadata.update(error.metadata)
        if error.retry_after is not None:
            delay = Duration()
            delay.FromTimedelta(error.retry_after)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidField):
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=name, description=description)
                    for name, description in error.violations.items()
                ]
            )
        )
    status = status_pb2.Status(code=int(row.code), message=row.en)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return CODES[int(row.code)], row.en, status.SerializeToString()


def reason_of(error: BaseException) -> error_reason_pb2.ErrorReason.ValueType:
    """Return the contract's reason for any exception, where an answer that is OK has to carry one."""
    return error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{row_for(error).reason}")
