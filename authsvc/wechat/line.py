"""Everything of one app, put together; and what of it survives new settings."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from authsvc.ports import Clock, Entropy, Observer
from authsvc.wechat.access_token import AccessToken, AccessTokens
from authsvc.wechat.api import Api
from authsvc.wechat.api_replies import FetchedToken
from authsvc.wechat.app_secrets import AppSecrets
from authsvc.wechat.background import Background
from authsvc.wechat.errcodes import FaultGroup
from authsvc.wechat.lane import Lane
from authsvc.wechat.login import CodeExchange
from authsvc.wechat.rotation import Rotation
from authsvc.wechat.settings import TokenUrl, WeChatApp
from authsvc.wechat.token_sources import stable_token, token_command, token_server
from authsvc.wechat.verdicts import Verdict
from authsvc.wechat.wire import Wire, alarm

LANES: Final = ("login", "token", "api")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all apps share: none of it remembers anything about an app."""

    wire: Wire
    clock: Clock
    entropy: Entropy
    observer: Observer
    background: Background


class Line:
    """One app's way to WeChat: `login` for codes, `api` for what needs a token."""

    def __init__(self, app: WeChatApp, shared: Surroundings, *, before: Self | None = None) -> None:
        self.app = app
        self.lanes: dict[str, Lane] = {
            name: Lane(app, name, clock=shared.clock, observer=shared.observer)
            if before is None
            else before.lanes[name].renewed(app)
            for name in LANES
        }
        self.secrets: AppSecrets = (
            AppSecrets(app.secret, app.next_secret)
            if before is None
            else before.secrets.renewed(app.secret, app.next_secret)
        )
        rotation = Rotation(
            app.app_id,
            self.secrets,
            ask=stable_token(app, lane=self.lanes["token"], wire=shared.wire),
            observer=shared.observer,
            background=shared.background,
        )
        self.tokens = AccessTokens(
            fetch=_alarmed(app, self._source(rotation, shared), observer=shared.observer),
            clock=shared.clock,
            entropy=shared.entropy,
            background=shared.background,
            held=None if before is None else before.token_for(app),
        )
        self.login = CodeExchange(
            app, lane=self.lanes["login"], wire=shared.wire, rotation=rotation, observer=shared.observer
        )
        self.api = Api(
            app,
            lane=self.lanes["api"],
            wire=shared.wire,
            tokens=None if app.cloud else self.tokens,
            observer=shared.observer,
        )

    def _source(
        self, rotation: Rotation, shared: Surroundings
    ) -> Callable[[], Awaitable[Verdict[FetchedToken]]]:
        source = self.app.token_source
        if source is None:
            return rotation.fetch
        if isinstance(source, TokenUrl):
            return token_server(self.app, source, lane=self.lanes["token"], wire=shared.wire)
        return token_command(source, lane=self.lanes["token"])

    def token_for(self, app: WeChatApp) -> AccessToken | None:
        """Return the token that is kept, if it is as good under the new settings: same origin, same credentials."""
        same_origin = (self.app.urls, self.app.token_source) == (app.urls, app.token_source)
        known = self.secrets.active.text in (app.secret, app.next_secret)
        return self.tokens.held if same_origin and known else None


def _alarmed(
    app: WeChatApp, fetch: Callable[[], Awaitable[Verdict[FetchedToken]]], *, observer: Observer
) -> Callable[[], Awaitable[Verdict[FetchedToken]]]:
    """Return *fetch*, telling operators once per fetch, not once per caller, that our configuration is refused."""

    async def alarmed() -> Verdict[FetchedToken]:
        verdict = await fetch()
        if verdict.outcome == FaultGroup.CONFIGURATION.value:
            alarm(observer, app, endpoint="stable_token", errcode=verdict.errcode)
        return verdict

    return alarmed
