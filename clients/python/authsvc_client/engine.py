"""
The verifier without its surroundings: local judgement, the tasks that keep it current, and the policy when it is not.

`decide` may be called from any thread; the rest belongs to the loop that `start` ran on. `Verifier` and `SyncVerifier`
put a channel, a loop or a thread around it.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any

from authsvc_client._clock import Clock
from authsvc_client.asking import Asker
from authsvc_client.cache import AtHand, TokenCache
from authsvc_client.connection import Calls
from authsvc_client.freshness import Freshness
from authsvc_client.hooks import Hooks
from authsvc_client.judgement import (
    MALFORMED,
    UNKNOWN_KEY,
    Demand,
    ascii_of,
    believe,
    find_dead,
    judge_demand,
)
from authsvc_client.keys import KeySource
from authsvc_client.revocations import RevocationView
from authsvc_client.settings import LEEWAY_S, Settings
from authsvc_client.signatures import NO_KEYS, KeySet
from authsvc_client.verdicts import Active, CannotKnow, Cause, Inactive, Verdict
from authsvc_client.watching import Watcher

_HOUSEKEEPING_S = 60.0
# Facts and tokens past their use are forgotten at least this often, however little is new.
_TIDY_EVERY = 10


class Engine:
    """One verifier. *calls* is its way to the server."""

    def __init__(
        self, *, calls: Calls, audience: str, settings: Settings, hooks: Hooks, clock: Clock
    ) -> None:
        self.settings = settings
        self.view = RevocationView()
        self.freshness = Freshness(clock=clock, hard_bound_s=settings.hard_bound.total_seconds())
        self.cache = TokenCache(max_bytes=settings.cache_bytes)
        fetch_timeout_s = settings.fetch_timeout.total_seconds()
        self.keys = KeySource(
            fetch=lambda: calls.get_jwks(timeout_s=fetch_timeout_s), clock=clock, hooks=hooks
        )
        self._audience = audience
        self._plain = Demand(audience)
        self._clock = clock
        self._hooks = hooks
        self._watcher = Watcher(
            calls=calls, view=self.view, freshness=self.freshness, clock=clock, hooks=hooks
        )
        self._asker = Asker(
            calls=calls,
            clock=clock,
            hooks=hooks,
            timeout_s=settings.ask_timeout.total_seconds(),
            most_waiting=settings.asks_waiting,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return bool(self._tasks)

    @property
    def is_ready(self) -> bool:
        """Whether keys and a complete snapshot were read, and it is fresh."""
        return self.keys.current is not None and self.freshness.is_fresh()

    def demand(self, audience: str | None, scopes: Iterable[str], roles: Iterable[str]) -> Demand:
        """Return what a call asks for."""
        if audience is None and scopes == () and roles == ():
            return self._plain
        return Demand(audience or self._audience, tuple(scopes), tuple(roles))

    def start(self) -> None:
        """Begin to read keys and revocations."""
        self._tasks = [
            asyncio.ensure_future(work) for work in (self.keys.run(), self._watcher.run(), self._keep_house())
        ]

    async def stop(self) -> None:
        """End all work."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self.keys.close()
        self._asker.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until_ready(self, wait: timedelta) -> bool:
        """Return whether it was ready within *wait*."""
        return await self._within(wait, self._ready())

    async def wait_for(self, position: int, timeout: timedelta) -> bool:  # noqa: ASYNC109 - on the injected clock
        """Return whether everything up to *position* was known within *timeout*."""
        return await self._within(timeout, self._reached(position))

    def decide(self, token: str, demand: Demand, *, though_stale: bool = False) -> Verdict | Cause:
        """Judge by what is known here; a Cause where that does not do. Waits for nothing."""
        if not self._tasks:
            return Cause.CLOSED
        keys, now_s = self.keys.current or NO_KEYS, self._clock.now_s()
        hand = self.cache.at_hand(token)
        if (
            hand is not None
            and hand.version == self.view.version
            and hand.keys is keys
            and hand.since <= now_s < hand.until
        ):
            active = hand.token.active
        else:
            found = self._find(token, keys, now_s)
            if not isinstance(found, Active):
                return found
            active = found
        # From here on the verdict rests on nothing having been revoked meanwhile.
        if not though_stale:
            if not self.freshness.is_fresh():
                return Cause.STALE if self.freshness.is_known else Cause.NO_SNAPSHOT
            if self.view.has_unknown:
                return Cause.UNKNOWN_FACT
        return judge_demand(active, demand)

    def _find(self, token: str, keys: KeySet, now_s: float) -> Verdict | Cause:
        """Judge all of a token but the demand: as it was verified before, or verifying it now."""
        raw = ascii_of(token)
        if raw is None:
            return MALFORMED
        digest, version = hashlib.sha256(raw).digest(), self.view.version
        known = self.cache.get(digest)
        if known is None:
            judged = believe(raw, keys=keys, view=self.view, now_s=now_s)
            if isinstance(judged, Inactive):
                return Cause.UNKNOWN_KEY if judged is UNKNOWN_KEY else judged
            self.cache.put(digest, judged, length=len(raw))
            return self.view.death_of(judged) or judged.active
        dead = find_dead(known, keys=keys, view=self.view, now_s=now_s)
        if dead is not None:
            return dead
        since, until = known.not_before - LEEWAY_S, known.claims.expires_at + LEEWAY_S
        self.cache.keep_at_hand(token, AtHand(known, keys, version, since, until))
        return known.active

    async def verify(self, token: str, demand: Demand) -> Verdict:
        """
        Judge a token: here where possible, else by the policy.

        Raises:
            CannotKnow: it cannot be decided.

        """
        arrived_at = self._clock.elapsed_s()
        outcome = self.decide(token, demand)
        if outcome is Cause.UNKNOWN_KEY:
            await self.keys.look_again()
            outcome = self.decide(token, demand)
            if outcome is Cause.UNKNOWN_KEY and self.keys.read_from >= arrived_at:
                outcome = UNKNOWN_KEY
        if isinstance(outcome, Cause):
            return await self._by_policy(outcome, token, demand)
        self._hooks.verdict(outcome, by="local")
        return outcome

    def check(self, token: str, demand: Demand) -> Verdict:
        """
        Judge a token by what is known here, with the policy as far as it needs no wait.

        Raises:
            CannotKnow: `verify` may still find out.

        """
        outcome = self.decide(token, demand)
        if isinstance(outcome, Cause):
            opened = self._open(outcome, token, demand)
            if opened is None:
                raise self.cannot_know(outcome)
            return opened
        self._hooks.verdict(outcome, by="local")
        return outcome

    def cannot_know(self, cause: Cause) -> CannotKnow:
        """Return the exception for a cause, and report it."""
        self._hooks.cannot_know(cause)
        if cause is Cause.UNKNOWN_KEY:
            retry_after = timedelta(seconds=max(self.keys.retry_after_s(), 1.0))
            return CannotKnow(cause, retry_after=retry_after)
        return CannotKnow(cause)

    async def _by_policy(self, cause: Cause, token: str, demand: Demand) -> Verdict:
        opened = self._open(cause, token, demand)
        if opened is not None:
            return opened
        answered = await self._ask(cause, token, demand)
        if answered is None:
            raise self.cannot_know(cause)
        self._hooks.verdict(answered, by="server")
        return answered

    def _open(self, cause: Cause, token: str, demand: Demand) -> Verdict | None:
        """Judge by the keys alone, where that was asked for by name."""
        if self.settings.when_stale != "accept" or cause in {Cause.UNKNOWN_KEY, Cause.CLOSED}:
            return None
        verdict = self.decide(token, demand, though_stale=True)
        if isinstance(verdict, Cause):
            return None
        self._hooks.verdict(verdict, by="open")
        return verdict

    async def _ask(self, cause: Cause, token: str, demand: Demand) -> Verdict | None:
        """Ask the server, unless it would know no better."""
        if self.settings.when_stale != "ask" or cause is Cause.CLOSED:
            return None
        if cause is Cause.UNKNOWN_KEY and self.keys.current is not None:
            return None  # a flood of random key ids must not become one of questions
        bound_s = self.settings.hard_bound.total_seconds()
        if cause is Cause.STALE and self._watcher.server_is_stale(bound_s):
            return None
        answer = await self._asker.ask(token, demand)
        if answer is None:
            return None
        # Knowledge beyond the bound decides nothing, whoever's it is.
        return answer.verdict if answer.age_s <= bound_s else None

    async def _ready(self) -> None:
        await self.keys.first_read.wait()
        while not self.freshness.is_fresh():
            with self.freshness.next_move() as moved:
                await moved

    async def _reached(self, position: int) -> None:
        while self.freshness.position < position:
            with self.freshness.next_move() as moved:
                await moved

    async def _within(self, span: timedelta, work: Coroutine[Any, Any, None]) -> bool:
        """Return whether *work* ended within *span* on the injected clock."""
        working = asyncio.ensure_future(work)
        await asyncio.wait({working}, timeout=0)
        timer = asyncio.ensure_future(self._clock.sleep(span.total_seconds()))
        try:
            await asyncio.wait({working, timer}, return_when=asyncio.FIRST_COMPLETED)
            return working.done()
        finally:
            working.cancel()
            timer.cancel()

    async def _keep_house(self) -> None:
        rounds = 0
        while True:
            await self._clock.sleep(_HOUSEKEEPING_S)
            rounds += 1
            now_s = self._clock.now_s()
            if self.view.is_untidy or rounds % _TIDY_EVERY == 0:
                for _ in self.view.tidy(now_s=now_s):
                    await asyncio.sleep(0)  # noqa: TID251 - lets others have their turn, waits for nothing
            self.cache.sweep(expired_at=now_s - LEEWAY_S)
