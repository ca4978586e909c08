"""
What arrived on the wire: one record per request, with a counter per code.

A test asks it whether a code was sent exactly once. A record is made before anything else happens to
the request, so a dropped or delayed one counts too. App secrets are masked on the way in; codes are
kept as they came, for here they are worth nothing.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote_plus

KEPT: Final = 10_000
_MASK: Final = "***"
_SECRET_PARAMETERS: Final = frozenset(
    {"secret", "appsecret", "access_token", "cloudbase_access_token", "signature"}
)
_MAX_TARGET: Final = 2048


@dataclass(slots=True)
class Arrival:
    """
    One request as it arrived. ``peer`` tells connections apart; ``fault`` and ``outcome`` are filled in
    as the request is served, ``outcome`` is ``pending`` until then.
    """

    number: int
    at: datetime
    method: str
    target: str
    app_id: str | None
    code: str | None
    peer: str | None
    fault: str | None = None
    outcome: str = "pending"


class Arrivals:
    """
    The last ``kept`` requests, oldest first.
    """

    def __init__(self, *, secrets: Iterable[str] = (), kept: int = KEPT) -> None:
        """
        ``secrets`` are masked wherever they occur, whatever the parameter is called.
        """
        self._secrets = list(secrets)
        self._kept: deque[Arrival] = deque(maxlen=kept)
        self._counts: Counter[str] = Counter()
        self._total = 0
        self.era = 0
        """How often everything was forgotten: numbers of two eras are not comparable."""

    @property
    def forgotten(self) -> int:
        """
        How many requests since the last ``clear`` are no longer kept.
        """
        return self._total - len(self._kept)

    def hide(self, secret: str) -> None:
        """
        This text too is masked from now on.
        """
        if secret not in self._secrets:
            self._secrets.append(secret)

    def record(
        self,
        *,
        at: datetime,
        method: str,
        target: str,
        app_id: str | None,
        code: str | None,
        peer: str | None,
    ) -> Arrival:
        """
        The record of a request that has just arrived. ``target`` is path and query as sent.
        """
        if len(self._kept) == self._kept.maxlen:
            self._uncount(self._kept.popleft())
        self._total += 1
        arrival = Arrival(
            number=self._total,
            at=at,
            method=method,
            target=self._masked(target)[:_MAX_TARGET],
            app_id=None if app_id is None else self._without_secrets(app_id),
            code=None if code is None else self._without_secrets(code),
            peer=peer,
        )
        self._kept.append(arrival)
        if arrival.code is not None:
            self._counts[arrival.code] += 1
        return arrival

    def identify(self, arrival: Arrival, *, app_id: str | None, code: str | None) -> None:
        """
        What only the body told is in the record; what is there already stays.
        """
        if arrival.app_id is None and app_id is not None:
            arrival.app_id = self._without_secrets(app_id)
        if arrival.code is None and code is not None:
            arrival.code = self._without_secrets(code)
            if self._kept and arrival.number >= self._kept[0].number:
                self._counts[arrival.code] += 1

    def count(self, code: str) -> int:
        """
        How many of the kept requests carried this code.
        """
        return self._counts[code]

    def counts(self) -> dict[str, int]:
        """
        The same for every code seen.
        """
        return dict(self._counts)

    def select(self, *, code: str | None = None, after: int = 0) -> list[Arrival]:
        """
        The kept requests with a number above ``after``, or those of them with one code, oldest first.
        """
        return [
            arrival
            for arrival in self._kept
            if arrival.number > after and (code is None or arrival.code == code)
        ]

    def clear(self) -> None:
        """
        Forgets everything and starts numbering anew.
        """
        self.era += 1
        self._kept.clear()
        self._counts.clear()
        self._total = 0

    def _uncount(self, arrival: Arrival) -> None:
        if arrival.code is None:
            return
        self._counts[arrival.code] -= 1
        if not self._counts[arrival.code]:
            del self._counts[arrival.code]

    def _masked(self, target: str) -> str:
        path, question, query = target.partition("?")
        pairs = []
        for pair in query.split("&"):
            name, equals, _ = pair.partition("=")
            hidden = equals and unquote_plus(name).strip().lower() in _SECRET_PARAMETERS
            pairs.append(f"{name}={_MASK}" if hidden else pair)
        return self._without_secrets(path + question + "&".join(pairs))

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text
