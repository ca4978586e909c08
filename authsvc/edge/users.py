"""What WeChat knows of the caller (phone number, encrypted data), and the caller's wish to be forgotten."""

import orjson
from aiohttp import web

from authapi.v1 import CodeSubject, DecryptUserDataRequest, EraseUserRequest, GetPhoneNumberRequest
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import invalid_field, token_invalid
from authsvc.edge.reading import bearer_token, read_object, required_text, text_field
from authsvc.edge.replies import json_reply
from authsvc.edge.settings import EdgeSettings


class Users:
    """The handlers that act for the user of the Bearer token, and for nobody else."""

    def __init__(self, backend: Backend, settings: EdgeSettings) -> None:
        self._backend = backend
        self._settings = settings

    async def phone(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/v1/phone`."""
        token = _token(request)
        content = await read_object(request, self._settings)
        response = await self._backend.wechat.GetPhoneNumber(
            GetPhoneNumberRequest(access_token=token, code=required_text(content, "code")),
            metadata=correlation.metadata,
            timeout=self._settings.login_deadline.total_seconds(),  # WeChat is behind it
        )
        answer = {
            "phone_number": response.phone_number,
            "pure_phone_number": response.pure_phone_number,
            "country_code": response.country_code,
            "bound": response.bound,
        }
        return json_reply(answer, request_id=correlation.request_id)

    async def decrypt(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`POST /api/v1/user-data/decrypt`: the object exactly as WeChat wrote it; nothing is parsed and written anew."""
        token = _token(request)
        content = await read_object(request, self._settings)
        response = await self._backend.wechat.DecryptUserData(
            DecryptUserDataRequest(
                access_token=token,
                encrypted_data=required_text(content, "encrypted_data"),
                iv=required_text(content, "iv"),
            ),
            metadata=correlation.metadata,
            timeout=self._backend.timeout,
        )
        answer: dict[str, object] = {"user_data": orjson.Fragment(response.user_data_json)}
        if response.HasField("encrypted_at"):
            answer["encrypted_at"] = response.encrypted_at.seconds
        return json_reply(answer, request_id=correlation.request_id)

    async def erase(self, request: web.Request, correlation: Correlation) -> web.Response:
        """`DELETE /api/v1/account`: a fresh login code says who it is, so that a stolen token erases nobody."""
        content = await read_object(request, self._settings)
        code = required_text(content, "code")
        app_id = text_field(content, "app_id") or self._settings.default_app
        if not app_id:
            raise invalid_field("app_id", "is required")
        response = await self._backend.erase(
            EraseUserRequest(code=CodeSubject(app_id=app_id, code=code)), correlation
        )
        return json_reply({"ended_sessions": response.ended_sessions}, request_id=correlation.request_id)


def _token(request: web.Request) -> str:
    """Return the Bearer token; without one nothing is read, let alone asked."""
    token = bearer_token(request)
    if not token:
        raise token_invalid(presented="Authorization" in request.headers)
    return token
