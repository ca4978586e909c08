"""Waiting that an injected clock bounds, and work that a departing caller cannot cut in half."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from authsvc.ports import Clock

T = TypeVar("T")


async def wait_within(future: "asyncio.Future[Any]", *, clock: Clock, limit: timedelta) -> bool:
    """Return True as soon as *future* is done, False when *limit* has passed first; *future* is never cancelled."""
    if future.done():
        return True
    if limit <= timedelta(0):
        return False
    timer = asyncio.ensure_future(clock.sleep(limit))
    try:
        await asyncio.wait({future, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return future.done()


class Unbroken:
    """
    Runs writes to their end whatever becomes of their caller.

    A client's deadline cancels the handler in mid-write (pitfalls page, gRPC): the work goes on as a task of its
    own, held here until it is done, and the cancellation is re-raised to the handler at once.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the work's result; if the caller is cancelled meanwhile, the work still completes."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start the work as a task that nobody needs to await."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def drained(self) -> None:
        """Return when everything that was started has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _finished(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that an orphan's failure is no "never retrieved" noise
