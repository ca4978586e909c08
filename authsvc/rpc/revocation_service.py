"""RevocationService: the stream that makes local verification possible."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

from authapi.v1 import revocation_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import Cursor, position_bytes
from authsvc.domain.ids import decode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.rpc.convert import Cursors, duration, timestamp
from authsvc.rpc.wrapper import Call, ServerStream, Service
from authsvc.service.watch import Changes, GoAway, Message, Snapshot, Watches

NAME = "authapi.v1.RevocationService"
_MINUTE = timedelta(minutes=1)


class RevocationServicer:
    """Converts the use case's messages."""

    def __init__(self, *, watches: Watches, cursors: Cursors) -> None:
        self._watches = watches
        self._cursors = cursors

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {"WatchRevocations": ServerStream(pb.WatchRevocationsRequest, self.watch_revocations)}

    async def watch_revocations(
        self, request: pb.WatchRevocationsRequest, call: Call
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """See the contract."""
        del call
        resume_from = self._cursors.from_message(request.resume_from, field="resume_from")
        async for message in self._watches.watch(resume_from):
            yield self._response(message)

    def _response(self, message: Message) -> pb.WatchRevocationsResponse:
        response = pb.WatchRevocationsResponse()
        match message:
            case Snapshot(facts=facts, through=through, age=age):
                response.snapshot_part.CopyFrom(_snapshot_part(facts, last=through is not None))
                if through is None or age is None:
                    return response
            case Changes(facts=facts, through=through, age=age):
                if facts:
                    response.changes.revocations.extend(_revocation(fact) for fact in facts)
                else:
                    response.heartbeat.SetInParent()
            case GoAway(through=through, age=age):
                response.go_away.SetInParent()
        self._complete(response, through)
        response.age.CopyFrom(duration(age))
        return response

    def _complete(self, response: pb.WatchRevocationsResponse, through: Cursor) -> None:
        response.complete_through.CopyFrom(self._cursors.to_message(through))
        response.position_through = position_bytes(through.position)


def _snapshot_part(facts: Iterable[Fact], *, last: bool) -> pb.SnapshotPart:
    """Session facts are packed: 16 bytes each, by reason and last use."""
    part = pb.SnapshotPart(last=last)
    packed: dict[tuple[EndReason, datetime | None], list[bytes]] = defaultdict(list)
    for fact in facts:
        raw = decode_id(fact.target) if fact.kind is FactKind.SESSION else None
        if raw is None:
            part.revocations.append(_revocation(fact))
        else:
            # Rounded up to the minute: a few seconds more to remember, far fewer groups to send.
            packed[(fact.reason, _minute_up(fact.useful_until))].append(raw)
    for (reason, until), ids in packed.items():
        group = pb.PackedSessions(ids=b"".join(ids), reason=_end_reason(reason))
        if until is not None:
            group.useful_until.CopyFrom(timestamp(until))
        part.sessions.append(group)
    return part


def _minute_up(until: datetime | None) -> datetime | None:
    if until is None:
        return None
    floor = until.replace(second=0, microsecond=0)
    return floor if floor == until else floor + _MINUTE


def _revocation(fact: Fact) -> pb.Revocation:
    message = pb.Revocation(
        position=position_bytes(fact.position), reason=_end_reason(fact.reason), app_filter=fact.app_filter
    )
    match fact.kind:
        case FactKind.SESSION:
            message.session_id = decode_id(fact.target) or b""
        case FactKind.USER:
            message.user_id = fact.target
        case FactKind.APP:
            message.app_id = fact.target
        case FactKind.KEY:
            message.key_id = fact.target
        case FactKind.PRINCIPAL:
            raise AssertionError("principal facts never leave the servers")
    if fact.useful_until is not None:
        message.useful_until.CopyFrom(timestamp(fact.useful_until))
    return message


def _end_reason(reason: EndReason) -> types_pb2.SessionEndReason.ValueType:
    return types_pb2.SessionEndReason.ValueType(reason.value)
