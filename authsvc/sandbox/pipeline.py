"""
One request on its way through the sandbox: recorded, a fault chosen, served by its endpoint, and the two
brought together.

What an endpoint answers is its own business; the shapes of answers are in ``replies``, the strange ways of
delivering them in ``delivery``.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from authsvc.sandbox import delivery
from authsvc.sandbox.arrivals import Arrival, Arrivals
from authsvc.sandbox.endpoints import Call, Endpoint
from authsvc.sandbox.faults import FAULT_HEADER, BadFault, Fault, Moment
from authsvc.sandbox.needs import Clock, Entropy
from authsvc.sandbox.outcomes import Refusal
from authsvc.sandbox.parts import Parts
from authsvc.sandbox.replies import BOM, EMPTY, GBK, Reply, encode, error_fields, gateway_page

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]

_INSTEAD_ERRCODES: Final = {
    "system-error": -1,
    "system-error-consumed": -1,
    "minute-quota": 45011,
    "daily-quota": 45009,
}


class Pipeline:
    """
    Makes request handlers out of endpoints.
    """

    def __init__(self, parts: Parts, *, entropy: Entropy) -> None:
        self._world = parts.world
        self._cloud = parts.cloud
        self._plan = parts.plan
        self._arrivals = parts.arrivals
        self._clock = parts.clock
        self._entropy = entropy

    def handler(self, endpoint: Endpoint) -> Handler:
        """
        A handler that gives WeChat's answer to one request, or the failure chosen for it; 400 where the
        fault asked for does not exist. The wait of a fault ends with the connection.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            arrival = record(request, arrivals=self._arrivals, clock=self._clock)
            try:
                return await self._answer(request, endpoint, arrival)
            except asyncio.CancelledError:
                arrival.outcome = "client gone"
                raise
            except ConnectionError:
                arrival.outcome = "client gone"
                return web.Response()  # aiohttp wants one; there is nowhere left to send it

        return handle

    async def _answer(self, request: web.Request, endpoint: Endpoint, arrival: Arrival) -> web.StreamResponse:
        body = await request.read()
        call = Call(request.method, request.query, body, secure=request.secure)
        subject = endpoint.subject(call)
        self._arrivals.identify(arrival, app_id=subject.app_id, code=subject.code)
        try:
            fault = self._plan.choose(
                header=request.headers.get(FAULT_HEADER),
                code=subject.code,
                app_id=subject.app_id,
                path=endpoint.path,
            )
        except BadFault as error:
            arrival.outcome = "no such fault"
            return web.json_response({"error": str(error)}, status=400)
        arrival.fault = None if fault is None else str(fault)
        return await _Passage(self, request, endpoint, call, arrival).serve(fault)

    def call(self, endpoint: Endpoint, call: Call, arrival: Arrival) -> Mapping[str, object] | Refusal:
        """
        The endpoint's answer, noted in the record.
        """
        outcome = endpoint.answer(call, now=self._clock.now())
        if isinstance(outcome, Refusal):
            arrival.outcome = f"errcode {outcome.errcode}"
        else:
            arrival.outcome = "session" if "session_key" in outcome else "ok"
        return outcome

    def reply(self, endpoint: Endpoint, call: Call, fields: Mapping[str, object]) -> Reply:
        """
        The fields as an answer of this endpoint.
        """
        headers = self._cloud.marks(endpoint.path, call.query, secure=call.secure)
        return Reply(encode(fields), content_type=endpoint.family.content_type, headers=headers)

    def error(
        self, endpoint: Endpoint, errcode: int, *, quoted: bool = False, old_hints: bool = False
    ) -> dict[str, object]:
        """
        The fields of an error in the endpoint's manner.
        """
        return error_fields(
            errcode,
            now=self._clock.now(),
            entropy=self._entropy,
            joint=endpoint.family.trace_joint,
            quoted=quoted,
            old_hints=old_hints or self._world.switches.old_hints,
        )

    async def wait(self, fault: Fault) -> None:
        """
        The fault's time has passed on the sandbox's clock.
        """
        await self._clock.sleep(timedelta(seconds=fault.number))

    async def trickle(self, request: web.Request, fault: Fault, reply: Reply) -> web.StreamResponse:
        """
        The answer went out byte by byte.
        """
        pause = timedelta(seconds=fault.number)
        return await delivery.trickle(request, reply, pause=pause, clock=self._clock)


