"""
The access_token of one app: kept while it lives, fetched once however many ask, replaced before it dies.

What is not here: where a token comes from (`token_sources`), and what a refused one looks like (`errcodes`). It is
never force-refreshed: stable_token in normal mode needs no lock between processes (facts page 2.2, 2.3).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from authsvc.domain.errors import WeChatUnavailable
from authsvc.ports import Clock, Entropy
from authsvc.wechat.api_replies import FetchedToken
from authsvc.wechat.background import Background
from authsvc.wechat.verdicts import Verdict

# WeChat makes the next token this long before the old one dies, and both work meanwhile (facts page 2.2).
_AHEAD: Final = timedelta(minutes=5)
# So that the processes of a fleet don't all ask at once.
_JITTER: Final = timedelta(minutes=1)
# After a refresh that failed while the old token still works.
_PAUSE: Final = timedelta(seconds=10)

Fetch = Callable[[], Awaitable[Verdict[FetchedToken]]]


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """
    One fetched token. Two fetches are two, even where WeChat gave the same text again.

    `refresh_at` and `dead_at` are on the clock's `elapsed`.
    """

    text: str = field(repr=False)
    refresh_at: float
    dead_at: float


class AccessTokens:
    """Hands out the app's token; at most one fetch is under way at any time."""

    def __init__(
        self,
        *,
        fetch: Fetch,
        clock: Clock,
        entropy: Entropy,
        background: Background,
        held: AccessToken | None = None,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._entropy = entropy
        self._background = background
        self._held = held
        self._fetching: asyncio.Task[Verdict[AccessToken]] | None = None
        self._paused_until = 0.0

    @property
    def held(self) -> AccessToken | None:
        """The token that is kept, dead or alive."""
        return self._held

    async def get(self, *, until: float) -> AccessToken:
        """
        Return a token that has not expired, waiting for one at most until *until* on the event loop's clock.

        One that is near its end is returned while its successor is fetched in the background.

        Raises:
            WeChatUnavailable, WeChatThrottled, WeChatMisconfigured: none could be had; nothing else was sent.

        """
        now = self._clock.elapsed()
        held = self._held
        if held is not None and now < held.dead_at:
            if now >= max(held.refresh_at, self._paused_until) and self._fetching is None:
                self._begin()
            return held
        fetching = self._fetching or self._begin()
        left = max(until - asyncio.get_running_loop().time(), 0)
        await asyncio.wait([fetching], timeout=left)
        if not fetching.done() or fetching.cancelled():
            raise WeChatUnavailable("not sent: no access_token in time")
        return fetching.result().unwrap()

    def expire(self, refused: AccessToken) -> None:
        """Forget *refused* if it is still the one that is kept; whoever saw an older one fail changes nothing."""
        if self._held is refused:
            self._held = None

    def _begin(self) -> asyncio.Task[Verdict[AccessToken]]:
        self._fetching = self._background.start(self._refresh())
        return self._fetching

    async def _refresh(self) -> Verdict[AccessToken]:
        asked_at = self._clock.elapsed()
        try:
            verdict = await self._fetch()
            if verdict.value is None:
                self._paused_until = self._clock.elapsed() + _PAUSE.total_seconds()
                return Verdict(verdict.outcome, verdict.level, healthy=verdict.healthy, fail=verdict.fail)
            self._held = self._token(verdict.value, asked_at=asked_at)
            return Verdict(verdict.outcome, verdict.level, healthy=True, value=self._held)
        finally:
            self._fetching = None

    def _token(self, fetched: FetchedToken, *, asked_at: float) -> AccessToken:
        # Asked too early WeChat gives the same token again, so one with little left is kept for half of that.
        ahead = min(_AHEAD + self._entropy.fraction() * _JITTER, fetched.lifetime / 2)
        return AccessToken(
            text=fetched.text,
            refresh_at=asked_at + (fetched.lifetime - ahead).total_seconds(),
            dead_at=asked_at + fetched.lifetime.total_seconds(),
        )
