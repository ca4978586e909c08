"""
Fuzz inputs: hypothesis gives a program of bytes, and the program is read as inputs, many to one.

So a million inputs cost some ten thousand draws, the counts are exact, and a failure shrinks to a short program.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

T = TypeVar("T")
SHORT = 4096
"""Bytes of one program."""


class Dice:
    """Reads a program; `spent` once it is at its end."""

    def __init__(self, program: bytes) -> None:
        self._program, self._at = program, 0

    @property
    def spent(self) -> bool:
        return self._at >= len(self._program)

    def below(self, limit: int) -> int:
        width = 1 if limit <= 256 else 2
        raw = self._program[self._at : self._at + width]
        self._at += width
        return int.from_bytes(raw, "big") % limit

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def raw(self, most: int) -> bytes:
        length = self.below(most + 1)
        taken = self._program[self._at : self._at + length]
        self._at += length
        return taken

    def edited(self, base: bytes) -> bytes:
        """The base after one to four small or large edits."""
        text = bytearray(base)
        for _ in range(1 + self.below(4)):
            at = self.below(len(text) + 1)
            match self.below(7):
                case 0:
                    text[at : at + 1] = bytes([self.below(256)])
                case 1:
                    text[at:at] = self.raw(6)
                case 2:
                    del text[at : at + 1 + self.below(8)]
                case 3:
                    del text[at:]
                case 4:
                    text[at:at] = text[: self.below(64)]
                case 5:
                    text[at:at] = self.pick(TRICKS)
                case _:
                    if at < len(text):
                        text[at] ^= 1 << self.below(8)
        return bytes(text)

    def json(self, names: Sequence[str], values: Sequence[object], *, depth: int = 3) -> object:
        """Any JSON value, objects mostly with these names and leaves mostly of these values."""
        match self.below(8) if depth else 7:
            case 0 | 1 | 2 | 3:
                return {
                    self.pick([*names, "x", ""]): self.json(names, values, depth=depth - 1)
                    for _ in range(self.below(7))
                }
            case 4:
                return [self.json(names, values, depth=depth - 1) for _ in range(self.below(4))]
            case _:
                return self.pick([*values, *LEAVES])


TRICKS = (
    b"\0", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"%00", b"' OR '1'='1",
    b"<script>", b"{{7*7}}", b"${jndi:ldap://x}", b"../../..", b"\x1b[31m", b"9" * 400, b"1e999", b"NaN", b"[" * 300,
    b'{"a":' * 200, b"=", b".", b"..", b"+", b"/", b"-0", b"\\ud800", b'"', b"A" * 1000, b"\x80" * 10, b"\xff" * 10, b",", b";",
)  # fmt: skip
LEAVES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, 1.5, -0.0, 1e300, "", "x", "\0", "中文", "😀", "\u2028",
    "a" * 600, [], {}, [None], {"": ""},
)  # fmt: skip


def fuzz(body: Callable[[Dice], object], *, programs: int, size: int = SHORT, shrinks: bool = True) -> None:
    """Have the body read programs to their end; the same ones in every run. What waits for sockets shrinks too slowly."""

    @settings(
        max_examples=programs,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=size, max_size=size))
    def run(program: bytes) -> None:
        dice = Dice(program)
        while not dice.spent:
            body(dice)

    run()


class Messages:
    """Requests of the contract, filled with what might hurt."""

    def __init__(self, texts: Sequence[str], raws: Sequence[bytes]) -> None:
        self._texts, self._raws = texts, raws

    def bytes_of(self, dice: Dice, kind: type[Message]) -> bytes:
        """Bytes of a request: whole, damaged, or none at all."""
        match dice.below(8):
            case 0:
                return dice.raw(60)
            case 1 | 2:
                return dice.edited(self.filled(dice, kind()).SerializeToString())
            case _:
                return self.filled(dice, kind()).SerializeToString()

    def filled(self, dice: Dice, message: Message, *, depth: int = 3) -> Message:
        """The message with some of its fields set."""
        for field in message.DESCRIPTOR.fields:
            if dice.below(3) == 0:
                continue
            if field.message_type is not None:
                if depth:
                    self._fill_message(dice, message, field, depth=depth - 1)
            elif field.is_repeated:
                getattr(message, field.name).extend(self._value(dice, field) for _ in range(dice.below(4)))
            else:
                setattr(message, field.name, self._value(dice, field))
        return message

    def _fill_message(self, dice: Dice, message: Message, field: FieldDescriptor, *, depth: int) -> None:
        if field.is_repeated:
            for _ in range(dice.below(3)):
                self.filled(dice, getattr(message, field.name).add(), depth=depth)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.filled(dice, inner, depth=depth)

    def _value(self, dice: Dice, field: FieldDescriptor) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                if field.type == FieldDescriptor.TYPE_BYTES:
                    return dice.edited(dice.pick(self._raws)) if dice.below(2) else dice.pick(self._raws)
                text = dice.pick(self._texts)
                return text if dice.below(2) else dice.edited(text.encode()).decode("utf-8", "replace")
            case FieldDescriptor.CPPTYPE_BOOL:
                return bool(dice.below(2))
            case FieldDescriptor.CPPTYPE_ENUM:
                return dice.pick([0, 1, 2, 4, 9, 99, -1, 2**31 - 1])
            case FieldDescriptor.CPPTYPE_INT32:
                return dice.pick([0, 1, -1, 2**31 - 1, -(2**31)])
            case _:
                return dice.pick([0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63)])


def random_json(dice: Dice, names: Sequence[str], values: Sequence[object]) -> bytes:
    """The bytes of a JSON value, sometimes damaged."""
    raw = json.dumps(dice.json(names, values), ensure_ascii=bool(dice.below(2))).encode(
        "utf-8", "surrogatepass"
    )
    return dice.edited(raw) if dice.below(3) == 0 else raw


def total(counts: Counter[str]) -> int:
    """How many inputs were tried."""
    return sum(counts.values())