class _Passage:
    # One request with everything that belongs to it.
    def __init__(
        self, line: Pipeline, request: web.Request, endpoint: Endpoint, call: Call, arrival: Arrival
    ) -> None:
        self._line = line
        self._request = request
        self._endpoint = endpoint
        self._call = call
        self._arrival = arrival

    async def serve(self, fault: Fault | None) -> web.StreamResponse:
        if fault is None:
            return delivery.respond(self._exchange()[0])
        moment = fault.kind.moment
        if moment is Moment.INSTEAD:
            return self._fail(fault)
        if moment is Moment.BEFORE:
            await self._line.wait(fault)
            return delivery.respond(self._exchange()[0])
        reply, success = self._exchange(old_hints=fault.name == "old-hints")
        if moment is Moment.ANSWER:
            return await self._deliver(fault, reply)
        if success is None:
            return delivery.respond(reply)
        if moment is Moment.SUCCESS:
            return delivery.respond(replace(reply, body=encode(_changed(fault, success))))
        if fault.name == "delay-consumed":
            await self._line.wait(fault)
            return delivery.respond(reply)
        return self._fail(fault)

    def _exchange(self, *, old_hints: bool = False) -> tuple[Reply, Mapping[str, object] | None]:
        outcome = self._line.call(self._endpoint, self._call, self._arrival)
        if isinstance(outcome, Refusal):
            return self._reply(self._line.error(self._endpoint, outcome.errcode, old_hints=old_hints)), None
        return self._reply(outcome), outcome

    def _reply(self, fields: Mapping[str, object]) -> Reply:
        return self._line.reply(self._endpoint, self._call, fields)

    def _fail(self, fault: Fault) -> web.StreamResponse:
        kind = fault.name.removesuffix("-consumed")
        match kind:
            case "drop":
                self._arrival.outcome = "dropped"
                return delivery.drop(self._request)
            case "http":
                self._arrival.outcome = f"http {fault.number:g}"
                return delivery.respond(gateway_page(int(fault.number)))
            case "empty-body":
                self._arrival.outcome = "empty body"
                return delivery.respond(EMPTY)
            case "gbk":
                self._arrival.outcome = "gbk page"
                return delivery.respond(GBK)
        errcode = _INSTEAD_ERRCODES.get(fault.name, int(fault.number))
        self._arrival.outcome = f"errcode {errcode}"
        fields = self._line.error(self._endpoint, errcode, quoted=kind == "quoted-errcode")
        return delivery.respond(self._reply(fields))

    async def _deliver(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        match fault.name:
            case "truncated":
                return delivery.respond(replace(reply, body=reply.body[: len(reply.body) // 2]))
            case "array":
                return delivery.respond(replace(reply, body=b"[" + reply.body + b"]"))
            case "bom":
                return delivery.respond(replace(reply, body=BOM + reply.body))
            case "cut-body":
                return await delivery.cut(self._request, reply)
            case "huge":
                return await delivery.pad(self._request, reply, size=int(fault.number))
            case "trickle":
                return await self._line.trickle(self._request, fault, reply)
            case "close-idle":
                return await delivery.hang_up_after(self._request, reply)
            case _:
                return delivery.respond(reply)


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


def _changed(fault: Fault, success: Mapping[str, object]) -> dict[str, object]:
    fields = dict(success)
    match fault.name:
        case "errcode-zero":
            fields |= {"errcode": 0, "errmsg": "ok"}
        case "old-expires-in":
            fields["expires_in"] = 7200
        case "missing-session-key":
            fields.pop("session_key", None)
        case "empty-openid":
            fields["openid"] = ""
        case _:
            raise AssertionError(f"{fault} changes no success")
    return fields
