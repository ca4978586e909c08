"""
A request of one app, taken to its hosts and judged: the one place where answers become verdicts.

What is not here: who may call when (`lane`), a single send (`exchange`), the meaning of numbers (`errcodes`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from aiohttp import ClientSession

from authsvc.domain.errors import WeChatMisconfigured, WeChatUnavailable
from authsvc.ports import Event, Observer
from authsvc.wechat.errcodes import FaultGroup, Make, Meaning, judge
from authsvc.wechat.exchange import Answer, Fault, Outgoing, open_session, send_once
from authsvc.wechat.replies import Fields, Granted, Unreadable, read_reply
from authsvc.wechat.send_once import SendOnce, fault_level
from authsvc.wechat.settings import WeChatApp, WeChatSettings
from authsvc.wechat.verdicts import Trip, Verdict, refuse

T = TypeVar("T")


def _unavailable(fault: str) -> Exception:
    return WeChatUnavailable(f"sent, then: {fault}")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """
    One request as its endpoint makes it, and how its answer is read.

    `urls` are tried in order while nothing was written (facts page 1.6, 8.6). `lost` makes the error of a request
    that was written and whose outcome is not known, `lost_group` is what that is reported as; `unknown` the error
    of an errcode that is not in `meanings` (None: UnknownErrcode).
    """

    endpoint: str
    urls: tuple[str, ...] = field(repr=False)
    outgoing: Outgoing
    meanings: Mapping[int, Meaning] = field(repr=False)
    read: Callable[[Fields], T | Unreadable]
    lost: Callable[[str], Exception] = _unavailable
    lost_group: FaultGroup = FaultGroup.UNAVAILABLE
    unknown: Make | None = None


class Wire:
    """The HTTP session that all apps share. Nothing of a request outlives it."""

    def __init__(self, *, observer: Observer, settings: WeChatSettings) -> None:
        self._observer = observer
        self._settings = settings
        self._session: ClientSession | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._session is not None

    def open(self) -> None:
        """Make it ready; nothing is sent. Twice is once."""
        if self._session is None:
            self._session = open_session(dns_ttl=self._settings.dns_ttl)

    async def close(self) -> None:
        """End it and whatever is in flight. Twice is once."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def attempt(self, app: WeChatApp, request: Request[T]) -> Callable[[Trip], Awaitable[Verdict[T]]]:
        """Return what a lane runs: the request sent once, and its verdict."""

        async def run(trip: Trip) -> Verdict[T]:
            result = await self._within_deadline(app, request, trip)
            return self._judge(app, request, result, trip=trip)

        return run

    async def _within_deadline(self, app: WeChatApp, request: Request[T], trip: Trip) -> Answer | Fault:
        try:
            async with asyncio.timeout_at(trip.until):
                return await self._send(app, request, trip)
        except TimeoutError:
            return Fault("deadline")

    async def _send(self, app: WeChatApp, request: Request[T], trip: Trip) -> Answer | Fault:
        result: Answer | Fault = Fault("no_host")
        for url in request.urls:
            if self._session is None:
                return Fault("closed")
            trip.guard = SendOnce()
            trip.host = urlsplit(url).hostname or ""
            trip.hosts_tried += 1
            result = await send_once(
                self._session,
                url,
                outgoing=request.outgoing,
                guard=trip.guard,
                connect_timeout=app.connect_timeout,
                max_body=self._settings.max_body,
            )
            if isinstance(result, Answer) or trip.guard.may_be_written:
                break
        return result

    def _judge(
        self, app: WeChatApp, request: Request[T], result: Answer | Fault, *, trip: Trip
    ) -> Verdict[T]:
        if isinstance(result, Fault):
            if trip.guard.may_be_written:
                return _lose(request, result.kind)
            return refuse(result.kind, healthy=False)
        if result.from_sandbox and self._settings.refuse_sandbox:
            self._observer.event(
                Event("wechat.sandbox_answer", "error", {"app_id": app.app_id, "host": trip.host})
            )
            return Verdict(
                "sandbox_answer", "error", healthy=None, fail=lambda: WeChatMisconfigured(app.app_id, 0)
            )
        if result.status != 200:
            # A gateway's 4xx may be provoked by the code's text alone: were it counted, a stranger could open the
            # breaker for everybody.
            provoked = 400 <= result.status <= 499
            return _lose(request, f"http_{result.status}", healthy=None if provoked else False)
        reading = read_reply(result.body, request.read)
        if isinstance(reading, Granted):
            return Verdict("ok", "info", healthy=True, value=reading.value)
        if isinstance(reading, Unreadable):
            return _lose(request, reading.why)
        judged = judge(
            reading.errcode,
            app_id=app.app_id,
            rid=reading.rid,
            meanings=request.meanings,
            unknown=request.unknown,
        )
        return Verdict(
            judged.group.value,
            judged.group.level,
            healthy=not judged.group.is_transient,
            fail=judged.make,
            errcode=reading.errcode,
            rid=reading.rid,
        )


def _lose(request: Request[T], fault: str, *, healthy: bool | None = False) -> Verdict[T]:
    return Verdict(
        request.lost_group.value,
        fault_level(fault),
        healthy=healthy,
        fail=lambda: request.lost(fault),
        fault=fault,
    )


def alarm(observer: Observer, app: WeChatApp, *, endpoint: str, errcode: int) -> None:
    """Tell operators that WeChat refuses our configuration of an app: a line and a count that name it."""
    observer.event(
        Event(
            "wechat.misconfigured",
            "error",
            {"app_id": app.app_id, "endpoint": endpoint, "errcode": errcode},
        )
    )
