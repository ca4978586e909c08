"""
`coalescing` for threads: the same promises, without a loop or a thread of its own.

A lone thread makes its call itself. Batches are begun by whoever finds that one is due, and end on the channel's own
thread, which hands out the answers; no caller works for another for longer than it takes to begin a call.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import grpc

from authapi.v1 import BatchVerifyTokensRequest, VerifyTokenRequest, VerifyTokenResponse
from authsvc_client._clock import Clock
from authsvc_client.coalescing import FULL, MOST_IN_BATCH, MOST_LETTERS, PATIENCE_S
from authsvc_client.errors import CallFailed, LibraryError, failure_of

SendOne = Callable[[VerifyTokenRequest, float], VerifyTokenResponse]
"""Call VerifyToken with a timeout in seconds; raises CallFailed."""
BeginMany = Callable[[BatchVerifyTokensRequest, float], Any]
"""Begin BatchVerifyTokens with a timeout in seconds; returns gRPC's future of it."""


class _Item:
    """A caller."""

    __slots__ = ("answer", "deadline", "request")

    def __init__(self, request: VerifyTokenRequest, deadline: float) -> None:
        self.request = request
        self.answer: Future[VerifyTokenResponse] = Future()
        self.deadline = deadline


class BlockingCoalescer:
    """Gathers checks of many threads."""

    def __init__(
        self,
        *,
        one: SendOne,
        many: BeginMany,
        clock: Clock,
        most_calls: int = 4,
        most_in_batch: int = MOST_IN_BATCH,
    ) -> None:
        self._one = one
        self._many = many
        self._clock = clock
        self._most_calls = most_calls
        self._most_in_batch = most_in_batch
        self._changing = threading.Lock()
        self._waiting: deque[_Item] = deque()
        self._calls = 0

    def ask(self, request: VerifyTokenRequest, *, timeout_s: float) -> VerifyTokenResponse:
        """
        Return the server's answer to *request*.

        Raises:
            CallFailed: there is none.

        """
        with self._changing:
            alone = not self._calls and not self._waiting
            if alone:
                self._calls += 1
            else:
                item = _Item(request, self._clock.elapsed_s() + timeout_s)
                self._waiting.append(item)
        if alone:
            try:
                return self._one(request, timeout_s)
            finally:
                self._ended()
        self._go_on()
        return self._wait(item, timeout_s)

    def _wait(self, item: _Item, timeout_s: float) -> VerifyTokenResponse:
        try:
            return item.answer.result(min(timeout_s, PATIENCE_S))
        except TimeoutError:
            # The calls on their way take long: they need not hold up this one.
            self._go_on(impatient=True)
        try:
            return item.answer.result(max(item.deadline - self._clock.elapsed_s(), 0.0))
        except TimeoutError:
            item.answer.cancel()
            raise LibraryError(grpc.StatusCode.DEADLINE_EXCEEDED) from None

    def _ended(self) -> None:
        with self._changing:
            self._calls -= 1
        self._go_on()

    def _go_on(self, *, impatient: bool = False) -> None:
        """Begin a call if one is due."""
        with self._changing:
            overlaps = self._calls < self._most_calls and (impatient or len(self._waiting) >= FULL)
            if self._calls and not overlaps:
                return
            batch = self._take()
            if not batch:
                return
            self._calls += 1
        self._begin(batch)

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

    def _begin(self, batch: list[_Item]) -> None:
        """Begin a call that is counted already."""
        left_s = max(item.deadline for item in batch) - self._clock.elapsed_s()
        request = BatchVerifyTokensRequest(requests=[item.request for item in batch])
        try:
            call = self._many(request, max(left_s, 0.001))
            call.add_done_callback(lambda done: self._finish(batch, done))
        except Exception as error:  # noqa: BLE001 - a closed channel raises ValueError; nobody may wait for ever
            failed = LibraryError(grpc.StatusCode.CANCELLED) if isinstance(error, ValueError) else error
            for item in batch:
                _fail(item, failed.again() if isinstance(failed, LibraryError) else failed)
            self._ended()

    def _finish(self, batch: Sequence[_Item], call: Any) -> None:
        """Hand out what a call brought."""
        halves: list[list[_Item]] = []
        try:
            reply = call.result()
        except grpc.RpcError as error:
            halves = _fail_all(batch, failure_of(error))
        except grpc.FutureCancelledError:
            _fail_all(batch, LibraryError(grpc.StatusCode.CANCELLED))
        else:
            if len(reply.responses) != len(batch):
                _fail_all(batch, LibraryError(grpc.StatusCode.INTERNAL))
            else:
                for item, response in zip(batch, reply.responses, strict=True):
                    if item.answer.set_running_or_notify_cancel():
                        item.answer.set_result(response)
        with self._changing:
            self._calls += len(halves)
        for half in halves:
            self._begin(half)
        self._ended()


def _fail_all(batch: Sequence[_Item], failure: CallFailed) -> list[list[_Item]]:
    """Fail all, or, where one of them is to blame, return the halves that are to be asked again."""
    if failure.blames_request and len(batch) > 1:
        middle = len(batch) // 2
        return [list(batch[:middle]), list(batch[middle:])]
    for item in batch:
        _fail(item, failure.again())
    return []


def _fail(item: _Item, error: Exception) -> None:
    if item.answer.set_running_or_notify_cancel():
        item.answer.set_exception(error)
