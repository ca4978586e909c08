"""
What a refused AppSecret leads to: the app's other secret is probed, and used if it is the right one.

The probe is stable_token, which costs no login code (DESIGN section 6): a token switches the app, 40125 does not, any
other answer puts the other secret on trial, and the next login finds out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from authsvc.domain.errors import LoginCodeSpent, WeChatMisconfigured
from authsvc.ports import Event, Observer
from authsvc.wechat.api_replies import FetchedToken
from authsvc.wechat.app_secrets import AppSecrets, Secret
from authsvc.wechat.background import Background
from authsvc.wechat.errcodes import INVALID_SECRET
from authsvc.wechat.verdicts import Verdict

Ask = Callable[[Secret], Awaitable[Verdict[FetchedToken]]]
"""Asks WeChat for a token with this secret."""


class Rotation:
    """The two secrets of one app in this process; concurrent refusals share one probe."""

    def __init__(
        self, app_id: str, secrets: AppSecrets, *, ask: Ask, observer: Observer, background: Background
    ) -> None:
        self._app_id = app_id
        self.secrets = secrets
        self._ask = ask
        self._observer = observer
        self._background = background
        self._probing: asyncio.Task[Verdict[FetchedToken]] | None = None

    def accepted(self, used: Secret, *, because: str) -> None:
        """Note that WeChat works with *used*."""
        if self.secrets.confirm(used):
            self._told(used, because)

    async def after_refusal(self, refused: Secret, *, until: float) -> Exception:
        """
        Return the error of a login whose secret was refused with 40125, once the other secret was probed.

        LoginCodeSpent where a new code may work, WeChatMisconfigured where it can't. *until* is on the event loop's
        clock; a probe that takes longer goes on by itself.
        """
        if self._is_final(refused):
            return WeChatMisconfigured(self._app_id, INVALID_SECRET)
        if self.secrets.active is refused:
            probe = self._probe(refused)
            left = timedelta(seconds=max(until - asyncio.get_running_loop().time(), 0))
            await asyncio.wait([probe], timeout=left.total_seconds())
            if probe.done() and not probe.cancelled() and self.secrets.active is refused:
                return WeChatMisconfigured(self._app_id, INVALID_SECRET)
        return LoginCodeSpent("sent with a secret that is no longer valid")

    async def fetch(self) -> Verdict[FetchedToken]:
        """Return WeChat's answer to a request for a token, with the secret that it accepts."""
        used = self.secrets.active
        verdict = await self._ask(used)
        if verdict.value is not None:
            self.accepted(used, because="token")
        if verdict.errcode != INVALID_SECRET or self._is_final(used):
            return verdict
        if self.secrets.active is used:
            return await asyncio.shield(self._probe(used))
        return await self._ask(self.secrets.active)

    def _is_final(self, refused: Secret) -> bool:
        """Tell whether there is nothing left to try after this refusal; a trial that failed is over."""
        if self.secrets.active is not refused:
            return False
        if self.secrets.on_trial:
            self.secrets.give_up(refused)
            return True
        return self.secrets.other is None

    def _probe(self, refused: Secret) -> asyncio.Task[Verdict[FetchedToken]]:
        if self._probing is None:
            other = self.secrets.other
            assert other is not None, "there is another secret to probe"
            self._probing = self._background.start(self._find_out(refused, other))
        return self._probing

    async def _find_out(self, refused: Secret, other: Secret) -> Verdict[FetchedToken]:
        try:
            verdict = await self._ask(other)
            if verdict.value is not None:
                if self.secrets.switch(refused, trial=False):
                    self._told(other, "probe")
            elif verdict.errcode != INVALID_SECRET:
                self.secrets.switch(refused, trial=True)
            return verdict
        finally:
            self._probing = None

    def _told(self, used: Secret, because: str) -> None:
        self._observer.event(
            Event(
                "wechat.secret_switched",
                "warning",
                {"app_id": self._app_id, "to": used.name, "because": because},
            )
        )
