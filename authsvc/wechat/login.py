"""The exchange of a login code (facts page 1): no access_token, one send, and which of two secrets it carries."""

from authsvc.domain.errors import LoginCodeInvalid, LoginCodeSpent
from authsvc.ports import CodeSession, Observer
from authsvc.wechat.api import is_text
from authsvc.wechat.errcodes import INVALID_SECRET, MEANINGS, FaultGroup
from authsvc.wechat.exchange import Outgoing
from authsvc.wechat.lane import Lane
from authsvc.wechat.replies import read_session
from authsvc.wechat.rotation import Rotation
from authsvc.wechat.settings import WeChatApp
from authsvc.wechat.verdicts import deadline
from authsvc.wechat.wire import Request, Wire, alarm

# WeChat looks at the secret before it looks at the code: these answers prove the secret.
_SECRET_WAS_GOOD = frozenset({"ok", FaultGroup.CLIENT.value, FaultGroup.USER.value})


class CodeExchange:
    """One app's logins."""

    def __init__(
        self, app: WeChatApp, *, lane: Lane, wire: Wire, rotation: Rotation, observer: Observer
    ) -> None:
        self._app = app
        self._lane = lane
        self._wire = wire
        self._rotation = rotation
        self._observer = observer

    async def code_to_session(self, code: str) -> CodeSession:
        """See ports.WeChat.code_to_session."""
        if not is_text(code):
            raise LoginCodeInvalid("not a text that could be sent")
        until = deadline(self._app.deadline)
        secret = self._rotation.secrets.active
        request = Request(
            endpoint="jscode2session",
            urls=self._app.endpoint("/sns/jscode2session"),
            outgoing=Outgoing(
                params={
                    "appid": self._app.app_id,
                    "secret": secret.text,
                    "js_code": code,
                    "grant_type": "authorization_code",
                }
            ),
            meanings=MEANINGS,
            read=read_session,
            lost=lambda fault: LoginCodeSpent(f"sent, then: {fault}"),
            lost_group=FaultGroup.TRANSIENT,
        )
        verdict = await self._lane.run(request.endpoint, self._wire.attempt(self._app, request), until=until)
        if verdict.outcome in _SECRET_WAS_GOOD:
            self._rotation.accepted(secret, because="login")
        error = None
        if verdict.errcode == INVALID_SECRET:
            error = await self._rotation.after_refusal(secret, until=until)
        if verdict.outcome == FaultGroup.CONFIGURATION.value and not isinstance(error, LoginCodeSpent):
            alarm(self._observer, self._app, endpoint=request.endpoint, errcode=verdict.errcode)
        if error is not None:
            raise error
        return verdict.unwrap()
