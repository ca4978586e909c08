"""
Many concurrent checks in few calls (BatchVerifyTokens), without making a lone caller wait.

A caller that is alone goes out at once. Who comes while a call is on its way waits for its end and goes with all others
that came meanwhile: the busier, the fuller the calls. A call that takes long, or a full one, does not hold up the next:
up to a bound, calls overlap. Every caller has its own deadline, its own answer and its own error; one that goes away
takes nothing from the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from authapi.v1 import BatchVerifyTokensResponse, VerifyTokenRequest, VerifyTokenResponse
from authsvc_client._clock import Clock
from authsvc_client.connection import CallFailure

MOST_IN_BATCH: Final = 1000
"""What one BatchVerifyTokens may hold by the contract."""

# gRPC's limit for a message is 4 MB, of the server's answers too.
MOST_LETTERS: Final = 3 * 2**20
# So many waiting don't wait for the call before them.
FULL: Final = 256
# A call that takes longer than this holds up nobody; deadlines are looked at as often.
PATIENCE_S: Final = 0.02

SendOne = Callable[[VerifyTokenRequest, float], Awaitable[VerifyTokenResponse]]
"""Call VerifyToken with a timeout in seconds; raises CallFailure."""
SendMany = Callable[[Sequence[VerifyTokenRequest], float], Awaitable[BatchVerifyTokensResponse]]
"""Call BatchVerifyTokens with a timeout in seconds; raises CallFailure."""
MakeFailure = Callable[[str], CallFailure]
"""Make the error for what goes wrong on this side, from a status name: DEADLINE_EXCEEDED, CANCELLED, INTERNAL."""


class _Item:
    """A caller."""

    __slots__ = ("answer", "deadline", "request")

    def __init__(
        self, request: VerifyTokenRequest, answer: "asyncio.Future[VerifyTokenResponse]", deadline: float
    ) -> None:
        self.request = request
        self.answer = answer
        self.deadline = deadline


class Coalescer:
    """Gathers checks; belongs to one event loop. Without *one*, lone callers are batches of one."""

    def __init__(
        self,
        *,
        many: SendMany,
        one: SendOne | None = None,
        failure: MakeFailure,
        clock: Clock,
        most_calls: int = 4,
        most_in_batch: int = MOST_IN_BATCH,
    ) -> None:
        self._many = many
        self._one = one
        self._failure = failure
        self._clock = clock
        self._most_calls = most_calls
        self._most_in_batch = most_in_batch
        self._waiting: deque[_Item] = deque()
        self._sent: set[_Item] = set()
        self._calls = 0
        # Whether callers came together lately: then a caller who finds nobody looks around before it goes alone.
        self._has_company = False
        self._senders: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def ask(self, request: VerifyTokenRequest, *, timeout_s: float) -> VerifyTokenResponse:
        """
        Return the server's answer to *request*.

        Raises:
            CallFailure: there is none, as `many`, `one` or `failure` make it.

        """
        one = self._one
        if one is not None and not self._calls and not self._waiting and not self._has_company:
            return await self._send_alone(one, request, timeout_s)
        deadline = self._clock.elapsed_s() + timeout_s
        item = _Item(request, asyncio.get_running_loop().create_future(), deadline)
        self._waiting.append(item)
        if one is not None and self._is_alone(item):
            try:
                await asyncio.sleep(0)  # noqa: TID251 - lets others of this turn come along, waits for nothing
            except asyncio.CancelledError:
                item.answer.cancel()
                if item in self._waiting:
                    self._waiting.remove(item)
                raise
            if self._is_alone(item):
                self._has_company = False
                self._waiting.clear()
                return await self._send_alone(one, request, timeout_s)
        self._go_on()
        return await item.answer

    async def _send_alone(
        self, one: SendOne, request: VerifyTokenRequest, timeout_s: float
    ) -> VerifyTokenResponse:
        self._calls += 1
        try:
            return await one(request, timeout_s)
        finally:
            self._calls -= 1
            if self._waiting:
                self._go_on()

    async def aclose(self) -> None:
        """Give up; whoever still waits is told CANCELLED."""
        tasks = [*self._senders, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        self.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Tell whoever still waits CANCELLED, and stop what is on its way without waiting for its end."""
        for task in (*self._senders, *([self._watch] if self._watch else [])):
            task.cancel()
        for item in (*self._waiting, *self._sent):
            self._fail(item, self._failure("CANCELLED"))
        self._waiting.clear()

    def _is_alone(self, item: _Item) -> bool:
        return not self._calls and len(self._waiting) == 1 and self._waiting[0] is item

    def _go_on(self) -> None:
        """See that somebody takes care of those who wait."""
        if not self._waiting:
            return
        if not self._calls or (len(self._waiting) >= FULL and self._calls < self._most_calls):
            self._begin()
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._keep_watch())

    def _begin(self) -> None:
        self._calls += 1
        sender = asyncio.ensure_future(self._send_all())
        self._senders.add(sender)
        sender.add_done_callback(self._ended)

    def _ended(self, sender: "asyncio.Task[None]") -> None:
        self._senders.discard(sender)
        self._calls -= 1
        if not sender.cancelled():
            self._go_on()

    async def _send_all(self) -> None:
        while batch := self._take():
            self._has_company = len(batch) > 1
            self._sent.update(batch)
            try:
                await self._send(batch)
            finally:
                self._sent.difference_update(batch)
                for item in batch:
                    if not item.answer.done():
                        self._fail(item, self._failure("CANCELLED"))
            del batch
            # Those who were answered and ask again at once are to go along.
            await asyncio.sleep(0)  # noqa: TID251 - as above

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        letters = 0
        while self._waiting and len(batch) < self._most_in_batch:
            item = self._waiting[0]
            if not item.answer.done():
                letters += len(item.request.access_token)
                if batch and letters > MOST_LETTERS:
                    break
                batch.append(item)
            self._waiting.popleft()
        return batch

    async def _send(self, batch: list[_Item]) -> None:
        """Answer every item of the batch."""
        left_s = max(item.deadline for item in batch) - self._clock.elapsed_s()
        try:
            reply = await self._many([item.request for item in batch], max(left_s, 0.001))
        except CallFailure as failure:
            if failure.blames_request and len(batch) > 1:
                await self._send_halves(batch)
                return
            for item in batch:
                self._fail(item, failure.again())
            return
        except Exception as error:  # noqa: BLE001 - a defect here must not leave callers waiting
            for item in batch:
                self._fail(item, error)
            return
        if len(reply.responses) != len(batch):
            for item in batch:
                self._fail(item, self._failure("INTERNAL"))
            return
        for item, response in zip(batch, reply.responses, strict=True):
            if not item.answer.done():
                item.answer.set_result(response)

    async def _send_halves(self, batch: list[_Item]) -> None:
        """All are answered or none: find the one to blame, so that it alone fails."""
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            remaining = [item for item in half if not item.answer.done()]
            if remaining:
                await self._send(remaining)

    @staticmethod
    def _fail(item: _Item, error: Exception) -> None:
        if not item.answer.done():
            item.answer.set_exception(error)

    async def _keep_watch(self) -> None:
        """Keep deadlines, and begin another call where those on their way take too long."""
        foremost: _Item | None = None
        try:
            while self._waiting or self._sent:
                await self._clock.sleep(PATIENCE_S)
                now = self._clock.elapsed_s()
                for item in (*self._waiting, *self._sent):
                    if item.deadline <= now:
                        self._fail(item, self._failure("DEADLINE_EXCEEDED"))
                while self._waiting and self._waiting[0].answer.done():
                    self._waiting.popleft()
                if self._waiting and self._waiting[0] is foremost and self._calls < self._most_calls:
                    self._begin()
                foremost = self._waiting[0] if self._waiting else None
        finally:
            self._watch = None
