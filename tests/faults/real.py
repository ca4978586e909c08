"""The real clock and the dice of the harness: the one file here that touches them, because real processes are measured."""

import asyncio
import random  # noqa: TID251 - see above
import threading
import time
from typing import Self

from tests.faults.history import Interval

_STEP_S = 0.005
# A gap below this is ordinary scheduling; above it the machine stood still for us, and so perhaps for the servers.
_STALL_S = 0.05


Dice = random.Random


def dice(seed: int) -> Dice:
    """Return dice that fall alike for the same seed."""
    return Dice(seed)


def now() -> float:
    """Return seconds on the monotonic clock."""
    return time.monotonic()  # noqa: TID251 - see above


def wall() -> float:
    """Return seconds since 1970, as tokens count them."""
    return time.time()  # noqa: TID251 - see above


async def pause(seconds: float) -> None:
    """Let *seconds* pass, while others run."""
    await asyncio.sleep(seconds)  # noqa: TID251 - see above


class Stalls:
    """Records when this machine did nothing for us although we wanted to run; `intervals` grows while it is open."""

    def __init__(self, intervals: list[Interval]) -> None:
        self._intervals = intervals
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            began = now()
            self._over.wait(_STEP_S)
            if now() - began > _STALL_S:
                self._intervals.append(Interval(began, now()))
