"""
`ports.WeChat` over HTTP: which apps there are, and their beginning and end.

What is not here: an app's own state (`line`), the exchange of codes (`login`), the calls with a token (`api`).
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from authsvc.domain.errors import UnknownApp
from authsvc.ports import Clock, CodeSession, Entropy, NewSessionKey, Observer, PhoneNumber
from authsvc.wechat.background import Background
from authsvc.wechat.line import Line, Surroundings
from authsvc.wechat.settings import WeChatApp, WeChatSettings
from authsvc.wechat.wire import Wire


class WeChatClient:
    """
    Implements ports.WeChat.

    Use it as an async context manager, or call `start` and `close`.
    """

    def __init__(
        self,
        *,
        apps: Mapping[str, WeChatApp],
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        settings: WeChatSettings,
    ) -> None:
        self._wire = Wire(observer=observer, settings=settings)
        self._background = Background()
        self._shared = Surroundings(
            wire=self._wire, clock=clock, entropy=entropy, observer=observer, background=self._background
        )
        self._lines = {app_id: Line(app, self._shared) for app_id, app in apps.items()}

    async def start(self) -> None:
        """Make the client ready; nothing is sent. Starting twice is once."""
        self._wire.open()

    async def close(self) -> None:
        """Close it. An exchange still in flight ends as spent. Closing twice is once."""
        await self._background.close()
        await self._wire.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def reconfigure(self, apps: Mapping[str, WeChatApp]) -> None:
        """
        Serve *apps* from now on, in place of those before; calls under way end as they began.

        An unchanged app keeps everything: token, breaker, slots, and which of its secrets is in use. A changed one
        keeps what its new settings leave valid: slots and breaker where limits and addresses are the same, the
        secret in use where both secrets are the same, the token where address and source are the same and the
        secret in use is one of the new ones.
        """
        lines: dict[str, Line] = {}
        for app_id, app in apps.items():
            before = self._lines.get(app_id)
            same = before is not None and before.app == app
            lines[app_id] = before if same and before is not None else Line(app, self._shared, before=before)
        self._lines = lines

    async def code_to_session(self, *, app_id: str, code: str) -> CodeSession:
        """
        See ports.WeChat.code_to_session.

        A caller that is cancelled has to treat the code as spent.

        Raises:
            UnknownApp: no such app is configured here; nothing was sent.
            UnknownErrcode: a verdict we don't know; the code is spent.

        """
        return await self._line(app_id).login.code_to_session(code)

    async def phone_number(self, *, app_id: str, openid: str, code: str) -> PhoneNumber:
        """See ports.WeChat.phone_number."""
        return await self._line(app_id).api.phone_number(openid=openid, code=code)

    async def check_session_key(self, *, app_id: str, openid: str, session_key: str) -> bool:
        """See ports.WeChat.check_session_key."""
        return await self._line(app_id).api.check_session_key(openid=openid, session_key=session_key)

    async def reset_session_key(self, *, app_id: str, openid: str, session_key: str) -> NewSessionKey:
        """See ports.WeChat.reset_session_key."""
        return await self._line(app_id).api.reset_session_key(openid=openid, session_key=session_key)

    def _line(self, app_id: str) -> Line:
        line = self._lines.get(app_id)
        if line is None:
            raise UnknownApp
        if not self._wire.is_open:
            raise RuntimeError("the WeChat client is not started")
        return line
