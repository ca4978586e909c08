"""SessionService: GetSession, ListSessions."""

from datetime import datetime

from authapi.v1 import session_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import InvalidField
from authsvc.domain.keyring import KeyRing
from authsvc.domain.page_tokens import open_page_token, seal_page_token
from authsvc.domain.sessions import Ended, EndReason, Session
from authsvc.ports import Clock, SessionQuery
from authsvc.rpc.convert import Cursors, storable, timestamp
from authsvc.rpc.wrapper import Call, Service, Unary
from authsvc.service.sessions import Sessions

NAME = "authapi.v1.SessionService"
DEFAULT_PAGE = 50
MAX_PAGE = 200
# What a row says where no caller ended the session (domain.sessions.Ended); the contract shows an empty name.
_OWN_RULES = frozenset({"login", "service"})


class SessionServicer:
    """Converts, calls the use case, converts."""

    def __init__(self, *, sessions: Sessions, cursors: Cursors, page_ring: KeyRing, clock: Clock) -> None:
        self._sessions = sessions
        self._cursors = cursors
        self._page_ring = page_ring
        self._clock = clock

    def methods(self) -> Service:
        """Return the service's methods by name."""
        return {
            "GetSession": Unary(pb.GetSessionRequest, self.get_session),
            "ListSessions": Unary(pb.ListSessionsRequest, self.list_sessions),
        }

    async def get_session(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        """See the contract."""
        at_least = self._cursors.from_message(request.at_least, field="at_least")
        if request.WhichOneof("target") == "session_id":
            session = await self._sessions.get(
                request.session_id, at_least=at_least, apps=call.principal.apps
            )
        else:
            session = await self._sessions.get_by_token(
                request.access_token,
                audiences=call.principal.audiences,
                at_least=at_least,
                apps=call.principal.apps,
            )
        return pb.GetSessionResponse(session=_session(session, self._clock.now()))

    async def list_sessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        """See the contract."""
        del call
        storable(request.user_id, "user_id")
        storable(request.app_id, "app_id")
        filters = ("sessions", request.user_id, request.app_id, str(request.include_ended))
        after = None
        if request.page_token:
            after = open_page_token(request.page_token, filters=filters, ring=self._page_ring)
            if after is None:
                raise InvalidField("page_token", "is not a page token of this list")
        size = min(max(request.page_size, 1), MAX_PAGE) if request.page_size else DEFAULT_PAGE
        at_least: Cursor | None = self._cursors.from_message(request.at_least, field="at_least")
        found = await self._sessions.list(
            SessionQuery(
                user_id=request.user_id,
                app_id=request.app_id,
                include_ended=request.include_ended,
                limit=size + 1,  # one more tells whether there is a next page
                after=after,
            ),
            at_least=at_least,
        )
        page = found[:size]
        next_token = ""
        if len(found) > size:
            last = page[-1]
            next_token = seal_page_token(
                (last.created_at, last.session_id), filters=filters, ring=self._page_ring
            )
        now = self._clock.now()
        return pb.ListSessionsResponse(
            sessions=[_session(session, now) for session in page], next_page_token=next_token
        )


def _session(session: Session, now: datetime) -> pb.Session:
    message = pb.Session(
        session_id=session.session_id,
        user_id=session.user_id,
        app_id=session.app_id,
        created_at=timestamp(session.created_at),
        last_refreshed_at=timestamp(session.rotated_at),
        expires_at=timestamp(session.refresh_expires_at),
        client=types_pb2.ClientInfo(
            ip=session.client.ip,
            user_agent=session.client.user_agent,
            device_id=session.client.device_id,
            device_name=session.client.device_name,
        ),
        live=session.is_live(now=now),
    )
    ended = session.ended
    if ended is None and not message.live:
        # Nobody has presented its token since, so no row says so.
        ended = Ended(reason=EndReason.EXPIRED, at=session.refresh_expires_at, by="")
    if ended is not None:
        message.end_reason = types_pb2.SessionEndReason.ValueType(ended.reason.value)
        message.ended_at.CopyFrom(timestamp(ended.at))
        message.ended_by = "" if ended.by in _OWN_RULES else ended.by
    return message
