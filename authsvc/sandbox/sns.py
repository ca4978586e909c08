"""
``/sns/jscode2session`` as WeChat serves it, and with the failures that were asked for.

The rules of the exchange are in ``world``; the shapes of answers in ``replies``. Here a request is
recorded, a fault chosen, and the two brought together.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from aiohttp import web

from authsvc.sandbox import delivery
from authsvc.sandbox.arrivals import Arrival, Arrivals
from authsvc.sandbox.faults import FAULT_HEADER, BadFault, Fault, FaultPlan, Moment
from authsvc.sandbox.needs import Clock, Entropy
from authsvc.sandbox.replies import (
    BOM,
    EMPTY,
    Reply,
    encode,
    error_fields,
    gateway_page,
    success_fields,
)
from authsvc.sandbox.world import Refusal, Session, World

PATH: Final = "/sns/jscode2session"

_INSTEAD_ERRCODES: Final = {
    "system-error": -1,
    "system-error-consumed": -1,
    "minute-quota": 45011,
    "daily-quota": 45009,
}


class CodeToSession:
    """
    The handler of ``/sns/jscode2session``.
    """

    def __init__(
        self,
        *,
        world: World,
        plan: FaultPlan,
        arrivals: Arrivals,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._world = world
        self._plan = plan
        self._arrivals = arrivals
        self._clock = clock
        self._entropy = entropy

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """
        WeChat's answer to one request, or the failure chosen for it; 400 where the fault asked for does
        not exist. The wait of a fault ends with the connection.
        """
        arrival = record(request, arrivals=self._arrivals, clock=self._clock)
        try:
            fault = self._plan.choose(
                header=request.headers.get(FAULT_HEADER),
                code=request.query.get("js_code"),
                app_id=request.query.get("appid"),
            )
        except BadFault as error:
            arrival.outcome = "no such fault"
            return web.json_response({"error": str(error)}, status=400)
        arrival.fault = None if fault is None else str(fault)
        try:
            return await self._serve(request, fault, arrival)
        except asyncio.CancelledError:
            arrival.outcome = "client gone"
            raise
        except ConnectionError:
            arrival.outcome = "client gone"
            return web.Response()  # aiohttp wants one; there is nowhere left to send it

    async def _serve(self, request: web.Request, fault: Fault | None, arrival: Arrival) -> web.StreamResponse:
        if fault is None:
            return delivery.respond(self._exchange(request, arrival)[0])
        moment = fault.kind.moment
        if moment is Moment.INSTEAD:
            return await self._fail(request, fault, arrival)
        if moment is Moment.BEFORE:
            await self._clock.sleep(timedelta(seconds=fault.number))
            return delivery.respond(self._exchange(request, arrival)[0])
        reply, session = self._exchange(request, arrival, old_hints=fault.name == "old-hints")
        if moment is Moment.ANSWER:
            return await self._deliver(request, fault, reply)
        if session is None:
            return delivery.respond(reply)
        if moment is Moment.SUCCESS:
            return delivery.respond(replace(reply, body=encode(_changed(fault, session))))
        if fault.name == "delay-consumed":
            await self._clock.sleep(timedelta(seconds=fault.number))
            return delivery.respond(reply)
        return await self._fail(request, fault, arrival)

    def _exchange(
        self, request: web.Request, arrival: Arrival, *, old_hints: bool = False
    ) -> tuple[Reply, Session | None]:
        outcome = self._judge(request)
        if isinstance(outcome, Session):
            arrival.outcome = "session"
            return Reply(encode(success_fields(outcome))), outcome
        arrival.outcome = f"errcode {outcome.errcode}"
        return self._refusal(outcome.errcode, old_hints=old_hints), None

    def _judge(self, request: web.Request) -> Session | Refusal:
        if request.method != "GET":
            # A wrong verb is reported to answer as if no parameter had come (facts section 1.1).
            return Refusal(41002)
        return self._world.exchange(
            app_id=request.query.get("appid"),
            secret=request.query.get("secret"),
            grant_type=request.query.get("grant_type"),
            code=request.query.get("js_code"),
            now=self._clock.now(),
        )

    async def _fail(self, request: web.Request, fault: Fault, arrival: Arrival) -> web.StreamResponse:
        kind = fault.name.removesuffix("-consumed")
        if kind == "drop":
            arrival.outcome = "dropped"
            return delivery.drop(request)
        if kind == "http":
            arrival.outcome = f"http {fault.number:g}"
            return delivery.respond(gateway_page(int(fault.number)))
        if kind == "empty-body":
            arrival.outcome = "empty body"
            return delivery.respond(EMPTY)
        errcode = _INSTEAD_ERRCODES.get(fault.name, int(fault.number))
        arrival.outcome = f"errcode {errcode}"
        return delivery.respond(self._refusal(errcode, quoted=kind == "quoted-errcode"))

    async def _deliver(self, request: web.Request, fault: Fault, reply: Reply) -> web.StreamResponse:
        match fault.name:
            case "truncated":
                return delivery.respond(replace(reply, body=reply.body[: len(reply.body) // 2]))
            case "array":
                return delivery.respond(replace(reply, body=b"[" + reply.body + b"]"))
            case "bom":
                return delivery.respond(replace(reply, body=BOM + reply.body))
            case "cut-body":
                return await delivery.cut(request, reply)
            case "huge":
                return await delivery.pad(request, reply, size=int(fault.number))
            case "trickle":
                pause = timedelta(seconds=fault.number)
                return await delivery.trickle(request, reply, pause=pause, clock=self._clock)
            case "close-idle":
                return await delivery.hang_up_after(request, reply)
            case _:
                return delivery.respond(reply)

    def _refusal(self, errcode: int, *, quoted: bool = False, old_hints: bool = False) -> Reply:
        fields = error_fields(
            errcode,
            now=self._clock.now(),
            entropy=self._entropy,
            quoted=quoted,
            old_hints=old_hints,
        )
        return Reply(encode(fields))


def record(request: web.Request, *, arrivals: Arrivals, clock: Clock) -> Arrival:
    """
    The request is in the log of arrivals.
    """
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return arrivals.record(
        at=clock.now(),
        method=request.method,
        target=request.raw_path,
        app_id=request.query.get("appid"),
        code=request.query.get("js_code"),
        peer=f"{peer[0]}:{peer[1]}" if peer else None,
    )


def _changed(fault: Fault, session: Session) -> dict[str, object]:
    fields = success_fields(session)
    match fault.name:
        case "errcode-zero":
            fields |= {"errcode": 0, "errmsg": "ok"}
        case "old-expires-in":
            fields["expires_in"] = 7200
        case "missing-session-key":
            del fields["session_key"]
        case "empty-openid":
            fields["openid"] = ""
        case _:
            raise AssertionError(f"{fault} changes no success")
    return fields
