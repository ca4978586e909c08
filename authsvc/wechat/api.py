"""
The calls that need an access_token: phone number, session checks (facts page 3.1 to 3.3).

A refused token is fetched again once and the call repeated once; a call that changes nothing is repeated once after
a transient fault. Nothing else is ever sent twice.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from authsvc.domain.errors import PhoneCodeInvalid, SessionKeyStale, WeChatUnavailable
from authsvc.ports import NewSessionKey, Observer, PhoneNumber
from authsvc.wechat.access_token import AccessToken, AccessTokens
from authsvc.wechat.api_replies import new_key_reader, phone_reader, read_confirmation
from authsvc.wechat.errcodes import PHONE_MEANINGS, SESSION_MEANINGS, FaultGroup
from authsvc.wechat.exchange import Outgoing
from authsvc.wechat.lane import Lane
from authsvc.wechat.settings import WeChatApp
from authsvc.wechat.verdicts import Verdict, deadline
from authsvc.wechat.wire import Request, Wire, alarm

T = TypeVar("T")
Params = Mapping[str, str]
# 64 hex digits in practice (facts page 1.1); far beyond that it is no code.
_LONGEST_CODE: Final = 512


class Api:
    """One app's calls with an access_token; `tokens` is None where a side-car adds it (facts page 6.2)."""

    def __init__(
        self, app: WeChatApp, *, lane: Lane, wire: Wire, tokens: AccessTokens | None, observer: Observer
    ) -> None:
        self._app = app
        self._lane = lane
        self._wire = wire
        self._tokens = tokens
        self._observer = observer

    async def phone_number(self, *, openid: str, code: str) -> PhoneNumber:
        """See ports.WeChat.phone_number."""
        if not 0 < len(code) <= _LONGEST_CODE or not is_text(code):
            raise PhoneCodeInvalid("not a text that could be sent")

        def request(token: Params) -> Request[PhoneNumber]:
            return Request(
                endpoint="getuserphonenumber",
                urls=self._app.endpoint("/wxa/business/getuserphonenumber"),
                outgoing=Outgoing(params=token, body={"code": code, "openid": openid}),
                meanings=PHONE_MEANINGS,
                read=phone_reader(self._app.app_id),
                lost=_lost_phone,
                # The number for another user's code is not published (facts page 3.1): what nobody knows is that.
                unknown=lambda _app_id, errcode: PhoneCodeInvalid(f"errcode {errcode}"),
            )

        return await self._call(request, repeatable=False)

    async def check_session_key(self, *, openid: str, session_key: str) -> bool:
        """See ports.WeChat.check_session_key."""

        def request(token: Params) -> Request[bool]:
            return Request(
                endpoint="checksession",
                urls=self._app.endpoint("/wxa/checksession"),
                outgoing=Outgoing(params={**token, **_signed(openid, session_key)}),
                meanings=SESSION_MEANINGS,
                read=read_confirmation,
            )

        try:
            return await self._call(request, repeatable=True)
        except SessionKeyStale:
            return False

    async def reset_session_key(self, *, openid: str, session_key: str) -> NewSessionKey:
        """See ports.WeChat.reset_session_key."""

        def request(token: Params) -> Request[NewSessionKey]:
            return Request(
                endpoint="resetusersessionkey",
                urls=self._app.endpoint("/wxa/resetusersessionkey"),
                outgoing=Outgoing(params={**token, **_signed(openid, session_key)}),
                meanings=SESSION_MEANINGS,
                read=new_key_reader(openid),
            )

        return await self._call(request, repeatable=False)

    async def _call(self, request: Callable[[Params], Request[T]], *, repeatable: bool) -> T:
        until = deadline(self._app.deadline)
        token, verdict = await self._once(request, until=until)
        refreshed = repeated = False
        while True:
            if token is not None and verdict.outcome == FaultGroup.TOKEN.value and not refreshed:
                refreshed = True
                assert self._tokens is not None, "a token came from somewhere"
                self._tokens.expire(token)
            elif repeatable and verdict.healthy is False and not repeated:
                repeated = True
            else:
                break
            token, verdict = await self._once(request, until=until)
        if verdict.outcome in (FaultGroup.CONFIGURATION.value, FaultGroup.TOKEN.value):
            alarm(self._observer, self._app, endpoint=request({}).endpoint, errcode=verdict.errcode)
        return verdict.unwrap()

    async def _once(
        self, request: Callable[[Params], Request[T]], *, until: float
    ) -> tuple[AccessToken | None, Verdict[T]]:
        token = None if self._tokens is None else await self._tokens.get(until=until)
        made = request({} if token is None else {"access_token": token.text})
        return token, await self._lane.run(made.endpoint, self._wire.attempt(self._app, made), until=until)


def is_text(text: str) -> bool:
    """Tell whether it can be put on a wire: a lone surrogate can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def sign(session_key: str, message: bytes = b"") -> str:
    """Return the login-state signature: the key is the session_key's text, not what it decodes to (facts page 3.7)."""
    return hmac.new(session_key.encode(), message, hashlib.sha256).hexdigest()


def _signed(openid: str, session_key: str) -> dict[str, str]:
    return {"openid": openid, "signature": sign(session_key), "sig_method": "hmac_sha256"}


def _lost_phone(fault: str) -> Exception:
    if fault == "foreign_watermark":
        return PhoneCodeInvalid("answered with another app's watermark")
    return WeChatUnavailable(f"sent, then: {fault}")
