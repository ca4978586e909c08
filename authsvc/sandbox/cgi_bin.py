"""
``/cgi-bin/token`` and ``/cgi-bin/stable_token``: credentials in, access token out.

How long tokens live and how many there are is judged in ``tokens``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from authsvc.sandbox.endpoints import API, Answer, Call, Subject, text_of
from authsvc.sandbox.outcomes import Refusal
from authsvc.sandbox.tokens import Grant
from authsvc.sandbox.world import World

_GRANT_TYPE: Final = "client_credential"


class Token:
    """
    ``GET /cgi-bin/token`` (facts/wechat-api.md section 2.1).
    """

    path = "/cgi-bin/token"
    family = API

    def __init__(self, world: World) -> None:
        self._world = world

    def subject(self, call: Call) -> Subject:
        """See Endpoint.subject."""
        return Subject(call.query.get("appid"))

    def answer(self, call: Call, *, now: datetime) -> Answer:
        """See Endpoint.answer."""
        if call.method != "GET":
            return Refusal(43001)
        app_id = call.query.get("appid")
        refused = _judge(self._world, app_id, call.query.get("secret"), call.query.get("grant_type"))
        if refused is not None:
            return refused
        return _fields(self._world.tokens.ordinary(app_id or "", now=now))


class StableToken:
    """
    ``POST /cgi-bin/stable_token`` with a JSON body; fields sent in any other way count as missing
    (facts/wechat-api.md section 2.2).
    """

    path = "/cgi-bin/stable_token"
    family = API

    def __init__(self, world: World) -> None:
        self._world = world

    def subject(self, call: Call) -> Subject:
        """See Endpoint.subject."""
        return Subject(text_of((call.json() or {}).get("appid")))

    def answer(self, call: Call, *, now: datetime) -> Answer:
        """See Endpoint.answer."""
        if call.method != "POST":
            return Refusal(43002)
        fields = call.json() or {}
        app_id, secret = text_of(fields.get("appid")), text_of(fields.get("secret"))
        refused = _judge(self._world, app_id, secret, fields.get("grant_type"))
        if refused is not None:
            return refused
        force = fields.get("force_refresh") is True
        return _fields(self._world.tokens.stable(app_id or "", force=force, now=now))


def _judge(world: World, app_id: str | None, secret: str | None, grant_type: object) -> Refusal | None:
    errcode = world.book.judge(app_id, secret)
    if errcode is None and grant_type != _GRANT_TYPE:
        errcode = 40002
    return None if errcode is None else Refusal(errcode)


def _fields(outcome: Grant | Refusal) -> Mapping[str, object] | Refusal:
    if isinstance(outcome, Refusal):
        return outcome
    return {"access_token": outcome.access_token, "expires_in": outcome.expires_in}
