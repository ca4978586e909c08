"""
Where the keys come from: GetJwks, read in the background ahead of its `max_age`, and at once for an unknown key.

One read is in flight at a time. A read that fails leaves the last good keys as they are, however old. Unknown key ids
cost at most one read in ten seconds, whatever their number and that of the callers; that gap is also all the negative
cache there is, because "unknown" may be said only by a read that began after the token arrived.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from authapi.v1 import GetJwksResponse
from authsvc_client._clock import Clock
from authsvc_client.connection import Unanswered
from authsvc_client.hooks import Hooks
from authsvc_client.signatures import KeySet, UnreadableKeys, read_key_set

_log = logging.getLogger("authsvc_client")
_GAP_S = 10.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0
# A server's max_age outside of this would mean a read per token, or none in a day.
_SHORTEST_AGE_S, _LONGEST_AGE_S = 20.0, 86_400.0
_NEVER = float("-inf")


class KeySource:
    """`current` is the last good key set, None before the first; `read_from` is when its read began (elapsed clock)."""

    def __init__(
        self, *, fetch: Callable[[], Awaitable[GetJwksResponse]], clock: Clock, hooks: Hooks
    ) -> None:
        self.current: KeySet | None = None
        self.read_from = _NEVER
        self.first_read = asyncio.Event()
        self._fetch = fetch
        self._clock = clock
        self._hooks = hooks
        self._began_at = _NEVER
        self._max_age_s = _SHORTEST_AGE_S
        self._withdrawn: frozenset[str] = frozenset()
        self._reading: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        """Read now, and again ahead of every `max_age`, until cancelled; failures are tried again ever more slowly."""
        retry_s = _FIRST_RETRY_S
        while True:
            if await asyncio.shield(self._read_shared()):
                retry_s = _FIRST_RETRY_S
                # Between half and nine tenths: replicas that started together do not ask together for long.
                await self._clock.sleep(self._max_age_s * (0.5 + 0.4 * self._clock.fraction()))
            else:
                await self._clock.sleep(retry_s * (0.5 + 0.5 * self._clock.fraction()))
                retry_s = min(retry_s * 2, _LONGEST_RETRY_S)

    def close(self) -> None:
        """Give up a read in flight."""
        if self._reading is not None:
            self._reading.cancel()

    def wants_reading(self) -> bool:
        """Tell whether an unknown key would be waited for: a read is in flight, or one may begin."""
        return self._is_reading() or self._clock.elapsed_s() - self._began_at >= _GAP_S

    async def look_again(self) -> None:
        """Return when the read in flight has ended, or a new one if the last began 10 s ago; else at once."""
        if self.wants_reading():
            await asyncio.shield(self._read_shared())

    def request(self) -> None:
        """Begin a read if one may begin, and wait for nothing. On the verifier's loop only."""
        if self.wants_reading():
            self._read_shared()

    def retry_after_s(self) -> float:
        """Return in how many seconds an unknown key may be looked for again."""
        return max(self._began_at + _GAP_S - self._clock.elapsed_s(), 0.0)

    def _is_reading(self) -> bool:
        return self._reading is not None and not self._reading.done()

    def _read_shared(self) -> "asyncio.Task[bool]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read())
        return self._reading

    async def _read(self) -> bool:
        self._began_at = began_at = self._clock.elapsed_s()
        try:
            answer = await self._fetch()
            # Withdrawal is for good, even if the rest of the answer is unusable.
            self._withdrawn |= frozenset(answer.withdrawn_key_ids)
            keys = read_key_set(
                answer.jwks_json,
                issuer=answer.issuer,
                max_lifetime_s=answer.max_token_lifetime.seconds + answer.max_token_lifetime.nanos / 1e9,
                withdrawn=self._withdrawn,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good keys stay
            if not isinstance(error, (Unanswered, UnreadableKeys)):
                _log.exception("reading the keys failed")
            if self.current is not None and not self._withdrawn <= self.current.withdrawn:
                self.current = self.current.without(self._withdrawn)
            self._hooks.keys_read(ok=False)
            return False
        self.current, self.read_from = keys, began_at
        self.first_read.set()
        self._max_age_s = min(max(answer.max_age.seconds, _SHORTEST_AGE_S), _LONGEST_AGE_S)
        self._hooks.keys_read(ok=True)
        return True
