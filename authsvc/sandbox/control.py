"""
The control API's part about the sandbox itself, under ``/sandbox/v1``: faults, what arrived, settings, clock and
connections. Apps are in ``console``, users and codes in ``device``.

It speaks plain JSON; a mistake answers ``{"error": "..."}`` with a 4xx status. It is meant for tests and
developers on this machine and knows no callers: the server checks Host and Origin before it.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Final, Protocol

from aiohttp import web

from authsvc.sandbox import asking
from authsvc.sandbox.arrivals import Arrival
from authsvc.sandbox.faults import FAULTS, Fault, Rule
from authsvc.sandbox.outcomes import BadInput
from authsvc.sandbox.parts import PREFIX, Parts
from authsvc.sandbox.user_data import VARIANTS

_MAX_REFUSAL: Final = 3600.0
_MAX_ADVANCE: Final = 366 * 86_400.0
_FLAGS: Final = ("wrong_app_consumes", "old_hints", "country_code_as_number")
_ERRCODES: Final = ("phone_wrong_app_errcode", "openid_mismatch_errcode")


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
    The handlers of this part.
    """

    def __init__(self, parts: Parts, *, paths: tuple[str, ...], switchboard: Switchboard) -> None:
        """
        ``paths`` are the imitated endpoints.
        """
        self._parts = parts
        self._paths = paths
        self._switchboard = switchboard

    def routes(self) -> list[web.RouteDef]:
        """
        Every route of this part.
        """
        return [
            web.get("/", self.index),
            web.get(PREFIX + "/settings", self.show_settings),
            web.put(PREFIX + "/settings", self.change_settings),
            web.get(PREFIX + "/clock", self.show_clock),
            web.post(PREFIX + "/clock", self.advance_clock),
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
                "page": "/sandbox",
                "endpoints": list(self._paths),
                "control": PREFIX,
                "mint": f'POST {PREFIX}/codes {{"app_id": "...", "user": "..."}}',
                "user_data_variants": dict(VARIANTS),
            }
        )

    async def show_settings(self, _request: web.Request) -> web.Response:
        """
        The switches of the world.
        """
        return web.json_response(asdict(self._parts.world.switches))

    async def change_settings(self, request: web.Request) -> web.Response:
        """
        Changes the switches named, or none of them if one value cannot be.
        """
        switches = self._parts.world.switches
        body = await asking.fields(request, *_FLAGS, *_ERRCODES)
        changed: dict[str, object] = {name: asking.flag(body, name) for name in _FLAGS if name in body}
        for name in _ERRCODES:
            if name in body:
                changed[name] = asking.whole(body, name)
                if not 0 < abs(asking.whole(body, name)) < 2**31:
                    raise BadInput(f"{name} must be an errcode other than 0")
        for name, value in changed.items():
            setattr(switches, name, value)
        return await self.show_settings(request)

    async def show_clock(self, _request: web.Request) -> web.Response:
        """
        The sandbox's time, and how far it was moved ahead.
        """
        clock = self._parts.clock
        ahead = clock.ahead.total_seconds()
        return web.json_response({"now": clock.now().isoformat(), "ahead_seconds": ahead})

    async def advance_clock(self, request: web.Request) -> web.Response:
        """
        ``{"seconds": n}``: it is that much later.
        """
        body = await asking.fields(request, "seconds")
        seconds = asking.seconds(body, "seconds", most=_MAX_ADVANCE)
        self._parts.clock.advance(timedelta(seconds=seconds))
        return await self.show_clock(request)

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
        Makes a fault the only rule of its scope: an app's requests or all without ``app_id``, to one ``path``
        or to all without it; ``times`` counts requests, null or absent lasts until cleared.
        """
        fault, app_id, path, times = await self._rule(request)
        self._parts.plan.put(fault, app_id=app_id, times=times, path=path)
        return web.json_response(self._rules())

    async def append_fault(self, request: web.Request) -> web.Response:
        """
        The same, behind the rules that are already there.
        """
        fault, app_id, path, times = await self._rule(request)
        self._parts.plan.append(fault, app_id=app_id, times=times, path=path)
        return web.json_response(self._rules())

    async def clear_faults(self, request: web.Request) -> web.Response:
        """
        Removes every rule and the faults of codes; with ``?app_id=`` only that app's rules.
        """
        app_id = request.query.get("app_id")
        if app_id is None:
            self._parts.plan.clear()
        else:
            self._parts.plan.clear_scope(app_id)
        return web.json_response(self._rules())

    async def list_requests(self, request: web.Request) -> web.Response:
        """
        What arrived, oldest first, with a count per code; ``?code=`` for one code, ``?after=`` for those
        with a larger number.
        """
        code, after = request.query.get("code"), request.query.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 20):
            raise BadInput("after must be the number of a request")
        arrivals = self._parts.arrivals
        selected = arrivals.select(code=code, after=int(after))
        counts = arrivals.counts() if code is None else {code: arrivals.count(code)}
        return web.json_response(
            {
                "count": len(selected),
                "counts": counts,
                "requests": [_arrival(arrival) for arrival in selected],
                "forgotten": arrivals.forgotten,
                "era": arrivals.era,
            }
        )

    async def clear_requests(self, _request: web.Request) -> web.Response:
        """
        Forgets what arrived.
        """
        self._parts.arrivals.clear()
        return web.json_response({"count": 0})

    async def refuse(self, request: web.Request) -> web.Response:
        """
        ``{"seconds": n}``: the port refuses connections that long; idle connections are closed. A time is
        required, because nobody could call to end it.
        """
        body = await asking.fields(request, "seconds")
        seconds = asking.seconds(body, "seconds", most=_MAX_REFUSAL)
        await self._switchboard.refuse(timedelta(seconds=seconds))
        response = web.json_response({"refusing_seconds": seconds})
        response.force_close()
        return response

    async def close_idle(self, _request: web.Request) -> web.Response:
        """
        Closes the connections that have no request in progress.
        """
        return web.json_response({"closed": self._switchboard.close_idle()})

    def _rules(self) -> dict[str, object]:
        return {"faults": [_rule(rule) for rule in self._parts.plan.rules]}

    async def _rule(self, request: web.Request) -> tuple[Fault, str | None, str | None, int | None]:
        body = await asking.fields(request, "app_id", "fault", "times", "path")
        app_id, path = asking.optional_text(body, "app_id"), asking.optional_text(body, "path")
        if app_id is not None:
            self._parts.world.book.require(app_id)
        if path is not None and path not in self._paths:
            raise BadInput(f"no such path; there are {list(self._paths)}")
        return asking.fault(body), app_id, path, asking.times(body, "times", default=None)


def _arrival(arrival: Arrival) -> dict[str, object]:
    return {**asdict(arrival), "at": arrival.at.isoformat()}


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "app_id": rule.app_id,
        "fault": str(rule.fault),
        "remaining": rule.remaining,
        "path": rule.path,
    }
