"""Login, refresh and logout: JSON in, one call of the contract (two for a logout with both tokens), JSON out."""

from typing import Any

from aiohttp import web

from authapi.v1 import (
    ClientInfo,
    ErrorReason,
    LoginRequest,
    LoginResponse,
    RefreshTokenRequest,
    RevokeRequest,
    RevokeScope,
    SessionEndReason,
    TokenPair,
)
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused, invalid_field
from authsvc.edge.judging import Judge
from authsvc.edge.origin import Origin, user_agent
from authsvc.edge.reading import bearer_token, flag_field, read_object, required_text, text_field
from authsvc.edge.replies import json_reply
from authsvc.edge.settings import EdgeSettings
from authsvc.status import BY_REASON, INTERNAL

_LONGEST_DEVICE = 128
_CODE_MISSING = "缺少code参数"  # pinned by CONTRACT.md: what the tutorials' servers said


class Sessions:
    """The handlers that start, continue and end sessions."""

    def __init__(self, backend: Backend, judge: Judge, settings: EdgeSettings) -> None:
        self._backend = backend
        self._judge = judge
        self._settings = settings
        self._origin = Origin(settings.trusted_proxies)

    async def login(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/v1/login`."""
        content = await read_object(request, self._settings)
        legacy_token = text_field(content, "legacy_token")
        if legacy_token and text_field(content, "code"):
            raise invalid_field("legacy_token", "is sent in the place of a code, not with one")
        code = "" if legacy_token else required_text(content, "code")
        app_id = text_field(content, "app_id") or self._settings.default_app
        if not app_id:
            raise invalid_field("app_id", "is required")
        login = LoginRequest(
            app_id=app_id,
            client=self._client(request, content),
            phone_code=text_field(content, "phone_code"),
        )
        if legacy_token:
            login.legacy_token = legacy_token
        else:
            login.mini_program_code = code
        response = await self._backend.login(login, correlation)
        return json_reply(_login_json(response), request_id=correlation.request_id)

    async def legacy_login(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/login`: the default app, and the shape tutorials taught. A code in the URL is never read."""
        try:
            content = await read_object(request, self._settings)
            code = required_text(content, "code")
        except Refused as refused:
            raise Refused(
                refused.row, http=refused.http, close=refused.close, legacy_text=_CODE_MISSING
            ) from None
        if not self._settings.default_app:
            raise Refused(INTERNAL, cause="the legacy login needs a default app")
        response = await self._backend.login(
            LoginRequest(
                app_id=self._settings.default_app,
                mini_program_code=code,
                client=self._client(request, {}),
            ),
            correlation,
        )
        content = {"openid": response.openid, "token": response.tokens.access_token}
        return json_reply(content, request_id=correlation.request_id)

    async def refresh(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/v1/refresh`. The body's device fields are read as at login; they are optional."""
        content = await read_object(request, self._settings)
        response = await self._backend.auth.RefreshToken(
            RefreshTokenRequest(
                refresh_token=required_text(content, "refresh_token"), client=self._client(request, content)
            ),
            metadata=correlation.metadata,
            timeout=self._backend.timeout,
        )
        answer: dict[str, Any] = {"user_id": response.user_id, "session_id": response.session_id}
        answer |= _token_json(response.tokens)
        if response.previous_user_ids:
            answer["previous_user_ids"] = list(response.previous_user_ids)
        return json_reply(answer, request_id=correlation.request_id)

    async def logout(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/v1/logout`. An expired access token is enough; what is dead already is success."""
        content = await read_object(request, self._settings)
        refresh_token = text_field(content, "refresh_token")
        reach = (
            RevokeScope.REVOKE_SCOPE_ALL if flag_field(content, "all") else RevokeScope.REVOKE_SCOPE_SESSION
        )
        access_token = bearer_token(request)
        requests = []
        if access_token:
            requests.append(RevokeRequest(access_token=access_token, scope=reach, reason=_LOGOUT))
        if refresh_token:
            requests.append(RevokeRequest(refresh_token=refresh_token, scope=reach, reason=_LOGOUT))
        if not requests:
            raise invalid_field(
                "refresh_token", "is required unless the access token is sent as a Bearer token"
            )
        ended = 0
        for revoke in requests:  # one after the other: both usually name one session, which ends once
            response = await self._backend.auth.Revoke(
                revoke, metadata=correlation.metadata, timeout=self._backend.timeout
            )
            ended += response.ended_sessions
            # So that this edge does not let through what it has just ended.
            await self._judge.reach(response.position)
        return json_reply({"ended_sessions": ended}, request_id=correlation.request_id)

    def _client(self, request: web.Request, content: dict[str, Any]) -> ClientInfo:
        return ClientInfo(
            ip=self._origin.client_ip(request),
            user_agent=user_agent(request),
            device_id=text_field(content, "device_id", longest=_LONGEST_DEVICE),
            device_name=text_field(content, "device_name", longest=_LONGEST_DEVICE),
        )


_LOGOUT = SessionEndReason.SESSION_END_REASON_LOGOUT


def _login_json(response: LoginResponse) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "user_id": response.user_id,
        "session_id": response.session_id,
        "openid": response.openid,
    }
    if response.HasField("unionid"):
        answer["unionid"] = response.unionid
    answer |= _token_json(response.tokens)
    answer["is_new_user"] = response.is_new_user
    if response.previous_user_ids:
        answer["previous_user_ids"] = list(response.previous_user_ids)
    if response.HasField("external_id"):
        answer["external_id"] = response.external_id
    if response.HasField("phone_number"):
        answer["phone_number"] = response.phone_number
    if response.phone_error:
        answer["phone_error"] = _reason_name(response.phone_error)
    return answer


def _token_json(tokens: TokenPair) -> dict[str, Any]:
    # Spans, because phones have wrong clocks; rounded down, so that a client is early and never late.
    now = tokens.server_time.ToNanoseconds()
    return {
        "access_token": tokens.access_token,
        "expires_in": max(0, tokens.access_expires_at.ToNanoseconds() - now) // 10**9,
        "refresh_token": tokens.refresh_token,
        "refresh_expires_in": max(0, tokens.refresh_expires_at.ToNanoseconds() - now) // 10**9,
        "server_time": tokens.server_time.seconds,
    }


def _reason_name(reason: int) -> str:
    descriptor = ErrorReason.DESCRIPTOR.values_by_number.get(reason)
    name = descriptor.name.removeprefix("ERROR_REASON_") if descriptor else ""
    return name if name in BY_REASON else "INTERNAL"
