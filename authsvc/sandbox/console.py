"""
The control API's part about apps: what an administrator does in WeChat's console, and what befalls access tokens.
"""

from aiohttp import web

from authsvc.sandbox import asking
from authsvc.sandbox.apps import FAKE_SECRET_PREFIX
from authsvc.sandbox.outcomes import BadInput
from authsvc.sandbox.parts import PREFIX, Parts


class Console:
    """
    The handlers of this part.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """
        Every route of this part.
        """
        return [
            web.get(PREFIX + "/apps", self.list_apps),
            web.put(PREFIX + "/apps/{app_id}", self.change_app),
            web.post(PREFIX + "/apps/{app_id}/secret", self.change_secret),
            web.post(PREFIX + "/apps/{app_id}/revoke-tokens", self.revoke_tokens),
            web.get(PREFIX + "/cloud", self.show_cloud),
            web.put(PREFIX + "/cloud", self.switch_cloud),
            web.post(PREFIX + "/cloud/token", self.issue_cloud_token),
            web.get(PREFIX + "/cloud/headers", self.tell_cloud_headers),
        ]

    async def list_apps(self, _request: web.Request) -> web.Response:
        """
        The apps, without their secrets.
        """
        return web.json_response({"apps": [self._app(app.app_id) for app in self._parts.world.apps]})

    async def change_app(self, request: web.Request) -> web.Response:
        """
        ``open_platform`` binds the app (null: unbinds), ``frozen`` freezes its secret, ``tokens_stuck`` refuses all its
        tokens with 40001, ``token_length`` is the length of its next tokens.
        """
        app_id, world = request.match_info["app_id"], self._parts.world
        world.book.require(app_id)
        body = await asking.fields(request, "open_platform", "frozen", "tokens_stuck", "token_length")
        # Judged before anything changes, so that a bad request changes nothing.
        flags = {name: asking.flag(body, name) for name in ("frozen", "tokens_stuck") if name in body}
        account = asking.optional_text(body, "open_platform")
        if "token_length" in body:
            world.tokens.set_length(app_id, asking.whole(body, "token_length"))
        if "open_platform" in body:
            world.book.bind(app_id, account)
        if "frozen" in flags:
            world.book.freeze(app_id, frozen=flags["frozen"])
        if "tokens_stuck" in flags:
            world.tokens.set_stuck(app_id, stuck=flags["tokens_stuck"])
        return web.json_response(self._app(app_id))

    async def change_secret(self, request: web.Request) -> web.Response:
        """
        Resets the app's secret to ``secret``, or to a new one; the old one is refused with 40125 at once.
        The answer is the only place that tells it.
        """
        app_id, world = request.match_info["app_id"], self._parts.world
        world.book.require(app_id)
        body = await asking.fields(request, "secret", required=False)
        secret = asking.optional_text(body, "secret")
        if secret is None:
            missing = 32 - len(FAKE_SECRET_PREFIX)
            secret = FAKE_SECRET_PREFIX + world.dice.text(missing, letters="0123456789abcdef")
        world.book.change_secret(app_id, secret)
        self._parts.arrivals.hide(secret)
        return web.json_response({"app_id": app_id, "secret": secret})

    async def revoke_tokens(self, request: web.Request) -> web.Response:
        """
        Every live access token of the app is refused with 40001 from now on; fetching gives a good one.
        """
        app_id = request.match_info["app_id"]
        self._parts.world.book.require(app_id)
        return web.json_response(
            {"revoked": self._parts.world.tokens.revoke(app_id, now=self._parts.clock.now())}
        )

    async def show_cloud(self, _request: web.Request) -> web.Response:
        """
        Whether cloud mode is on, and for which app.
        """
        return web.json_response({"app_id": self._parts.cloud.app_id})

    async def switch_cloud(self, request: web.Request) -> web.Response:
        """
        ``{"app_id": "..."}``: calls without a token are answered as that app's container; null ends it.
        """
        body = await asking.fields(request, "app_id")
        self._parts.cloud.switch(asking.optional_text(body, "app_id"))
        return await self.show_cloud(request)

    async def issue_cloud_token(self, _request: web.Request) -> web.Response:
        """
        A cloudbase_access_token for the app of cloud mode.
        """
        return web.json_response(
            {"cloudbase_access_token": self._parts.cloud.issue(now=self._parts.clock.now())}
        )

    async def tell_cloud_headers(self, request: web.Request) -> web.Response:
        """
        The ``X-WX-*`` headers of a call of ``?user=`` to the container of ``?app_id=``; ``?shared_from=`` is the calling
        app under resource sharing, ``?source=`` replaces wx_client, ``?public=1`` shows that the public domain adds none.
        """
        query = request.query
        if "app_id" not in query or "user" not in query:
            raise BadInput("app_id and user are needed")
        if query.get("public") == "1":
            return web.json_response({"headers": {}})
        headers = self._parts.cloud.headers(
            query["app_id"],
            user=query["user"],
            source=query.get("source", "wx_client"),
            shared_from=query.get("shared_from"),
        )
        return web.json_response({"headers": headers})

    def _app(self, app_id: str) -> dict[str, object]:
        world = self._parts.world
        return {
            "app_id": app_id,
            "open_platform": world.book.require(app_id).open_platform,
            "frozen": world.book.is_frozen(app_id),
            "tokens_stuck": world.tokens.is_stuck(app_id),
            "token_length": world.tokens.length(app_id),
        }
