"""
Access tokens as WeChat hands them out: ``/cgi-bin/token`` and ``/cgi-bin/stable_token``, and what a token
presented to another endpoint is worth.

Tokens of the two families are separate and do not retire each other (facts/wechat-api.md section 2). Credentials
are judged before this, in ``cgi_bin``.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.dice import URL_SAFE, Dice
from authsvc.sandbox.outcomes import BadInput, Refusal
from authsvc.sandbox.quotas import Quota

TOKEN_LIFETIME: Final = timedelta(seconds=7200)
OVERLAP: Final = timedelta(seconds=300)
FORCE_GAP: Final = timedelta(seconds=30)
SHORTEST: Final = 136
LONGEST: Final = 512
_REMEMBERED: Final = timedelta(days=1)
_SHAPE: Final = re.compile(r"[0-9]{1,3}_[A-Za-z0-9_-]{100,}")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The call limits of one app; a test may set lower ones.
    """

    token_per_day: int = 2000
    stable_per_day: int = 500_000
    stable_per_minute: int = 10_000
    force_per_day: int = 20


@dataclass(frozen=True, slots=True)
class Grant:
    """
    A token and the whole seconds it still has.
    """

    access_token: str = field(repr=False)
    expires_in: int


@dataclass(slots=True)
class _Token:
    app_id: str
    text: str = field(repr=False)
    expires_at: datetime
    ends_at: datetime
    """Before ``expires_at`` where it was superseded or revoked."""


class _Ledger:
    """
    One app's tokens and what it has used of its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self.ordinary: _Token | None = None
        self.stable: _Token | None = None
        self.forced_at: datetime | None = None
        self.length = SHORTEST
        self.stuck = False
        self.token_day = Quota(limits.token_per_day, daily=True)
        self.stable_day = Quota(limits.stable_per_day, daily=True)
        self.stable_minute = Quota(limits.stable_per_minute, daily=False)
        self.force_day = Quota(limits.force_per_day, daily=True)


class AccessTokens:
    """
    Every app's access tokens.
    """

    def __init__(self, dice: Dice, *, limits: Limits | None = None) -> None:
        self._dice = dice
        chosen = limits or Limits()
        self._ledgers: defaultdict[str, _Ledger] = defaultdict(lambda: _Ledger(chosen))
        self._tokens: dict[str, _Token] = {}

    def ordinary(self, app_id: str, *, now: datetime) -> Grant | Refusal:
        """
        A new token at every call; the one before it works 300 s more (facts section 2.1).
        """
        ledger = self._ledgers[app_id]
        if not ledger.token_day.take(now):
            return Refusal(45009)
        if ledger.ordinary is not None:
            ledger.ordinary.ends_at = min(ledger.ordinary.ends_at, now + OVERLAP)
        ledger.ordinary = self._issue(app_id, now=now)
        return _grant(ledger.ordinary, now)

    def stable(self, app_id: str, *, force: bool, now: datetime) -> Grant | Refusal:
        """
        The same token while it has more than 300 s, else a new one while the old one runs out; with
        ``force`` a new one that kills the old at once, at most every 30 s and a few times a day
        (facts section 2.2).
        """
        ledger = self._ledgers[app_id]
        if not ledger.stable_minute.take(now):
            return Refusal(45011)
        if not ledger.stable_day.take(now):
            return Refusal(45009)
        current = ledger.stable
        if current is not None and (now >= current.ends_at or current.expires_at - now <= OVERLAP):
            current = None
        # Inside the gap a forced refresh is an ordinary one.
        if force and (ledger.forced_at is None or now - ledger.forced_at >= FORCE_GAP):
            if not ledger.force_day.take(now):
                return Refusal(45009)
            ledger.forced_at = now
            for token in self._of(app_id, stable=True):
                token.ends_at = min(token.ends_at, now)
            current = None
        if current is None:
            current = ledger.stable = self._issue(app_id, now=now, stable=True)
        return _grant(current, now)

    def judge(self, text: str | None, *, now: datetime) -> str | Refusal:
        """
        The app a token stands for; 41001 missing, 40014 malformed, 42001 expired, 40001 anything else.
        """
        if not text:
            return Refusal(41001)
        if not _SHAPE.fullmatch(text):
            return Refusal(40014)
        token = self._tokens.get(text)
        if token is None or self._ledgers[token.app_id].stuck:
            return Refusal(40001)
        if now < token.ends_at:
            return token.app_id
        return Refusal(42001 if token.ends_at == token.expires_at else 40001)

    def owner(self, text: str | None) -> str | None:
        """
        The app a token was made for, whatever it is worth now.
        """
        token = self._tokens.get(text) if text else None
        return token.app_id if token is not None else None

    def revoke(self, app_id: str, *, now: datetime) -> int:
        """
        Every live token of the app is worth 40001 from now on; how many those were.
        """
        live = [token for token in self._of(app_id) if now < token.ends_at]
        for token in live:
            token.ends_at = now
        return len(live)

    def set_stuck(self, app_id: str, *, stuck: bool) -> None:
        """
        While stuck, tokens are handed out as ever and every one of them is refused with 40001.
        """
        self._ledgers[app_id].stuck = stuck

    def is_stuck(self, app_id: str) -> bool:
        """
        Whether the app's tokens are refused.
        """
        return self._ledgers[app_id].stuck

    def set_length(self, app_id: str, length: int) -> None:
        """
        The app's next tokens have this many characters.

        Raises:
            BadInput: it lies outside 136 to 512.
        """
        if not SHORTEST <= length <= LONGEST:
            raise BadInput(f"token_length must lie between {SHORTEST} and {LONGEST}")
        self._ledgers[app_id].length = length

    def length(self, app_id: str) -> int:
        """
        How many characters the app's next tokens have.
        """
        return self._ledgers[app_id].length

    def _of(self, app_id: str, *, stable: bool = False) -> list[_Token]:
        mark = _MARKS[True]
        return [
            token
            for token in self._tokens.values()
            if token.app_id == app_id and (not stable or token.text.startswith(mark))
        ]

    def _issue(self, app_id: str, *, now: datetime, stable: bool = False) -> _Token:
        forgotten = [text for text, old in self._tokens.items() if now - old.expires_at > _REMEMBERED]
        for text in forgotten:
            del self._tokens[text]
        mark = _MARKS[stable]
        text = mark + self._dice.text(self._ledgers[app_id].length - len(mark), letters=URL_SAFE)
        expires_at = now + TOKEN_LIFETIME
        token = _Token(app_id, text, expires_at=expires_at, ends_at=expires_at)
        self._tokens[text] = token
        return token


# Real tokens begin with a number and an underscore; here it also tells the families apart.
_MARKS: Final = {False: "58_", True: "60_"}


def _grant(token: _Token, now: datetime) -> Grant:
    return Grant(token.text, expires_in=int((token.expires_at - now).total_seconds()))
