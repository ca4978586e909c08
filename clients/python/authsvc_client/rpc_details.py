"""
The details of a gRPC status: `google.rpc.Status` with ErrorInfo, RetryInfo and BadRequest, written and read.

The messages are declared here, in a descriptor pool of their own, with the field numbers of `google/rpc/status.proto`
and `google/rpc/error_details.proto`: this package needs no other distribution for them, and nothing collides where the
application has one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

DETAILS_KEY: Final = "grpc-status-details-bin"
_TYPE_URL = "type.googleapis.com/google.rpc."
_PACKAGE = "authsvc_client.wire"
_KINDS = {
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
}
# Field number 1 first, and so on; a star repeats. Of BadRequest.FieldViolation only what is read here.
_MESSAGES = {
    "Packed": {"type_url": "string", "value": "bytes"},
    "Status": {"code": "int32", "message": "string", "details": "Packed*"},
    "Entry": {"key": "string", "value": "string"},
    "ErrorInfo": {"reason": "string", "domain": "string", "metadata": "Entry*"},
    "Duration": {"seconds": "int64", "nanos": "int32"},
    "RetryInfo": {"retry_delay": "Duration"},
    "FieldViolation": {"field": "string", "description": "string"},
    "BadRequest": {"field_violations": "FieldViolation*"},
}


@dataclass(frozen=True, slots=True)
class Details:
    """What the details of a status say."""

    reason: str
    domain: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: timedelta | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def _declare() -> dict[str, Any]:
    file = FileDescriptorProto(name="authsvc_client/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message: DescriptorProto = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), start=1):
            bare = kind.removesuffix("*")
            label = (
                FieldDescriptorProto.LABEL_REPEATED if kind != bare else FieldDescriptorProto.LABEL_OPTIONAL
            )
            added = message.field.add(name=field_name, number=number, label=label)
            if bare in _KINDS:
                added.type = _KINDS[bare]
            else:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
    pool: Any = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_WIRE = _declare()


def write_details(
    code: int, message: str, *, reason: str, domain: str, retry_after: timedelta | None = None
) -> bytes:
    """Return a serialized google.rpc.Status with one ErrorInfo, and a RetryInfo where *retry_after* is given."""
    status = _WIRE["Status"](code=code, message=message)
    info = _WIRE["ErrorInfo"](reason=reason, domain=domain)
    status.details.add(type_url=_TYPE_URL + "ErrorInfo", value=info.SerializeToString())
    if retry_after is not None:
        seconds, rest = divmod(retry_after, timedelta(seconds=1))
        retry = _WIRE["RetryInfo"](retry_delay={"seconds": seconds, "nanos": rest.microseconds * 1000})
        status.details.add(type_url=_TYPE_URL + "RetryInfo", value=retry.SerializeToString())
    raw: bytes = status.SerializeToString()
    return raw


def read_details(trailers: Iterable[Any]) -> Details | None:
    """Return what the pairs of a status's trailing metadata say, or None without a readable ErrorInfo."""
    raw = next((pair[1] for pair in trailers if pair[0] == DETAILS_KEY), None)
    if not isinstance(raw, bytes):
        return None
    info: Any = None
    retry_after: timedelta | None = None
    fields: dict[str, str] = {}
    try:
        for packed in _WIRE["Status"].FromString(raw).details:
            match packed.type_url.rpartition("/")[2]:
                case "google.rpc.ErrorInfo":
                    info = _WIRE["ErrorInfo"].FromString(packed.value)
                case "google.rpc.RetryInfo":
                    delay = _WIRE["RetryInfo"].FromString(packed.value).retry_delay
                    retry_after = timedelta(seconds=delay.seconds, microseconds=delay.nanos / 1000)
                case "google.rpc.BadRequest":
                    violations = _WIRE["BadRequest"].FromString(packed.value).field_violations
                    fields |= {one.field: one.description for one in violations}
    except (DecodeError, OverflowError):
        return None
    if info is None:
        return None
    metadata = {entry.key: entry.value for entry in info.metadata}
    return Details(info.reason, info.domain, metadata, retry_after, fields)
