"""
The one valid session_key a user has in an app: when it is replaced, and when it ends.

A new login code may replace it, but not more often than the minimum interval; whoever resets it gets a
new one with the old one's end (facts/wechat-api.md sections 3.3 and 5.2). The key before it is remembered, because
data encrypted with it may still arrive.
"""

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.dice import Dice

KEY_INTERVAL: Final = timedelta(seconds=60)
KEY_LIFETIME: Final = timedelta(days=3)


@dataclass(slots=True)
class _Key:
    text: str = field(repr=False)
    made_at: datetime
    expires_at: datetime
    previous: str | None = field(default=None, repr=False)
    reset_at: datetime | None = None


class SessionKeys:
    """
    The session_keys by app and user.
    """

    def __init__(
        self,
        dice: Dice,
        *,
        interval: timedelta = KEY_INTERVAL,
        lifetime: timedelta = KEY_LIFETIME,
        reset_interval: timedelta = KEY_INTERVAL,
    ) -> None:
        """
        ``interval`` is the shortest time between two keys by login, ``reset_interval`` between two resets.
        """
        self.interval = interval
        self._dice = dice
        self._lifetime = lifetime
        self._reset_interval = reset_interval
        self._keys: dict[tuple[str, str], _Key] = {}

    def logged_in(self, app_id: str, *, user: str, now: datetime) -> None:
        """
        The user has a key that a login code just issued may hand out: the one they had, or a new one.
        """
        key = self._keys.get((app_id, user))
        if key is None or now - key.made_at >= self.interval or now >= key.expires_at:
            self.replace(app_id, user=user, now=now)

    def replace(self, app_id: str, *, user: str, now: datetime) -> str:
        """
        A new key with a whole lifetime, whatever the interval says; the old one is dead.
        """
        old = self._keys.get((app_id, user))
        fresh = _Key(self._fresh(), made_at=now, expires_at=now + self._lifetime)
        if old is not None:
            fresh.previous, fresh.reset_at = old.text, old.reset_at
        self._keys[app_id, user] = fresh
        return fresh.text

    def reset(self, app_id: str, *, user: str, now: datetime) -> str | None:
        """
        A new key that ends when the old one would have; None if the user's was reset too lately.

        The user must have a key.
        """
        key = self._keys[app_id, user]
        if key.reset_at is not None and now - key.reset_at < self._reset_interval:
            return None
        key.previous, key.text, key.reset_at, key.made_at = key.text, self._fresh(), now, now
        return key.text

    def expire(self, app_id: str, *, user: str, now: datetime) -> None:
        """
        The user's key, if there is one, ends now.
        """
        key = self._keys.get((app_id, user))
        if key is not None:
            key.expires_at = now

    def current(self, app_id: str, *, user: str) -> str | None:
        """
        The latest key, ended or not; None before the first code.
        """
        key = self._keys.get((app_id, user))
        return key.text if key is not None else None

    def previous(self, app_id: str, *, user: str) -> str | None:
        """
        The key before the latest.
        """
        key = self._keys.get((app_id, user))
        return key.previous if key is not None else None

    def live(self, app_id: str, *, user: str, now: datetime) -> str | None:
        """
        The latest key if it has not ended.
        """
        key = self._keys.get((app_id, user))
        return key.text if key is not None and now < key.expires_at else None

    def _fresh(self) -> str:
        return base64.b64encode(self._dice.roll(16)).decode("ascii")
