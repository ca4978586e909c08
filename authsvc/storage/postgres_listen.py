"""
Being told of new facts instead of asking: LISTEN on a connection of its own (DESIGN section 5, wake-up).

Poolers accept LISTEN and drop what comes of it, without a word. So the listener sends itself a notification on the way
that writers use, at each start and every half minute, and believes the connection only if it arrives. A poll always
runs underneath: nothing here is needed for a promise, only for speed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Entropy, Event, Observer
from authsvc.storage.postgres_faults import DRIVER_ERRORS, unavailable
from authsvc.storage.postgres_pool import connect_directly

CHANNEL = "authsvc_log"
_CONNECT_WITHIN_S = 2.0
_ARRIVES_WITHIN_S = 2.0
_CHECK_EVERY_S = 30.0
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# Each wake-up makes the process read the log: under many writers it is woken this often at most.
_WAKE_GAP_S = 0.02


class NotDelivered(Exception):
    """What we sent ourselves did not arrive: a pooler drops notifications, or this is another database."""


class Listener:
    """
    Calls whoever asked for it when another process may have written a fact.

    *notify* sends a payload on the channel, over the connections that writes take. `start` begins, in the background;
    `stop` ends it. `works` tells whether notifications arrive.
    """

    def __init__(
        self, url: str, *, notify: Callable[[str], Awaitable[None]], entropy: Entropy, observer: Observer
    ) -> None:
        self.works = False
        self._url = url
        self._notify = notify
        self._entropy = entropy
        self._observer = observer
        self._wakes: list[Callable[[], None]] = []
        self._sent = ""
        self._arrived = asyncio.Event()
        self._lost = asyncio.Event()
        self._resting: asyncio.TimerHandle | None = None
        self._missed = False
        self._told: bool | None = None
        self._task: asyncio.Task[None] | None = None

    def on_change(self, wake: Callable[[], None]) -> None:
        """From now on have *wake* called in this loop; it must not raise and may be called for nothing."""
        self._wakes.append(wake)

    def start(self) -> None:
        """Begin to listen, and to try again for ever."""
        self._observer.gauge("database_notifications", lambda: float(self.works))
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._resting is not None:
            self._resting.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except NotDelivered:
                self._tell(works=False, error="NotDelivered")
            except (*DRIVER_ERRORS, StoreUnavailable) as error:
                self._tell(works=False, error=str(_kind(error)))
            # A listener that had worked comes back at once; one that never does is tried ever more seldom.
            failures = 0 if self.works else failures + 1
            self.works = False
            await _within(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)], asyncio.Event())

    async def _listen(self) -> None:
        """Listen until the connection is lost, or does not bring what we send ourselves."""
        self._lost.clear()
        connection = await connect_directly(self._url, timeout_s=_CONNECT_WITHIN_S)
        connection.add_termination_listener(self._ended)
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await connection.add_listener(CHANNEL, self._heard)
            while not self._lost.is_set():
                await self._check()
                self._tell(works=True)
                self.works = True
                self._wake()  # whatever was written before we listened
                await _within(_CHECK_EVERY_S, self._lost)
            raise NotDelivered
        finally:
            # Not politely: a frozen server would hold us.
            connection.terminate()

    async def _check(self) -> None:
        self._arrived.clear()
        self._sent = self._entropy.token_bytes(8).hex()
        await self._notify(self._sent)
        if not await _within(_ARRIVES_WITHIN_S, self._arrived):
            raise NotDelivered

    def _heard(self, _connection: asyncpg.Connection, _pid: int, _channel: str, payload: Any) -> None:
        if not payload:
            self._wake()
        elif payload == self._sent:
            self._arrived.set()

    def _ended(self, _connection: asyncpg.Connection) -> None:
        self._lost.set()

    def _wake(self) -> None:
        """Wake everybody now, or once the last time is long enough ago."""
        if self._resting is not None:
            self._missed = True
            return
        self._resting = asyncio.get_running_loop().call_later(_WAKE_GAP_S, self._rested)
        for wake in self._wakes:
            wake()

    def _rested(self) -> None:
        self._resting = None
        if self._missed:
            self._missed = False
            self._wake()

    def _tell(self, *, works: bool, error: str = "") -> None:
        """Report a change, once."""
        if self._told is works:
            return
        self._told = works
        if works:
            self._observer.event(Event("database.notified"))
        else:
            self._observer.event(Event("database.not_notified", level="warning", fields={"error": error}))


async def _within(limit_s: float, event: asyncio.Event) -> bool:
    """Return whether *event* was set within the time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    return event.is_set()


def _kind(error: Exception) -> Exception:
    return error if isinstance(error, StoreUnavailable) else unavailable(error)
