"""
Where a plain request ends, told from its bytes without parsing it.

Only what cannot be read in two ways: HTTP/1.1, every line ended by CR LF, at most one Content-Length of digits, nothing
that changes how the message or the connection goes on. Of anything else nothing is said (RFC 9112 sections 5 and 6: where
two readers differ about the end of a message, one request hides in another).
"""

from dataclasses import dataclass

_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length"
# What makes a message something else than it seems.
_TELLING = (b"\r\ntransfer-encoding", b"\r\nexpect", b"\r\nupgrade", b"\r\n ", b"\r\n\t", b"\0")
_CONNECTION, _KEPT = b"\r\nconnection", b"\r\nconnection: keep-alive\r\n"
_LONGEST_LENGTH = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """
    A request whose headers are complete: `line` is method and target, `head` all up to the end of the last header.

    `lowered` is the same in lower case. `rest` is how many bytes of the body are still to come, negative where there
    are more bytes than the request has.
    """

    line: bytes
    head: bytes
    lowered: bytes
    rest: int

    def field(self, name: bytes) -> bytes:
        """Return the value of the first header of this lower-case name, or nothing."""
        at = self.lowered.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        at += len(name) + 3
        return self.head[at : self.head.index(b"\r\n", at)].strip(b" \t")


def framed(data: bytes) -> Frame | None:
    """Return the request that begins where *data* does, or None for whatever is not plain."""
    end = data.find(_END)
    if end < 0:
        return None
    head = data[: end + 2]
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        return None
    line, version, _ = head.partition(b" HTTP/1.1\r\n")
    if not version or b"\r" in line:
        return None
    lowered = head.lower()
    if any(word in lowered for word in _TELLING):
        return None
    if lowered.count(_CONNECTION) != lowered.count(_KEPT):
        return None
    length = _length(lowered)
    return None if length is None else Frame(line, head, lowered, length - (len(data) - end - len(_END)))


def _length(lowered: bytes) -> int | None:
    count = lowered.count(_LENGTH)
    if not count:
        return 0
    at = lowered.index(_LENGTH) + len(_LENGTH)
    value = lowered[at + 1 : lowered.index(b"\r\n", at)].strip(b" \t")
    plain = count == 1 and lowered[at : at + 1] == b":" and value.isdigit() and len(value) <= _LONGEST_LENGTH
    return int(value) if plain else None
