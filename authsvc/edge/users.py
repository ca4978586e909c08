"""What WeChat knows of the caller: the phone number behind a button's code, and what was encrypted for the app."""

import orjson
from aiohttp import web

from authapi.v1 import DecryptUserDataRequest, GetPhoneNumberRequest
from authsvc.edge.backend import Backend
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import token_invalid
from authsvc.edge.reading import bearer_token, read_object, required_text
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


def _token(request: web.Request) -> str:
    """Return the Bearer token; without one nothing is read, let alone asked."""
    token = bearer_token(request)
    if not token:
        raise token_invalid(presented="Authorization" in request.headers)
    return token
