"""
VerifyTokenResponse, encoded with nothing done twice.

Protobuf fields may be concatenated: what a token says is encoded once and kept with it, the cursor once per change
of the log, an age once per millisecond of it. A test parses the result and compares it field by field.
"""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from authapi.v1 import auth_service_pb2, types_pb2
from authsvc.domain.access_token import Claims
from authsvc.domain.cursors import Cursor
from authsvc.rpc.convert import Cursors
from authsvc.service.tail import LogTail
from authsvc.service.verify import Refusal, Verdict

# The log is confirmed several times a second, so nearly every age is one of these.
_AGES_KEPT = 1000


class VerdictEncoder:
    """Turns verdicts into response bytes."""

    def __init__(self, *, tail: LogTail, cursors: Cursors) -> None:
        self._tail = tail
        self._cursors = cursors
        self._refusals: dict[Refusal, bytes] = {}
        self._known: Cursor | None = None
        self._known_wire = b""
        self._ages: dict[int, bytes] = {}  # what follows the outcome, by the knowledge's age

    def encode(self, verdict: Verdict) -> bytes:
        """Return a serialized VerifyTokenResponse."""
        if isinstance(verdict, Refusal):
            outcome = self._refusals.get(verdict)
            if outcome is None:
                outcome = self._refusals[verdict] = _encode_refusal(verdict)
        else:
            outcome = verdict.wire
            if not outcome:
                outcome = verdict.wire = _encode_active(verdict.claims)
        return outcome + self._knowledge()

    def _knowledge(self) -> bytes:
        known = self._tail.view.known
        if known is None:
            return b""
        if known is not self._known and known != self._known:
            self._ages.clear()
            self._known_wire = auth_service_pb2.VerifyTokenResponse(
                known_through=self._cursors.to_message(known)
            ).SerializeToString()
        self._known = known
        age_ms = self._tail.age_ms()
        return self._ages.get(age_ms) or self._encode_knowledge(age_ms)

    def _encode_knowledge(self, age_ms: int) -> bytes:
        age = Duration(seconds=age_ms // 1000, nanos=age_ms % 1000 * 1_000_000)
        encoded = self._known_wire + auth_service_pb2.VerifyTokenResponse(age=age).SerializeToString()
        if age_ms < _AGES_KEPT:
            self._ages[age_ms] = encoded
        return encoded


def encode_batch(responses: list[bytes]) -> bytes:
    """Return a serialized BatchVerifyTokensResponse of already serialized responses (field 1, length-delimited)."""
    parts = []
    for response in responses:
        parts.append(b"\x0a" + _varint(len(response)))
        parts.append(response)
    return b"".join(parts)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _encode_active(claims: Claims) -> bytes:
    return auth_service_pb2.VerifyTokenResponse(
        active=auth_service_pb2.Active(
            user_id=claims.user_id,
            session_id=claims.session_id,
            app_id=claims.app_id,
            openid=claims.openid,
            scopes=claims.scopes,
            roles=claims.roles,
            audiences=claims.audiences,
            token_id=claims.token_id,
            issued_at=Timestamp(seconds=claims.issued_at) if claims.issued_at else None,
            expires_at=Timestamp(seconds=claims.expires_at),
            previous_user_ids=claims.previous_user_ids,
            external_id=claims.external_id,
        )
    ).SerializeToString()


def _encode_refusal(refusal: Refusal) -> bytes:
    return auth_service_pb2.VerifyTokenResponse(
        inactive=auth_service_pb2.Inactive(
            reason=types_pb2.InactiveReason.ValueType(refusal.reason.value),
            session_end_reason=types_pb2.SessionEndReason.ValueType(refusal.end_reason.value),
        )
    ).SerializeToString()
