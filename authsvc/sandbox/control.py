"""
The control API under ``/sandbox/v1``: mint codes, switch faults, read what arrived, look at users.

It speaks plain JSON; a mistake answers ``{"error": "..."}`` with a 4xx status. It is meant for tests and
developers on this machine and knows no callers: the server checks Host and Origin before it.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Protocol

from aiohttp import web

from authsvc.sandbox import sns
from authsvc.sandbox.arrivals import Arrival, Arrivals
from authsvc.sandbox.faults import FAULTS, Fault, FaultPlan, Rule, parse_fault
from authsvc.sandbox.needs import Clock
from authsvc.sandbox.world import BadInput, UnknownApp, World

PREFIX: Final = "/sandbox/v1"
_MAX_REFUSAL: Final = timedelta(hours=1)


class Switchboard(Protocol):
    """
    What the control API may do to the listening server.
    """

    async def refuse(self, duration: timedelta | None = None) -> None:
        """
        New connections are refused, for a time or until told otherwise.
        """
        ...

    def close_idle(self) -> int:
        """
        Connections without a request in progress are closed; how many.
        """
        ...


class Control:
    """
    The handlers of the control API.
    """

    def __init__(
        self,
        *,
        world: World,
        plan: FaultPlan,
        arrivals: Arrivals,
        clock: Clock,
        switchboard: Switchboard,
    ) -> None:
        self._world = world
        self._plan = plan
        self._arrivals = arrivals
        self._clock = clock
        self._switchboard = switchboard

    def routes(self) -> list[web.RouteDef]:
        """
        Every route of the control API.
        """
        return [
            web.get("/", self.index),
            web.get(PREFIX + "/apps", self.list_apps),
            web.post(PREFIX + "/codes", self.mint_code),
            web.get(PREFIX + "/users/{app_id}/{user}", self.show_user),
            web.put(PREFIX + "/users/{app_id}/{user}", self.change_user),
            web.get(PREFIX + "/settings", self.show_settings),
            web.put(PREFIX + "/settings", self.change_settings),
            web.get(PREFIX + "/faults", self.list_faults),
            web.put(PREFIX + "/faults", self.put_fault),
            web.post(PREFIX + "/faults", self.append_fault),
            web.delete(PREFIX + "/faults", self.clear_faults),
            web.get(PREFIX + "/requests", self.list_requests),
            web.delete(PREFIX + "/requests", self.clear_requests),
            web.post(PREFIX + "/refuse", self.refuse),
            web.post(PREFIX + "/close-idle", self.close_idle),
        ]

    async def index(self, _request: web.Request) -> web.Response:
        """
        Where to go from here.
        """
        return web.json_response(
            {
                "service": "authsvc WeChat sandbox",
                "endpoints": [sns.PATH],
                "control": PREFIX,
                "mint": f'POST {PREFIX}/codes {{"app_id": "...", "user": "..."}}',
            }
        )

    async def list_apps(self, _request: web.Request) -> web.Response:
        """
        The apps, without their secrets.
        """
        apps = [{"app_id": app.app_id, "open_platform": app.open_platform} for app in self._world.apps]
        return web.json_response({"apps": apps})

    async def mint_code(self, request: web.Request) -> web.Response:
        """
        A login code for ``app_id`` and ``user``; optionally with its text (``code``) and a ``fault`` that
        strikes its first ``fault_times`` requests (1 unless given, null: all).
        """
        body = await _fields(request, "app_id", "user", "code", "fault", "fault_times")
        app_id, user = _text(body, "app_id"), _text(body, "user")
        fault = _fault(body) if body.get("fault") is not None else None
        times = _times(body, "fault_times", default=1)
        wanted = _text(body, "code") if body.get("code") is not None else None
        code = self._world.mint(app_id, user=user, now=self._clock.now(), code=wanted)
        if fault is not None:
            self._plan.bind(code, fault=fault, times=times)
        return web.json_response({"code": code})

    async def show_user(self, request: web.Request) -> web.Response:
        """
        How an app sees a user.
        """
        return self._user(request)

    async def change_user(self, request: web.Request) -> web.Response:
        """
        ``{"blocked": true}`` makes WeChat's risk control refuse the user with 40226.
        """
        body = await _fields(request, "blocked")
        app_id, user = request.match_info["app_id"], request.match_info["user"]
        self._world.set_blocked(app_id, user=user, blocked=_flag(body, "blocked"))
        return self._user(request)

    async def show_settings(self, _request: web.Request) -> web.Response:
        """
        The switches of the world.
        """
        return web.json_response({"wrong_app_consumes": self._world.wrong_app_consumes})

    async def change_settings(self, request: web.Request) -> web.Response:
        """
        ``{"wrong_app_consumes": false}``: an attempt with another app leaves the code usable.
        """
        body = await _fields(request, "wrong_app_consumes")
        self._world.wrong_app_consumes = _flag(body, "wrong_app_consumes")
        return await self.show_settings(request)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """
        The rules in force and every fault there is.
        """
        catalogue = {
            name: {"strikes": kind.moment.value, "meaning": kind.meaning, "parameter": kind.param.value}
            for name, kind in FAULTS.items()
        }
        return web.json_response({**self._rules(), "catalogue": catalogue})

    async def put_fault(self, request: web.Request) -> web.Response:
        """
        Makes a fault the only rule for an app's requests, or for all apps without ``app_id``; ``times``
        counts requests, null or absent lasts until cleared.
        """
        fault, app_id, times = await self._rule(request)
        self._plan.put(fault, app_id=app_id, times=times)
        return web.json_response(self._rules())

    async def append_fault(self, request: web.Request) -> web.Response:
        """
        The same, behind the rules that are already there.
        """
        fault, app_id, times = await self._rule(request)
        self._plan.append(fault, app_id=app_id, times=times)
        return web.json_response(self._rules())

    async def clear_faults(self, request: web.Request) -> web.Response:
        """
        Removes every rule and the faults of codes; with ``?app_id=`` only that app's rules.
        """
        app_id = request.query.get("app_id")
        if app_id is None:
            self._plan.clear()
        else:
            self._plan.clear_scope(app_id)
        return web.json_response(self._rules())

    async def list_requests(self, request: web.Request) -> web.Response:
        """
        What arrived, oldest first, with a count per code; ``?code=`` for one code.
        """
        code = request.query.get("code")
        selected = self._arrivals.select(code=code)
        counts = self._arrivals.counts() if code is None else {code: self._arrivals.count(code)}
        return web.json_response(
            {
                "count": len(selected),
                "counts": counts,
                "requests": [_arrival(arrival) for arrival in selected],
                "forgotten": self._arrivals.forgotten,
            }
        )

    async def clear_requests(self, _request: web.Request) -> web.Response:
        """
        Forgets what arrived.
        """
        self._arrivals.clear()
        return web.json_response({"count": 0})

    async def refuse(self, request: web.Request) -> web.Response:
        """
        ``{"seconds": n}``: the port refuses connections that long; idle connections are closed. A time is
        required, because nobody could call to end it.
        """
        body = await _fields(request, "seconds")
        seconds = body.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise BadInput("seconds must be a number")
        if not 0 < seconds <= _MAX_REFUSAL.total_seconds():
            raise BadInput("seconds must lie between 0 and 3600")
        await self._switchboard.refuse(timedelta(seconds=seconds))
        response = web.json_response({"refusing_seconds": seconds})
        response.force_close()
        return response

    async def close_idle(self, _request: web.Request) -> web.Response:
        """
        Closes the connections that have no request in progress.
        """
        return web.json_response({"closed": self._switchboard.close_idle()})

    def _user(self, request: web.Request) -> web.Response:
        app_id, user = request.match_info["app_id"], request.match_info["user"]
        identity = self._world.identity(app_id, user=user)
        blocked = self._world.is_blocked(app_id, user=user)
        return web.json_response({"openid": identity.openid, "unionid": identity.unionid, "blocked": blocked})

    def _rules(self) -> dict[str, object]:
        return {"faults": [_rule(rule) for rule in self._plan.rules]}

    async def _rule(self, request: web.Request) -> tuple[Fault, str | None, int | None]:
        body = await _fields(request, "app_id", "fault", "times")
        app_id = _text(body, "app_id") if body.get("app_id") is not None else None
        if app_id is not None and app_id not in {app.app_id for app in self._world.apps}:
            raise UnknownApp("the sandbox has no such app")
        return _fault(body), app_id, _times(body, "times", default=None)


def _arrival(arrival: Arrival) -> dict[str, object]:
    return {
        "number": arrival.number,
        "at": arrival.at.isoformat(),
        "method": arrival.method,
        "target": arrival.target,
        "app_id": arrival.app_id,
        "code": arrival.code,
        "peer": arrival.peer,
        "fault": arrival.fault,
        "outcome": arrival.outcome,
    }


def _rule(rule: Rule) -> dict[str, object]:
    return {"app_id": rule.app_id, "fault": str(rule.fault), "remaining": rule.remaining}


async def _fields(request: web.Request, *names: str) -> Mapping[str, object]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadInput("the body must be a JSON object")
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise BadInput(f"unknown fields {unknown}; known are {sorted(names)}")
    return body


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name} must be a non-empty string")
    return value


def _flag(body: Mapping[str, object], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise BadInput(f"{name} must be true or false")
    return value


def _times(body: Mapping[str, object], name: str, *, default: int | None) -> int | None:
    value = body.get(name, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{name} must be a whole number from 1, or null for always")
    return value


def _fault(body: Mapping[str, object]) -> Fault:
    return parse_fault(_text(body, "fault"))
