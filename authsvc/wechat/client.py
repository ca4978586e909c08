"""
`ports.WeChat` over HTTP: who may call when, where it goes, and what the result is called.

What is not here: the wire (`exchange`), the reading (`replies`), the meaning of numbers (`errcodes`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from aiohttp import ClientSession

from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeSpent,
    UnknownApp,
    WeChatMisconfigured,
    WeChatUnavailable,
)
from authsvc.ports import Clock, CodeSession, Event, Observer
from authsvc.wechat.breaker import Breaker, Pass
from authsvc.wechat.errcodes import FaultGroup, judge
from authsvc.wechat.exchange import Answer, Fault, get_once, open_session
from authsvc.wechat.replies import Granted, Unreadable, read_reply
from authsvc.wechat.send_once import SendOnce, fault_level
from authsvc.wechat.settings import WeChatApp, WeChatSettings

_ENDPOINT: Final = "jscode2session"
_PATH: Final = "/sns/jscode2session"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """
    How a call ended: exactly one of session and error.

    `healthy` is what the breaker learns: True, WeChat works; False, a transient fault; None, nothing either way.
    """

    outcome: str
    level: str
    healthy: bool | None
    session: CodeSession | None = None
    error: Exception | None = None
    errcode: int = 0
    rid: str = ""
    fault: str = ""


@dataclass(slots=True)
class _Trip:
    """
    One call under way, and how far it has come; read also when it was cut short.

    `until` is on the event loop's clock, the only one a socket can be waited on with.
    """

    session: ClientSession
    until: float
    guard: SendOnce = field(default_factory=SendOnce)
    host: str = ""
    hosts_tried: int = 0


class _Lane:
    """What one app has to itself, so that its faults never reach another."""

    def __init__(self, app: WeChatApp, *, clock: Clock) -> None:
        self.app = app
        self.slots = asyncio.Semaphore(app.max_concurrency)
        self.breaker = Breaker(clock=clock, faults=app.breaker_faults, cool_off=app.breaker_cool_off)


class WeChatClient:
    """
    Implements ports.WeChat.

    Use it as an async context manager, or call `start` and `close`.
    """

    def __init__(
        self, *, apps: Mapping[str, WeChatApp], clock: Clock, observer: Observer, settings: WeChatSettings
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._settings = settings
        self._lanes = {app_id: _Lane(app, clock=clock) for app_id, app in apps.items()}
        self._session: ClientSession | None = None

    async def start(self) -> None:
        """Make the client ready; nothing is sent. Starting twice is once."""
        if self._session is None:
            self._session = open_session(dns_ttl=self._settings.dns_ttl)

    async def close(self) -> None:
        """Close it. An exchange still in flight ends as spent. Closing twice is once."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def code_to_session(self, *, app_id: str, code: str) -> CodeSession:
        """
        See ports.WeChat.code_to_session.

        A caller that is cancelled has to treat the code as spent.

        Raises:
            UnknownApp: no such app is configured here; nothing was sent.
            UnknownErrcode: a verdict we don't know; the code is spent.

        """
        lane = self._lanes.get(app_id)
        if lane is None:
            raise UnknownApp
        if not _is_text(code):
            raise LoginCodeInvalid("not a text that could be sent")
        if self._session is None:
            raise RuntimeError("the WeChat client is not started")
        started = self._clock.elapsed()
        trip = _Trip(
            session=self._session, until=asyncio.get_running_loop().time() + lane.app.deadline.total_seconds()
        )
        verdict = _Verdict("cancelled", "warning", healthy=None)
        try:
            verdict = await self._settle(lane, code=code, trip=trip)
        finally:
            self._report(lane, verdict, trip=trip, started=started)
        if verdict.session is not None:
            return verdict.session
        # Raised where no other exception is being handled: nothing of the transport hangs on its __context__.
        assert verdict.error is not None, "a verdict without a session has an error"
        raise verdict.error from None

    async def _settle(self, lane: _Lane, *, code: str, trip: _Trip) -> _Verdict:
        app = lane.app
        if (wait := lane.breaker.wait()) is not None:
            return _refuse("breaker_open", wait=wait)
        if not await _take_slot(lane.slots, patience=min(app.slot_wait, app.deadline)):
            return _refuse("no_slot")
        try:
            if (wait := lane.breaker.wait()) is not None:  # it may have opened while we waited
                return _refuse("breaker_open", wait=wait)
            return await self._probe(lane, lane.breaker.enter(), code=code, trip=trip)
        finally:
            lane.slots.release()

    async def _probe(self, lane: _Lane, leave: Pass, *, code: str, trip: _Trip) -> _Verdict:
        """Return the verdict of one exchange, and tell the breaker what it means."""
        verdict = None
        try:
            result = await self._within_deadline(lane.app, code=code, trip=trip)
            verdict = self._judge(lane.app, result, trip=trip)
            return verdict
        finally:
            self._teach(lane, leave, None if verdict is None else verdict.healthy)

    async def _within_deadline(self, app: WeChatApp, *, code: str, trip: _Trip) -> Answer | Fault:
        try:
            async with asyncio.timeout_at(trip.until):
                return await self._exchange(app, code=code, trip=trip)
        except TimeoutError:
            return Fault("deadline")

    async def _exchange(self, app: WeChatApp, *, code: str, trip: _Trip) -> Answer | Fault:
        """Try the app's hosts in order, going on only while nothing was written (facts page 1.6, 8.6)."""
        params = {
            "appid": app.app_id,
            "secret": app.secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        result: Answer | Fault = Fault("no_host")
        for url in app.urls:
            trip.guard = SendOnce()
            trip.host = urlsplit(url).hostname or ""
            trip.hosts_tried += 1
            result = await get_once(
                trip.session,
                url.rstrip("/") + _PATH,
                params=params,
                guard=trip.guard,
                connect_timeout=app.connect_timeout,
                max_body=self._settings.max_body,
            )
            if isinstance(result, Answer) or trip.guard.may_be_written:
                break
        return result

    def _judge(self, app: WeChatApp, result: Answer | Fault, *, trip: _Trip) -> _Verdict:
        if isinstance(result, Fault):
            if trip.guard.may_be_written:
                return _spend(result.kind)
            return _refuse(result.kind, healthy=False)
        if result.from_sandbox and self._settings.refuse_sandbox:
            self._observer.event(
                Event("wechat.sandbox_answer", "error", {"app_id": app.app_id, "host": trip.host})
            )
            refused = WeChatMisconfigured(app.app_id, 0)
            return _Verdict("sandbox_answer", "error", healthy=None, error=refused)
        if result.status != 200:
            # A gateway's 4xx may be provoked by the code's text alone: were it counted, a stranger could open the
            # breaker for everybody.
            provoked = 400 <= result.status <= 499
            return _spend(f"http_{result.status}", healthy=None if provoked else False)
        reading = read_reply(result.body)
        if isinstance(reading, Granted):
            return _Verdict("ok", "info", healthy=True, session=reading.session)
        if isinstance(reading, Unreadable):
            return _spend(reading.why)
        judged = judge(reading.errcode, app_id=app.app_id, rid=reading.rid)
        return _Verdict(
            judged.group.value,
            judged.group.level,
            healthy=judged.group is not FaultGroup.TRANSIENT,
            error=judged.error,
            errcode=reading.errcode,
            rid=reading.rid,
        )

    def _teach(self, lane: _Lane, leave: Pass, healthy: bool | None) -> None:
        app = lane.app
        if healthy is None:
            lane.breaker.abandoned(leave)
        elif healthy:
            if lane.breaker.succeeded(leave):
                self._observer.event(Event("wechat.breaker_closed", "info", {"app_id": app.app_id}))
        elif lane.breaker.failed(leave):
            cool_off = app.breaker_cool_off.total_seconds()
            self._observer.event(
                Event(
                    "wechat.breaker_opened",
                    "error",
                    {"app_id": app.app_id, "faults": app.breaker_faults, "cool_off_s": cool_off},
                )
            )

    def _report(self, lane: _Lane, verdict: _Verdict, *, trip: _Trip, started: float) -> None:
        fields: dict[str, str | int | float | bool] = {
            "app_id": lane.app.app_id,
            "endpoint": _ENDPOINT,
            "outcome": verdict.outcome,
            "errcode": verdict.errcode,
            "rid": verdict.rid,
            "fault": verdict.fault,
            "host": trip.host,
            "hosts_tried": trip.hosts_tried,
            "sent": trip.guard.may_be_written,
            "duration_ms": round((self._clock.elapsed() - started) * 1000, 3),
        }
        self._observer.event(Event("wechat.call", verdict.level, fields))


def _refuse(fault: str, *, wait: timedelta = timedelta(seconds=1), healthy: bool | None = None) -> _Verdict:
    error = WeChatUnavailable(f"not sent: {fault}", retry_after=wait)
    return _Verdict("unavailable", fault_level(fault), healthy=healthy, error=error, fault=fault)


def _spend(fault: str, *, healthy: bool | None = False) -> _Verdict:
    error = LoginCodeSpent(f"sent, then: {fault}")
    return _Verdict(FaultGroup.TRANSIENT.value, fault_level(fault), healthy=healthy, error=error, fault=fault)


async def _take_slot(slots: asyncio.Semaphore, *, patience: timedelta) -> bool:
    """Take a slot, waiting at most *patience*; False if there was none."""
    if not slots.locked():
        await slots.acquire()  # returns without waiting
        return True
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await slots.acquire()
    except TimeoutError:
        return False
    return True


def _is_text(code: str) -> bool:
    try:
        code.encode()
    except UnicodeEncodeError:  # a lone surrogate: can't be put into a URL
        return False
    return True
