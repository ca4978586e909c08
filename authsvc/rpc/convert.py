"""Between the contract's messages and the domain's values."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from authapi.v1 import types_pb2
from authsvc.domain.cursors import Cursor, open_cursor, seal_cursor
from authsvc.domain.errors import InvalidField
from authsvc.domain.keyring import KeyRing
from authsvc.domain.sessions import ClientInfo
from authsvc.service.issue import TokenPair

# What a client says of itself is kept for operators; longer is either a mistake or an attempt to fill the disk.
_LIMITS = {"ip": 64, "device_id": 128, "device_name": 128}
_USER_AGENT_LIMIT = 512


def timestamp(instant: datetime) -> Timestamp:
    """Return the contract's form of an instant."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def duration(span: timedelta) -> Duration:
    """Return the contract's form of a span."""
    message = Duration()
    message.FromTimedelta(span)
    return message


def storable(text: str, field: str) -> str:
    """
    Return *text* if every database takes it: PostgreSQL refuses NUL, after the login code was spent.

    Raises:
        InvalidField: it holds a NUL.

    """
    if "\x00" in text:
        raise InvalidField(field, "must not contain NUL")
    return text


def required(text: str, field: str) -> str:
    """
    Return *text* if it is there and every database takes it.

    Raises:
        InvalidField: it is empty or holds a NUL.

    """
    if not text:
        raise InvalidField(field, "must not be empty")
    return storable(text, field)


def client_info(message: types_pb2.ClientInfo) -> ClientInfo:
    """
    Return what the client says of itself; a long user agent is cut.

    Raises:
        InvalidField: a field is longer than the contract allows.

    """
    for name, limit in _LIMITS.items():
        if len(storable(getattr(message, name), f"client.{name}")) > limit:
            raise InvalidField(f"client.{name}", f"must not exceed {limit} characters")
    return ClientInfo(
        ip=message.ip,
        user_agent=storable(message.user_agent, "client.user_agent")[:_USER_AGENT_LIMIT],
        device_id=message.device_id,
        device_name=message.device_name,
    )


def token_pair(pair: TokenPair) -> types_pb2.TokenPair:
    """Return the tokens as the contract has them."""
    return types_pb2.TokenPair(
        access_token=pair.access_token,
        access_expires_at=timestamp(pair.access_expires_at),
        refresh_token=pair.refresh_token,
        refresh_expires_at=timestamp(pair.refresh_expires_at),
        server_time=timestamp(pair.server_time),
    )


class Cursors:
    """Seals and opens the contract's cursors; the last sealed one is kept, since it seldom changes."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._last: tuple[Cursor, types_pb2.Cursor] | None = None

    def to_message(self, cursor: Cursor) -> types_pb2.Cursor:
        """Return the opaque form."""
        if self._last is None or self._last[0] != cursor:
            self._last = (cursor, types_pb2.Cursor(value=seal_cursor(cursor, ring=self._ring)))
        return self._last[1]

    def from_message(self, message: types_pb2.Cursor, *, field: str) -> Cursor | None:
        """
        Return the cursor, or None for an empty one.

        Raises:
            InvalidField: the bytes are no cursor of ours.

        """
        if not message.value:
            return None
        cursor = open_cursor(message.value, ring=self._ring)
        if cursor is None:
            raise InvalidField(field, "is not a cursor of this service")
        return cursor
