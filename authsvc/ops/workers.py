"""What operators are told of several processes at once: each is asked over its own listener, and the answers merged."""

import asyncio
import contextlib
import functools
import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path

import aiohttp

from authsvc.ops.server import Exposition, Probe
from authsvc.telemetry import Page, Totals

# A healthy process answers in milliseconds; a frozen one must not freeze the page.
_PATIENCE = timedelta(seconds=1)
_OWNER = "supervisor"
# For the last words of so many predecessors per name we look out: crashed ones leave none.
_AWAITED = 4


class Unanswered(Exception):
    """A process did not answer in time, or at all."""


class Workers:
    """
    One page of metrics and one readiness over supervised processes.

    *members* tells, whenever asked, the address of each one's own listener by name, None while it does not serve.
    The metrics are those of the *metered* ones and our *own*.
    """

    def __init__(
        self,
        members: Callable[[], Mapping[str, str | None]],
        *,
        metered: Collection[str],
        own: Exposition,
    ) -> None:
        self._members = members
        self._metered = frozenset(metered)
        self._own = own
        self._totals = Totals()
        self._addresses: dict[str, str] = {}
        self._left: list[str] = []
        self._one_at_a_time = asyncio.Lock()  # or an older answer could be merged after a newer one

    async def exposition(self) -> tuple[bytes, str]:
        """Return the metrics of all who answer, merged, and their media type."""
        async with self._one_at_a_time:
            members = self._members()
            asked = {name: address for name, address in members.items() if address and name in self._metered}
            answers = await asyncio.gather(*(self._page(address) for address in asked.values()))
            self._take_last_words(asked)
            pages = {name: page for name, page in zip(asked, answers, strict=True) if page is not None}
            own, content_type = await self._own()
            return self._totals.merge(own, pages, owner=_OWNER), content_type

    def probes(self) -> dict[str, Probe]:
        """Return what `/readyz` asks: every process by its name."""
        return {name: functools.partial(self._ready, name) for name in self._members()}

    def notices(self) -> dict[str, Probe]:
        """Return what the processes tell beside, each by its name."""
        return {name: functools.partial(self._degraded, name) for name in self._members()}

    async def _page(self, address: str) -> Page | None:
        try:
            status, body = await ask(address, "/metrics")
        except Unanswered:
            return None
        return Page(process=address, text=body) if status == 200 else None

    def _take_last_words(self, members: Mapping[str, str]) -> None:
        for name, address in members.items():
            before = self._addresses.get(name, address)
            self._addresses[name] = address
            if before != address:
                self._left.append(before)
        for address in tuple(self._left):
            # Only who was told to stop leaves any, once the last call is answered.
            with contextlib.suppress(OSError):
                self._totals.take(Page(process=address, text=last_words(address).read_bytes()))
                self._left.remove(address)
                self._totals.settle(address)
        while len(self._left) > _AWAITED * len(self._metered):
            self._totals.settle(self._left.pop(0))

    async def _ready(self, name: str) -> str:
        address = self._members()[name]
        if address is None:
            return "does not serve"
        try:
            status, body = await ask(address, "/readyz")
        except Unanswered:
            return "does not answer"
        if status == 200:
            return ""
        try:
            missing: dict[str, str] = json.loads(body)["missing"]
            return "; ".join(f"{part}: {said}" for part, said in missing.items())
        except (ValueError, LookupError, AttributeError):
            return "is not ready"

    async def _degraded(self, name: str) -> str:
        address = self._members()[name]
        if address is None:
            return ""
        try:
            _, body = await ask(address, "/readyz")
            degraded: dict[str, str] = json.loads(body).get("degraded", {})
            return "; ".join(f"{part}: {said}" for part, said in degraded.items())
        except (Unanswered, ValueError, AttributeError):
            return ""  # that it is not ready is told already


def last_words(address: str) -> Path:
    """Where a process that listens at *address* leaves its metrics when it ends in good order."""
    return Path(f"{address.removeprefix('unix:')}.last")


async def ask(address: str, path: str) -> tuple[int, bytes]:
    """
    Return status and body of what the listener at *address* (`unix:` and a path, or a base URL) says.

    Raises:
        Unanswered: nothing came within a second.

    """
    unix = address.removeprefix("unix:")
    connector: aiohttp.BaseConnector
    if unix == address:
        connector, base = aiohttp.TCPConnector(), address
    else:
        connector, base = aiohttp.UnixConnector(unix), "http://localhost"
    limit = aiohttp.ClientTimeout(total=_PATIENCE.total_seconds())
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit) as session,
            session.get(base + path) as response,
        ):
            return response.status, await response.read()
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        raise Unanswered from error
