"""How a call to WeChat ended, and how far it had come. Values only."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from authsvc.domain.errors import WeChatUnavailable
from authsvc.wechat.errcodes import FaultGroup
from authsvc.wechat.send_once import SendOnce, fault_level

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict(Generic[T]):
    """
    How a call ended: with a value, or with `fail`, which makes its error afresh for each who waits for it.

    `healthy` is what the breaker learns: True, WeChat works; False, a transient fault; None, nothing either way.
    """

    outcome: str
    level: str
    healthy: bool | None
    value: T | None = field(default=None, repr=False)
    fail: Callable[[], Exception] | None = field(default=None, repr=False)
    errcode: int = 0
    rid: str = ""
    fault: str = ""

    def unwrap(self) -> T:
        """
        Return the value, or raise the error.

        To be called where no other exception is being handled: nothing of the transport may hang on its __context__.
        """
        if self.fail is not None:
            raise self.fail() from None
        assert self.value is not None, "a verdict without an error has a value"
        return self.value


@dataclass(slots=True)
class Trip:
    """
    One call under way, and how far it has come; read also when it was cut short.

    `until` is on the event loop's clock, the only one a socket can be waited on with.
    """

    until: float
    guard: SendOnce = field(default_factory=SendOnce)
    host: str = ""
    hosts_tried: int = 0


def deadline(patience: timedelta) -> float:
    """Return the end of *patience* from now, on the event loop's clock."""
    return asyncio.get_running_loop().time() + patience.total_seconds()


def refuse(fault: str, *, wait: timedelta = timedelta(seconds=1), healthy: bool | None = None) -> Verdict[T]:
    """Return the verdict of a call that provably was not written."""
    return Verdict(
        FaultGroup.UNAVAILABLE.value,
        fault_level(fault),
        healthy=healthy,
        fail=lambda: WeChatUnavailable(f"not sent: {fault}", retry_after=wait),
        fault=fault,
    )
