"""Every RPC of the contract, found through its descriptors, and who may call it by the contract's own words."""

from collections.abc import Callable, Iterator, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from authapi.v1 import (
    auth_service_pb2,
    key_service_pb2,
    revocation_service_pb2,
    session_service_pb2,
    user_service_pb2,
    wechat_service_pb2,
)
from tests.contract import pinned

FILES = (
    auth_service_pb2,
    session_service_pb2,
    key_service_pb2,
    revocation_service_pb2,
    wechat_service_pb2,
    user_service_pb2,
)
SERVICES: list[ServiceDescriptor] = [
    service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()
]
PATHS = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
# What is refused for its caller must be so whatever the request.
GARBAGE = b"\xff\xff\xff\xff"


def cases() -> Iterator[tuple[str, str, FieldDescriptor | None, Descriptor]]:
    """Every RPC, once for each case of its oneof: path, name, case, request."""
    for service in SERVICES:
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            oneofs = [oneof for oneof in method.input_type.oneofs if not oneof.name.startswith("_")]
            if not oneofs:
                yield path, method.name, None, method.input_type
            for oneof in oneofs:
                for field in oneof.fields:
                    yield path, method.name, field, method.input_type


def calls() -> Iterator[tuple[str, str, str, Message]]:
    """The same with the smallest request: path, name, case, request."""
    for path, name, field, kind in cases():
        made = GetMessageClass(kind)()
        if field is not None and field.message_type is None:
            setattr(made, field.name, "x")
        elif field is not None:
            getattr(made, field.name).SetInParent()
        yield path, name, "" if field is None else field.name, made


CALLS = list(calls())

# Texts that have to have a shape before anybody looks whom they are about.
_OTHERS = {"signature": "0" * 40, "page_token": ""}
Values = Mapping[str, Callable[[], str]]


def filled(kind: Descriptor, case: FieldDescriptor | None, values: Values) -> Message:
    """A request of this case in which every text field, at any depth, has a value: of its name in *values*, or `x`."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        oneof = field.containing_oneof
        if oneof is not None and not oneof.name.startswith("_") and field != case:
            continue
        if field.message_type is not None:
            if field.message_type.full_name.startswith("authapi.v1.") and field.message_type.name != "Cursor":
                inner = filled(field.message_type, None, values)
                if field.is_repeated:
                    getattr(message, field.name).append(inner)
                else:
                    getattr(message, field.name).CopyFrom(inner)
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            known = values.get(field.name)
            setattr(message, field.name, _OTHERS.get(field.name, "x") if known is None else known())
    return message


def may_call(role: str, name: str, case: str) -> bool:
    """What CONTRACT.md and the comments say, independently of the table."""
    if role not in pinned.CALLERS[name]:
        return False
    return role != "edge" or not case or case in pinned.EDGE_CASES.get(name, {case})
