"""Reads compiled protos back into the words of `pinned.py`, and finds the comment of an element."""

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

# Field numbers of descriptor.proto, out of which the path of a comment is made.
_SERVICE, _METHOD, _ENUM, _VALUE = 6, 2, 5, 2


class Source:
    """The files of the contract."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        self.files = files

    def messages(self) -> set[str]:
        """Return every message in the words of `pinned.MESSAGES`."""
        return {_message(message) for file in self.files for message in file.message_type}

    def services(self) -> set[str]:
        """Return every service in the words of `pinned.SERVICES`."""
        return {_service(service) for file in self.files for service in file.service}

    def enums(self) -> set[str]:
        """Return every enum in the words of `pinned.ENUMS`."""
        return {_enum(enum) for file in self.files for enum in file.enum_type}

    def method_types(self) -> Iterator[tuple[str, str, str]]:
        """Yield (method, request type, response type)."""
        for file in self.files:
            for service in file.service:
                for method in service.method:
                    yield method.name, _short(method.input_type), _short(method.output_type)

    def method_comments(self) -> dict[str, str]:
        """Return the comment of every RPC by its name."""
        return {
            method.name: _comment(file, (_SERVICE, at, _METHOD, index))
            for file in self.files
            for at, service in enumerate(file.service)
            for index, method in enumerate(service.method)
        }

    def value_comments(self, enum: str) -> dict[str, str]:
        """Return the comment of every value of an enum but UNSPECIFIED, by its name without prefix."""
        return {
            value.name.removeprefix(_prefix(enum)): _comment(file, (_ENUM, at, _VALUE, index))
            for file in self.files
            for at, declared in enumerate(file.enum_type)
            if declared.name == enum
            for index, value in enumerate(declared.value)
            if value.number
        }


def declarations(text: str) -> set[str]:
    """Return the declarations of a pinned text, one per top-level closing brace, whitespace collapsed."""
    found, depth, words = set(), 0, list[str]()
    for word in text.split():
        words.append(word)
        depth += word.count("{") - word.count("}")
        if not depth and "}" in word:
            found.add(" ".join(words))
            words.clear()
    assert not words, f"unfinished declaration: {words}"
    return found


def _short(type_name: str) -> str:
    return type_name.rsplit(".", 1)[-1]


def _prefix(enum: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum).lstrip("_") + "_"


def _message(message: DescriptorProto) -> str:
    reserved = {
        block.start: f"reserved {block.start} to {block.end - 1};" for block in message.reserved_range
    }
    parts: list[str] = []
    open_oneof: int | None = None
    for field in message.field:
        oneof = field.oneof_index if field.HasField("oneof_index") and not field.proto3_optional else None
        if oneof != open_oneof:
            parts += ["}"] * (open_oneof is not None)
            parts += [f"oneof {message.oneof_decl[oneof].name} {{"] if oneof is not None else []
            open_oneof = oneof
        for start in [start for start in reserved if start < field.number]:
            parts.append(reserved.pop(start))
        parts.append(_field(field))
    parts += ["}"] * (open_oneof is not None)
    return _block(f"message {message.name}", [*parts, *reserved.values()])


def _field(field: FieldDescriptorProto) -> str:
    label = (
        "repeated " if field.label == field.LABEL_REPEATED else "optional " if field.proto3_optional else ""
    )
    kind = _short(field.type_name) or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{label}{kind} {field.name} = {field.number};"


def _service(service: ServiceDescriptorProto) -> str:
    streams = (
        f"{'stream ' if method.server_streaming else ''}{'client-stream ' if method.client_streaming else ''}"
        f"{method.name};"
        for method in service.method
    )
    return _block(f"service {service.name}", streams)


def _enum(enum: EnumDescriptorProto) -> str:
    prefix = _prefix(enum.name)
    assert all(value.name.startswith(prefix) for value in enum.value), enum.name
    return _block(
        f"enum {enum.name}", (f"{value.name.removeprefix(prefix)}={value.number}" for value in enum.value)
    )


def _block(head: str, parts: Iterable[str]) -> str:
    return " ".join([head, "{", *parts, "}"])


def _comment(file: FileDescriptorProto, path: tuple[int, ...]) -> str:
    (location,) = (found for found in file.source_code_info.location if tuple(found.path) == path)
    return location.leading_comments
