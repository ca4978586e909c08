"""The real store with scripted faults laid over it: errors before or after the real call, calls held at a gate."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Store


@dataclass(slots=True)
class Gate:
    """Where a call stands until the test opens; `reached` is set once a call has come."""

    after: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        self._opened.set()

    async def hold(self) -> None:
        self.reached.set()
        await self._opened.wait()


@dataclass(slots=True)
class _Fault:
    error: Exception
    after: bool


class FaultyStore:
    """
    Delegates everything; `calls` counts what was asked for, whether or not it got through.

    A fault or gate is used up by one call, the oldest first. `down` fails every call until it is lifted.
    """

    def __init__(self, real: Store) -> None:
        self.real = real
        self.calls: Counter[str] = Counter()
        self.down = False
        self._faults: dict[str, deque[_Fault]] = defaultdict(deque)
        self._gates: dict[str, deque[Gate]] = defaultdict(deque)
        self._made: list[Gate] = []

    def as_store(self) -> Store:
        """This, as what it stands for: the methods are made on the fly."""
        return cast(Store, self)

    def fail(self, method: str, error: Exception | None = None, *, after: bool = False) -> None:
        """Make the next call of *method* raise, before the real one or after it took effect."""
        self._faults[method].append(_Fault(error or StoreUnavailable("scripted"), after))

    def hold(self, method: str, *, after: bool = False) -> Gate:
        """Make the next call of *method* wait at the gate, before the real one or after it took effect."""
        gate = Gate(after)
        self._gates[method].append(gate)
        self._made.append(gate)
        return gate

    def let_through(self) -> None:
        """Open every gate there is, so that a test that failed half-way can be cleaned up."""
        for gate in self._made:
            gate.open()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        real = getattr(self.real, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.down:
                raise StoreUnavailable("scripted: down")
            gate = self._gates[name].popleft() if self._gates[name] else None
            fault = self._faults[name].popleft() if self._faults[name] else None
            if gate is not None and not gate.after:
                await gate.hold()
            if fault is not None and not fault.after:
                raise fault.error
            result = await real(*args, **kwargs)
            if gate is not None and gate.after:
                await gate.hold()
            if fault is not None:
                raise fault.error
            return result

        return call
