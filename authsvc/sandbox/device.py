"""
The control API's part about users: what happens on their devices (codes, payments, encrypted data) and what is
known of them.
"""

from dataclasses import asdict
from typing import Final

from aiohttp import web

from authsvc.sandbox import asking
from authsvc.sandbox.faults import Fault
from authsvc.sandbox.outcomes import BadInput
from authsvc.sandbox.parts import PREFIX, Parts
from authsvc.sandbox.user_data import KINDS, Kind, make_user_data

_USER: Final = PREFIX + "/users/{app_id}/{user}"


class Device:
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
            web.post(PREFIX + "/codes", self.mint_code),
            web.post(PREFIX + "/phone-codes", self.mint_phone_code),
            web.post(PREFIX + "/plugin-codes", self.mint_plugin_code),
            web.post(PREFIX + "/payments", self.pay),
            web.post(PREFIX + "/user-data", self.encrypt),
            web.get(_USER, self.show_user),
            web.put(_USER, self.change_user),
            web.post(_USER + "/session-key", self.change_session_key),
        ]

    async def mint_code(self, request: web.Request) -> web.Response:
        """
        A login code for ``app_id`` and ``user``; optionally with its text (``code``) and a ``fault`` that
        strikes its first ``fault_times`` requests (1 unless given, null: all).
        """
        body = await asking.fields(request, "app_id", "user", "code", "fault", "fault_times")
        app_id, user = asking.text(body, "app_id"), asking.text(body, "user")
        wanted, fault = asking.optional_text(body, "code"), _fault(body)
        times = asking.times(body, "fault_times", default=1)
        code = self._parts.world.mint(app_id, user=user, now=self._parts.clock.now(), code=wanted)
        return self._minted(code, fault, times)

    async def mint_phone_code(self, request: web.Request) -> web.Response:
        """
        The same for a phone code; ``phone`` and ``country_code`` set the user's number first.
        """
        body = await asking.fields(
            request, "app_id", "user", "code", "fault", "fault_times", "phone", "country_code"
        )
        app_id, user = asking.text(body, "app_id"), asking.text(body, "user")
        wanted, fault = asking.optional_text(body, "code"), _fault(body)
        times = asking.times(body, "fault_times", default=1)
        self._parts.world.identity(app_id, user=user)
        self._set_phone(body, user)
        code = self._parts.people.mint_phone(app_id, user=user, now=self._parts.clock.now(), code=wanted)
        return self._minted(code, fault, times)

    async def mint_plugin_code(self, request: web.Request) -> web.Response:
        """
        A code of ``wx.pluginLogin`` in ``app_id`` for the plug-in ``plugin_app_id``.
        """
        body = await asking.fields(request, "app_id", "user", "plugin_app_id")
        code = self._parts.people.mint_plugin(
            asking.text(body, "app_id"),
            user=asking.text(body, "user"),
            plugin=asking.text(body, "plugin_app_id"),
            now=self._parts.clock.now(),
        )
        return web.json_response({"code": code})

    async def pay(self, request: web.Request) -> web.Response:
        """
        ``user`` has paid in ``app_id``: the numbers getpaidunionid takes.
        """
        body = await asking.fields(request, "app_id", "user")
        payment = self._parts.people.pay(
            asking.text(body, "app_id"), user=asking.text(body, "user"), now=self._parts.clock.now()
        )
        return web.json_response(asdict(payment))

    async def encrypt(self, request: web.Request) -> web.Response:
        """
        encryptedData, iv, rawData and signature of ``user``; ``kind`` is user, phone or run, ``variant`` one of those
        the index lists, ``extra`` adds fields.
        """
        body = await asking.fields(request, "app_id", "user", "kind", "variant", "extra")
        extra = body.get("extra")
        if extra is not None and not isinstance(extra, dict):
            raise BadInput("extra must be an object")
        data = make_user_data(
            self._parts.world,
            asking.text(body, "app_id"),
            user=asking.text(body, "user"),
            now=self._parts.clock.now(),
            kind=_kind(asking.optional_text(body, "kind") or "user"),
            variant=asking.optional_text(body, "variant") or "faithful",
            extra=extra,
        )
        return web.json_response(asdict(data))

    async def show_user(self, request: web.Request) -> web.Response:
        """
        How an app sees a user.
        """
        return self._user(request)

    async def change_user(self, request: web.Request) -> web.Response:
        """
        ``{"blocked": true}`` makes WeChat's risk control refuse the user with 40226; ``phone`` and ``country_code`` are
        the user's number in every app.
        """
        body = await asking.fields(request, "blocked", "phone", "country_code")
        app_id, user = request.match_info["app_id"], request.match_info["user"]
        self._parts.world.identity(app_id, user=user)
        if not body:
            raise BadInput("nothing to change: blocked, phone or country_code")
        blocked = asking.flag(body, "blocked") if "blocked" in body else None
        self._set_phone(body, user)
        if blocked is not None:
            self._parts.world.set_blocked(app_id, user=user, blocked=blocked)
        return self._user(request)

    async def change_session_key(self, request: web.Request) -> web.Response:
        """
        ``{"action": "replace"}`` gives the user a new session_key, as a login elsewhere would; ``expire`` ends the
        present one.
        """
        body = await asking.fields(request, "action")
        app_id, user = request.match_info["app_id"], request.match_info["user"]
        action, now = asking.text(body, "action"), self._parts.clock.now()
        if action not in ("replace", "expire"):
            raise BadInput("action must be replace or expire")
        self._parts.world.meet(app_id, user=user)
        keys = self._parts.world.keys
        (keys.replace if action == "replace" else keys.expire)(app_id, user=user, now=now)
        return self._user(request)

    def _minted(self, code: str, fault: Fault | None, times: int | None) -> web.Response:
        if fault is not None:
            self._parts.plan.bind(code, fault=fault, times=times)
        return web.json_response({"code": code})

    def _set_phone(self, body: asking.Fields, user: str) -> None:
        number, country = asking.optional_text(body, "phone"), asking.optional_text(body, "country_code")
        if number is None and country is None:
            return
        phones = self._parts.world.phones
        phones.set(user, number=number or phones.of(user).pure, country=country or "86")

    def _user(self, request: web.Request) -> web.Response:
        app_id, user = request.match_info["app_id"], request.match_info["user"]
        world, now = self._parts.world, self._parts.clock.now()
        identity, number = world.identity(app_id, user=user), world.phones.of(user)
        return web.json_response(
            {
                **asdict(identity),
                "blocked": world.is_blocked(app_id, user=user),
                "phone": number.pure,
                "country_code": number.country,
                "session_key": world.keys.live(app_id, user=user, now=now),
            }
        )


def _fault(body: asking.Fields) -> Fault | None:
    return asking.fault(body) if body.get("fault") is not None else None


def _kind(text: str) -> Kind:
    for kind in KINDS:
        if text == kind:
            return kind
    raise BadInput(f"kind must be one of {list(KINDS)}")
