"""
Single-use codes: issued for a user of an app, alive for five minutes, used at most once.

Login codes, phone codes and plug-in codes are three separate instances, so one kind is unknown where
another is asked for (facts/wechat-api.md section 8, case 3).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.outcomes import require_text

_MAX_CODE_LENGTH: Final = 1024


class CodeTaken(ValueError):
    """
    A code with this text was minted before and has not expired yet.
    """


@dataclass(slots=True)
class IssuedCode:
    """
    One code's state. ``note`` is whatever its kind needs to remember.
    """

    app_id: str
    user: str
    expires_at: datetime
    note: str = ""
    used: bool = False


class SingleUseCodes:
    """
    The codes of one kind that have not expired.
    """

    def __init__(self, *, lifetime: timedelta) -> None:
        self._lifetime = lifetime
        self._codes: dict[str, IssuedCode] = {}

    def issue(self, code: str, *, app_id: str, user: str, now: datetime, note: str = "") -> None:
        """
        The code is alive for the lifetime; no other code dies by it.

        Raises:
            BadInput: the text cannot be used.
            CodeTaken: it is a code that has not expired.
        """
        require_text(code, what="code", limit=_MAX_CODE_LENGTH)
        # An expired code and an unknown one are answered alike, so the table stays as small as five
        # minutes of logins. Codes stand in the order they were minted, hence of their expiry.
        for old in [*_leading_expired(self._codes, now)]:
            del self._codes[old]
        known = self._codes.get(code)
        if known is not None and now < known.expires_at:
            raise CodeTaken("this code exists and has not expired")
        self._codes.pop(code, None)
        self._codes[code] = IssuedCode(app_id, user, expires_at=now + self._lifetime, note=note)

    def find(self, code: str, *, now: datetime) -> IssuedCode | None:
        """
        The code, used or not; None if it was never issued or has expired.
        """
        found = self._codes.get(code)
        return found if found is not None and now < found.expires_at else None


def _leading_expired(codes: dict[str, IssuedCode], now: datetime) -> Iterable[str]:
    for code, entry in codes.items():
        if now < entry.expires_at:
            return
        yield code
