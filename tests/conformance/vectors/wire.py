"""
The messages of the vectors, by the server's own encoder where it can say them, and both forms of each.

Facts go in as the domain has them and come out again as a reader would understand the bytes: what judges a case has
read the very message that a client reads.
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from authapi.v1 import key_service_pb2
from authapi.v1 import revocation_service_pb2 as pb
from authsvc.domain.cursors import Cursor, position_bytes
from authsvc.domain.ids import encode_id
from authsvc.domain.keyring import KeyRing
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.rpc.convert import Cursors, duration
from authsvc.rpc.revocation_service import RevocationServicer
from authsvc.service.limits import Limiter
from authsvc.service.snapshots import Snapshot
from authsvc.service.watch import Changes, GoAway, Watches
from authsvc.service.watch import Message as Said

INCARNATION = b"\xa1" * 8
NEXT_INCARNATION = b"\xb2" * 8
_CURSORS = Cursors(KeyRing(current_id=b"test", keys={b"test": b"\x5a" * 32}))


class _Encoder:
    """Stands where the watches would be, and keeps the encoder that the servicer hands them."""

    encode: Callable[[Said], bytes]

    def broadcast(self, encode: Callable[[Said], bytes]) -> None:
        self.encode = encode


_ENCODER = _Encoder()
RevocationServicer(
    watches=cast(Watches, _ENCODER),
    cursors=_CURSORS,
    limiter=cast(Limiter, None),  # no stream begins here
)


def at(position: int, incarnation: bytes = INCARNATION) -> Cursor:
    """A cursor."""
    return Cursor(incarnation, position)


def cursor_text(cursor: Cursor | None) -> str | None:
    """A cursor as `expect_open` has it."""
    return None if cursor is None else base64.b64encode(_CURSORS.to_message(cursor).value).decode()


def snapshot(*facts: Fact, through: Cursor | None, age_ms: int = 0) -> pb.WatchRevocationsResponse:
    """A part of a snapshot, the last one if it has a cursor."""
    return _message(Snapshot(tuple(facts), through), age_ms)


def changes(*facts: Fact, through: Cursor, age_ms: int = 0) -> pb.WatchRevocationsResponse:
    """New facts; a heartbeat if there are none."""
    return _message(Changes(tuple(facts), through), age_ms)


def heartbeat(through: Cursor, age_ms: int = 0) -> pb.WatchRevocationsResponse:
    """Nothing new."""
    return changes(through=through, age_ms=age_ms)


def go_away(through: Cursor, age_ms: int = 0) -> pb.WatchRevocationsResponse:
    """The server drains."""
    return _message(GoAway(through), age_ms)


def unpacked(message: pb.WatchRevocationsResponse) -> pb.WatchRevocationsResponse:
    """The same snapshot with every session as a revocation of its own, which the contract allows as well."""
    copy = pb.WatchRevocationsResponse.FromString(message.SerializeToString())
    part = copy.snapshot_part
    for group in part.sessions:
        for raw in _split(group.ids):
            part.revocations.add(session_id=raw, reason=group.reason, useful_until=group.useful_until)
    del part.sessions[:]
    return copy


def without_end(message: pb.WatchRevocationsResponse) -> pb.WatchRevocationsResponse:
    """The same message with every fact to be kept for good."""
    copy = pb.WatchRevocationsResponse.FromString(message.SerializeToString())
    for fact in (*copy.snapshot_part.revocations, *copy.snapshot_part.sessions, *copy.changes.revocations):
        fact.ClearField("useful_until")
    return copy


def with_unknown_body(message: pb.WatchRevocationsResponse) -> pb.WatchRevocationsResponse:
    """The same message with a body (field 15) that this contract does not know."""
    copy = pb.WatchRevocationsResponse.FromString(message.SerializeToString())
    copy.ClearField("body")
    return pb.WatchRevocationsResponse.FromString(copy.SerializeToString() + b"\x7a\x00")


def with_unknown_target(message: pb.WatchRevocationsResponse) -> pb.WatchRevocationsResponse:
    """The same message with every target moved to a field (15) that this contract does not know."""
    copy = pb.WatchRevocationsResponse.FromString(message.SerializeToString())
    for fact in (*copy.changes.revocations, *copy.snapshot_part.revocations):
        fact.ClearField("target")
        fact.MergeFromString(b"\x7a\x03abc")
    return copy


def with_unknown_fields(message: pb.WatchRevocationsResponse) -> pb.WatchRevocationsResponse:
    """The same message with a field (200) more at its top and in every fact, as a later contract may add them."""
    copy = pb.WatchRevocationsResponse.FromString(message.SerializeToString() + b"\xc2\x0c\x01x")
    for fact in (*copy.changes.revocations, *copy.snapshot_part.revocations):
        fact.MergeFromString(b"\xc2\x0c\x01x")
    return copy


def both_forms(message: Message) -> dict[str, Any]:
    """Proto3 JSON for the reader and the bytes, which are what counts."""
    return {
        "json": MessageToDict(message),
        "base64": base64.b64encode(message.SerializeToString(deterministic=True)).decode(),
    }


def key_answer(
    *, jwks_json: str, withdrawn: Iterable[str], issuer: str, max_lifetime_s: int, max_age_s: int
) -> key_service_pb2.GetJwksResponse:
    """What GetJwks answers."""
    return key_service_pb2.GetJwksResponse(
        jwks_json=jwks_json,
        max_age=duration(timedelta(seconds=max_age_s)),
        withdrawn_key_ids=withdrawn,
        issuer=issuer,
        max_token_lifetime=duration(timedelta(seconds=max_lifetime_s)),
    )


def facts_of(message: pb.WatchRevocationsResponse) -> tuple[list[Fact], bool]:
    """Return the facts a reader finds in a message, and whether one of them is of a kind it does not know."""
    part = message.snapshot_part
    facts = [
        Fact(0, FactKind.SESSION, encode_id(raw), EndReason(group.reason), _until(group))
        for group in part.sessions
        for raw in _split(group.ids)
    ]
    unknown = False
    for revocation in (*part.revocations, *message.changes.revocations):
        kind, target = _target(revocation)
        if kind is None:
            unknown = True
            continue
        facts.append(
            Fact(
                position=int.from_bytes(revocation.position, "big"),
                kind=kind,
                target=target,
                reason=EndReason(revocation.reason),
                useful_until=_until(revocation),
                app_filter=revocation.app_filter,
            )
        )
    return facts, unknown


def position_of(message: pb.WatchRevocationsResponse) -> int:
    """The position through which a message completes its reader's knowledge."""
    return int.from_bytes(message.position_through, "big")


def _message(said: Said, age_ms: int) -> pb.WatchRevocationsResponse:
    message = pb.WatchRevocationsResponse.FromString(_ENCODER.encode(said))
    message.age.CopyFrom(duration(timedelta(milliseconds=age_ms)))
    if message.HasField("complete_through"):
        assert said.through is not None
        assert message.position_through == position_bytes(said.through.position)
    return message


def _split(ids: bytes) -> Iterator[bytes]:
    return (ids[start : start + 16] for start in range(0, len(ids), 16))


def _until(message: pb.Revocation | pb.PackedSessions) -> datetime | None:
    return message.useful_until.ToDatetime(UTC) if message.HasField("useful_until") else None


def _target(revocation: pb.Revocation) -> tuple[FactKind | None, str]:
    match revocation.WhichOneof("target"):
        case "session_id":
            return FactKind.SESSION, encode_id(revocation.session_id)
        case "user_id":
            return FactKind.USER, revocation.user_id
        case "app_id":
            return FactKind.APP, revocation.app_id
        case "key_id":
            return FactKind.KEY, revocation.key_id
        case _:
            return None, ""
