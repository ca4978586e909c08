"""
Counting calls per minute and per day on the sandbox's clock.
"""

from datetime import datetime
from typing import Final

_MINUTE: Final = 60
_DAY: Final = 86_400
# WeChat's days begin at midnight in China.
_CHINA: Final = 8 * 3600


class Quota:
    """
    At most ``limit`` uses within each whole minute or China-time day.
    """

    def __init__(self, limit: int, *, daily: bool) -> None:
        self.limit = limit
        self._daily = daily
        self._window = -1
        self._used = 0

    def take(self, now: datetime) -> bool:
        """
        One more use, if there is one left.
        """
        if self.used(now) >= self.limit:
            return False
        self._used += 1
        return True

    def used(self, now: datetime) -> int:
        """
        The uses in the window that ``now`` lies in.
        """
        seconds = int(now.timestamp())
        window = (seconds + _CHINA) // _DAY if self._daily else seconds // _MINUTE
        if window != self._window:
            self._window, self._used = window, 0
        return self._used
