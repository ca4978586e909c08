"""
WeChat cloud hosting, as far as a simulator can play it (facts/wechat-api.md section 6).

Two things are seen from a container there: the headers its gateway puts on calls from mini-programs, and an open
interface service that lets it call WeChat over plain HTTP without an access_token. The sandbox opens no
connection, so it tells the headers and whoever tests a container sends them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.dice import URL_SAFE
from authsvc.sandbox.outcomes import BadInput, Refusal
from authsvc.sandbox.world import World

SEQID_HEADER: Final = "x-openapi-seqid"
CLOUD_TOKEN_LIFETIME: Final = timedelta(minutes=30)
ENVIRONMENT: Final = "prod-0sandbox0000000"


class Cloud:
    """
    The open interface service, off until an app is named for it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._app_id: str | None = None
        self._tokens: dict[str, tuple[str, datetime]] = {}

    @property
    def app_id(self) -> str | None:
        """
        The app whose container makes the calls; None while cloud mode is off.
        """
        return self._app_id

    def switch(self, app_id: str | None) -> None:
        """
        Calls without a token are this app's; None refuses them as outside the cloud.

        Raises:
            UnknownApp: no such app.
        """
        if app_id is not None:
            self._world.book.require(app_id)
        self._app_id = app_id

    def issue(self, *, now: datetime) -> str:
        """
        A cloudbase_access_token of the cloud's app, as pushed into a container's file; valid 30 minutes.

        Raises:
            BadInput: cloud mode is off.
        """
        if self._app_id is None:
            raise BadInput("cloud mode is off")
        self._tokens = {text: kept for text, kept in self._tokens.items() if now < kept[1]}
        # In an access_token's shape, so that using it as one is 40001 and not 40014.
        token = "70_" + self._world.dice.text(177, letters=URL_SAFE)
        self._tokens[token] = (self._app_id, now + CLOUD_TOKEN_LIFETIME)
        return token

    def judge(self, query: Mapping[str, str], *, secure: bool, now: datetime) -> str | Refusal | None:
        """
        The app a call in the cloud's manner stands for, or what is wrong with it; None if it is in no
        such manner.
        """
        token = query.get("cloudbase_access_token")
        if token is not None:
            app_id, expires_at = self._tokens.get(token, ("", now))
            if now < expires_at:
                return app_id
            return Refusal(40001 if not app_id else 42001)
        # The side-car listens on plain HTTP only.
        return self._app_id if "access_token" not in query and not secure else None

    def marks(self, path: str, query: Mapping[str, str], *, secure: bool) -> dict[str, str]:
        """
        The reply headers that prove the open interface service's route; none for any other call.
        """
        served = path.startswith("/wxa/") and self._app_id is not None and not secure
        if not served or "access_token" in query:
            return {}
        return {SEQID_HEADER: self._world.dice.text(32)}

    def headers(
        self,
        app_id: str,
        *,
        user: str,
        source: str = "wx_client",
        shared_from: str | None = None,
    ) -> dict[str, str]:
        """
        What the gateway adds to a ``callContainer`` call of this user; under resource sharing the
        calling app is ``shared_from`` and the user is named by its FROM headers only. A call over the
        public domain gets none of them.

        Raises:
            UnknownApp, BadInput: as ``World.identity``.
        """
        prefix = "X-WX-" if shared_from is None else "X-WX-FROM-"
        caller = shared_from or app_id
        identity = self._world.meet(caller, user=user)
        self._world.book.require(app_id)
        headers = {
            "X-WX-APPID": app_id,
            "X-WX-ENV": ENVIRONMENT,
            "X-WX-SOURCE": source,
            prefix + "APPID": caller,
            prefix + "OPENID": identity.openid,
            "X-Original-Forwarded-For": "203.0.113.7",
        }
        if identity.unionid is not None:
            headers[prefix + "UNIONID"] = identity.unionid
        return headers
