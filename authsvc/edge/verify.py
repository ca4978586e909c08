"""Judging a Bearer token: forward-auth for gateways, and the session for its own user."""

import re
from typing import Any

from aiohttp import web

from authapi.v1 import GetSessionRequest, Session
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused, token_invalid
from authsvc.edge.judging import Judge
from authsvc.edge.reading import ANYTHING, bearer_token, parse_demand
from authsvc.edge.replies import json_reply, reply
from authsvc.status import INTERNAL
from authsvc_client import Active

_HEADER_TEXT = re.compile(r"[\x20-\x7e]*")


class Verify:
    """The handlers that answer for a token."""

    def __init__(self, backend: Backend, judge: Judge) -> None:
        self._backend = backend
        self._judge = judge

    async def verify(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`GET /api/v1/verify`: 200 with the x-auth headers and no body. What a gateway says of its request is not read."""
        token = bearer_token(request)
        if not token:
            raise token_invalid(presented="Authorization" in request.headers)
        demand = parse_demand(request.rel_url.raw_query_string)
        active = await self._judge.active(token, demand, correlation)
        headers = {
            "x-auth-user": active.user_id,
            "x-auth-session": active.session_id,
            "x-auth-app": active.app_id,
            "x-auth-scopes": " ".join(active.scopes),
        }
        if _HEADER_TEXT.fullmatch("".join(headers.values())) is None:
            raise Refused(INTERNAL, cause="an id or scope does not fit into a header")
        return reply(request_id=correlation.request_id, headers=headers)

    async def session(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`GET /api/v1/session`: the caller's own session and what the token says."""
        token = bearer_token(request)
        if not token:
            raise token_invalid(presented="Authorization" in request.headers)
        active = await self._judge.active(token, ANYTHING, correlation)
        response = await self._backend.sessions.GetSession(
            GetSessionRequest(access_token=token),
            metadata=correlation.metadata,
            timeout=self._backend.timeout,
        )
        content = {"session": _session_json(response.session), "claims": _claims_json(active)}
        return json_reply(content, request_id=correlation.request_id)


def _claims_json(active: Active) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "user_id": active.user_id,
        "session_id": active.session_id,
        "app_id": active.app_id,
        "scopes": list(active.scopes),
        "roles": list(active.roles),
        "audiences": list(active.audiences),
        "token_id": active.token_id,
        "issued_at": int(active.issued_at.timestamp()),
        "expires_at": int(active.expires_at.timestamp()),
    }
    if active.openid is not None:
        claims["openid"] = active.openid
    if active.previous_user_ids:
        claims["previous_user_ids"] = list(active.previous_user_ids)
    if active.external_id is not None:
        claims["external_id"] = active.external_id
    return claims


def _session_json(session: Session) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "app_id": session.app_id,
        "created_at": session.created_at.seconds,
        "last_refreshed_at": session.last_refreshed_at.seconds,
        "expires_at": session.expires_at.seconds,
        "live": session.live,
    }
    client = session.client
    known = {
        "ip": client.ip,
        "user_agent": client.user_agent,
        "device_id": client.device_id,
        "device_name": client.device_name,
    }
    return answer | {name: value for name, value in known.items() if value}
