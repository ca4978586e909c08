"""RevocationService: the stream that makes local verification possible."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta

from authapi.v1 import revocation_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import position_bytes
from authsvc.domain.ids import decode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.rpc.convert import Cursors, duration, timestamp
from authsvc.rpc.wrapper import Call, ServerStream, Service
from authsvc.service.limits import Limiter
from authsvc.service.snapshots import Snapshot
from authsvc.service.watch import Changes, GoAway, Message, Watches

NAME = "authapi.v1.RevocationService"
_MINUTE = timedelta(minutes=1)
_MILLISECOND = timedelta(milliseconds=1)
# The log is confirmed several times a second, so nearly every age is one of these.
_AGES_KEPT = 1000


class RevocationServicer:
    """Converts the use case's messages, each once for all who receive it."""

    def __init__(self, *, watches: Watches, cursors: Cursors, limiter: Limiter) -> None:
        self._cursors = cursors
        self._limiter = limiter
        self._broadcast = watches.broadcast(self._encode)
        self._ages: dict[int, bytes] = {}

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {"WatchRevocations": ServerStream(pb.WatchRevocationsRequest, self.watch_revocations)}

    async def watch_revocations(
        self, request: pb.WatchRevocationsRequest, call: Call
    ) -> AsyncIterator[bytes]:
        """See the contract."""
        resume_from = self._cursors.from_message(request.resume_from, field="resume_from")
        principal = call.principal.name
        self._limiter.admit_watch(principal)
        source = self._broadcast.watch(resume_from, cut=call.cut, principal=principal)
        async with aclosing(source) as messages:  # type: ignore[type-var]
            async for encoded, age in messages:
                # Protobuf fields may be concatenated: the age is what differs from one reader to the next.
                yield encoded if age is None else encoded + self._encode_age(age)

    def _encode(self, message: Message) -> bytes:
        response = pb.WatchRevocationsResponse()
        match message:
            case Snapshot(facts=facts, through=through):
                response.snapshot_part.CopyFrom(_snapshot_part(facts, last=through is not None))
            case Changes(facts=facts, through=through):
                if facts:
                    response.changes.revocations.extend(_revocation(fact) for fact in facts)
                else:
                    response.heartbeat.SetInParent()
            case GoAway(through=through):
                response.go_away.SetInParent()
        if through is not None:
            response.complete_through.CopyFrom(self._cursors.to_message(through))
            response.position_through = position_bytes(through.position)
        return response.SerializeToString()

    def _encode_age(self, age: timedelta) -> bytes:
        """Return the field `age`, in whole milliseconds, rounded up: never younger than it is."""
        age_ms = -(-age // _MILLISECOND)
        encoded = self._ages.get(age_ms)
        if encoded is None:
            response = pb.WatchRevocationsResponse(age=duration(age_ms * _MILLISECOND))
            encoded = response.SerializeToString()
            if age_ms < _AGES_KEPT:
                self._ages[age_ms] = encoded
        return encoded


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
