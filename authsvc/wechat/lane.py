"""
What one kind of call of one app has to itself: slots, a breaker, and the reports about it.

A fault of one app, or of one kind of call, therefore never reaches another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Self, TypeVar

from authsvc.ports import Clock, Event, Observer
from authsvc.wechat.breaker import Breaker, Pass
from authsvc.wechat.settings import WeChatApp
from authsvc.wechat.verdicts import Trip, Verdict, refuse

T = TypeVar("T")


class Lane:
    """Lets calls through one at a time per slot, while the breaker allows, and reports each as `wechat.call`."""

    def __init__(
        self,
        app: WeChatApp,
        name: str,
        *,
        clock: Clock,
        observer: Observer,
        slots: asyncio.Semaphore | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._app = app
        self._name = name
        self._clock = clock
        self._observer = observer
        self.slots = slots or asyncio.Semaphore(app.max_concurrency)
        self.breaker = breaker or Breaker(
            clock=clock, faults=app.breaker_faults, cool_off=app.breaker_cool_off
        )

    def renewed(self, app: WeChatApp) -> Self:
        """Return the lane for new settings of the app, with what they leave valid: slots taken, faults counted."""
        old = self._app
        same_limit = old.max_concurrency == app.max_concurrency
        same_breaker = (old.urls, old.token_source, old.breaker_faults, old.breaker_cool_off) == (
            app.urls,
            app.token_source,
            app.breaker_faults,
            app.breaker_cool_off,
        )
        return type(self)(
            app,
            self._name,
            clock=self._clock,
            observer=self._observer,
            slots=self.slots if same_limit else None,
            breaker=self.breaker if same_breaker else None,
        )

    async def run(
        self, endpoint: str, attempt: Callable[[Trip], Awaitable[Verdict[T]]], *, until: float
    ) -> Verdict[T]:
        """Return the verdict of *attempt*, made at most once; a refusal if it could not begin. Reported in any case."""
        started = self._clock.elapsed()
        trip = Trip(until)
        verdict: Verdict[T] = Verdict("cancelled", "warning", healthy=None)
        try:
            verdict = await self._settle(attempt, trip)
            return verdict
        finally:
            self._report(endpoint, verdict, trip=trip, started=started)

    async def _settle(self, attempt: Callable[[Trip], Awaitable[Verdict[T]]], trip: Trip) -> Verdict[T]:
        if (wait := self.breaker.wait()) is not None:
            return refuse("breaker_open", wait=wait)
        left = timedelta(seconds=max(trip.until - asyncio.get_running_loop().time(), 0))
        if not await _take_slot(self.slots, patience=min(self._app.slot_wait, left)):
            return refuse("no_slot")
        try:
            if (wait := self.breaker.wait()) is not None:  # it may have opened while we waited
                return refuse("breaker_open", wait=wait)
            return await self._probe(self.breaker.enter(), attempt, trip)
        finally:
            self.slots.release()

    async def _probe(
        self, leave: Pass, attempt: Callable[[Trip], Awaitable[Verdict[T]]], trip: Trip
    ) -> Verdict[T]:
        """Return the verdict of one attempt, and tell the breaker what it means."""
        healthy = None
        try:
            verdict = await attempt(trip)
            healthy = verdict.healthy
            return verdict
        finally:
            self._teach(leave, healthy)

    def _teach(self, leave: Pass, healthy: bool | None) -> None:
        about: dict[str, str | int | float | bool] = {"app_id": self._app.app_id, "lane": self._name}
        if healthy is None:
            self.breaker.abandoned(leave)
        elif healthy:
            if self.breaker.succeeded(leave):
                self._observer.event(Event("wechat.breaker_closed", "info", about))
        elif self.breaker.failed(leave):
            about |= {
                "faults": self._app.breaker_faults,
                "cool_off_s": self._app.breaker_cool_off.total_seconds(),
            }
            self._observer.event(Event("wechat.breaker_opened", "error", about))

    def _report(self, endpoint: str, verdict: Verdict[T], *, trip: Trip, started: float) -> None:
        fields: dict[str, str | int | float | bool] = {
            "app_id": self._app.app_id,
            "endpoint": endpoint,
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
