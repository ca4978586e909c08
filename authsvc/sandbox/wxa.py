"""
The endpoints under ``/wxa`` that take an access_token: phone number, session-key check and reset, plug-in id,
unionid after a payment.

What they answer is judged in ``people``; what the token is worth, in ``tokens`` or ``cloud``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

from authsvc.sandbox.cloud import Cloud
from authsvc.sandbox.endpoints import API, Answer, Call, Family, Subject, text_of
from authsvc.sandbox.outcomes import Refusal
from authsvc.sandbox.people import People, SessionCheck
from authsvc.sandbox.world import World

_OK: Final[Mapping[str, object]] = {"errcode": 0, "errmsg": "ok"}


class WithToken(ABC):
    """
    An endpoint that first judges the access_token.
    """

    path: ClassVar[str]
    family: ClassVar[Family] = API
    method: ClassVar[str]

    def __init__(self, *, world: World, people: People, cloud: Cloud) -> None:
        self._world = world
        self._people = people
        self._cloud = cloud

    def subject(self, call: Call) -> Subject:
        """See Endpoint.subject."""
        app_id = self._world.tokens.owner(call.query.get("access_token")) or self._cloud.app_id
        return Subject(app_id, text_of((call.json() or {}).get("code")))

    def answer(self, call: Call, *, now: datetime) -> Answer:
        """See Endpoint.answer."""
        if call.method != self.method:
            return Refusal(43001 if self.method == "GET" else 43002)
        app_id = self._cloud.judge(call.query, secure=call.secure, now=now)
        if app_id is None:
            app_id = self._world.tokens.judge(call.query.get("access_token"), now=now)
        return app_id if isinstance(app_id, Refusal) else self.serve(app_id, call, now)

    @abstractmethod
    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """
        The answer to a call of this app.
        """


class PhoneNumber(WithToken):
    """
    ``POST /wxa/business/getuserphonenumber`` (facts/wechat-api.md section 3.1).
    """

    path = "/wxa/business/getuserphonenumber"
    method = "POST"

    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """See WithToken.serve."""
        fields = call.json()
        if fields is None:
            return Refusal(47001)
        found = self._people.phone_number(
            app_id, code=fields.get("code"), openid=fields.get("openid"), now=now
        )
        if isinstance(found, Refusal):
            return found
        number = self._world.switches.country_code_as_number
        return {
            **_OK,
            "phone_info": {
                "phoneNumber": found.full,
                "purePhoneNumber": found.pure,
                "countryCode": int(found.country) if number else found.country,
                "watermark": {"timestamp": int(now.timestamp()), "appid": app_id},
            },
        }


class CheckSession(WithToken):
    """
    ``GET /wxa/checksession`` (facts/wechat-api.md section 3.2).
    """

    path = "/wxa/checksession"
    method = "GET"

    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """See WithToken.serve."""
        return self._people.check_session(app_id, check=_check(call), now=now) or _OK


class ResetSession(WithToken):
    """
    ``GET /wxa/resetusersessionkey`` (facts/wechat-api.md section 3.3).
    """

    path = "/wxa/resetusersessionkey"
    method = "GET"

    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """See WithToken.serve."""
        fresh = self._people.reset_session(app_id, check=_check(call), now=now)
        if isinstance(fresh, Refusal):
            return fresh
        return {**_OK, "openid": call.query["openid"], "session_key": fresh}


class PluginOpenPid(WithToken):
    """
    ``POST /wxa/getpluginopenpid`` (facts/wechat-api.md section 3.4).
    """

    path = "/wxa/getpluginopenpid"
    method = "POST"

    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """See WithToken.serve."""
        fields = call.json()
        if fields is None:
            return Refusal(1022)
        openpid = self._people.openpid(app_id, code=fields.get("code"), now=now)
        return openpid if isinstance(openpid, Refusal) else {**_OK, "openpid": openpid}


class PaidUnionid(WithToken):
    """
    ``GET /wxa/getpaidunionid`` (facts/wechat-api.md section 3.5).
    """

    path = "/wxa/getpaidunionid"
    method = "GET"

    def serve(self, app_id: str, call: Call, now: datetime) -> Answer:
        """See WithToken.serve."""
        unionid = self._people.paid_unionid(
            app_id,
            openid=call.query.get("openid"),
            transaction_id=call.query.get("transaction_id"),
            order=(call.query.get("mch_id"), call.query.get("out_trade_no")),
            now=now,
        )
        return unionid if isinstance(unionid, Refusal) else {"unionid": unionid, **_OK}


ENDPOINTS: Final[tuple[type[WithToken], ...]] = (
    PhoneNumber,
    CheckSession,
    ResetSession,
    PluginOpenPid,
    PaidUnionid,
)


def _check(call: Call) -> SessionCheck:
    return SessionCheck(
        openid=call.query.get("openid"),
        signature=call.query.get("signature"),
        sig_method=call.query.get("sig_method"),
    )
