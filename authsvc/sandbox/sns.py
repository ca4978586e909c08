"""
``/sns/jscode2session``: a login code in, openid and session_key out.

The rules of the exchange are in ``world``.
"""

from datetime import datetime
from typing import Final

from authsvc.sandbox.endpoints import SNS, Answer, Call, Subject
from authsvc.sandbox.outcomes import Refusal
from authsvc.sandbox.world import World

PATH: Final = "/sns/jscode2session"


class CodeToSession:
    """
    ``GET /sns/jscode2session`` (facts/wechat-api.md section 1).
    """

    path = PATH
    family = SNS

    def __init__(self, world: World) -> None:
        self._world = world

    def subject(self, call: Call) -> Subject:
        """See Endpoint.subject."""
        return Subject(call.query.get("appid"), call.query.get("js_code"))

    def answer(self, call: Call, *, now: datetime) -> Answer:
        """See Endpoint.answer."""
        if call.method != "GET":
            # A wrong verb is reported to answer as if no parameter had come (facts section 1.1).
            return Refusal(41002)
        outcome = self._world.exchange(
            app_id=call.query.get("appid"),
            secret=call.query.get("secret"),
            grant_type=call.query.get("grant_type"),
            code=call.query.get("js_code"),
            now=now,
        )
        if isinstance(outcome, Refusal):
            return outcome
        fields: dict[str, object] = {"session_key": outcome.session_key, "openid": outcome.openid}
        if outcome.unionid is not None:
            fields["unionid"] = outcome.unionid
        return fields
