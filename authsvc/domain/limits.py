"""
How fast is too fast: rates, the generic cell rate algorithm, and which network an address counts as.

GCRA keeps one number per bucket, the *theoretical arrival time*: when the bucket would be full again. It is what a
token bucket of `burst` tokens that gains `per_second` of them is, without a counter to refill (ITU-T I.371, annex A).
"""

import math
import re
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

_TEXT = re.compile(
    r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,6})?)/(?P<unit>s|min|h|d)(?: burst (?P<burst>[0-9]{1,9}))?"
)
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
# An IPv6 customer is given a /64 at least (RFC 6177): single addresses of it cost an abuser nothing.
_V6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and `per_second` for ever; both above zero."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_second) and self.per_second > 0 and self.burst >= 1):
            raise ValueError("a rate allows something")

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """
        Return the rate that *text* spells: `100/s burst 5000`, `6/min`; units s, min, h, d.

        Without a burst it is what a unit of time allows, at least 1.

        Raises:
            ValueError: it is no rate, or allows nothing.

        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError("a rate is written like 100/s burst 5000; units s, min, h, d")
        count = float(match["count"])
        burst = math.ceil(count) if match["burst"] is None else int(match["burst"])
        return cls(per_second=count / _UNITS[match["unit"]], burst=burst)

    @property
    def interval(self) -> float:
        """Seconds until a token comes back."""
        return 1 / self.per_second

    @property
    def depth(self) -> float:
        """Seconds from an empty bucket to a full one."""
        return self.burst / self.per_second

    def times(self, factor: int) -> "Rate":
        """Return a rate *factor* times as wide."""
        return Rate(self.per_second * factor, self.burst * factor)


def wait_for(rate: Rate, full_at: float, *, now: float, cost: float) -> float:
    """Return the seconds until *cost* tokens are there, 0 if they are; more than the burst waits for a full bucket."""
    depth = rate.depth
    needed = min(cost * rate.interval, depth)
    # The slack is for the rounding of sums of floats: a bucket that was never touched must not seem a hair short.
    wait = max(full_at, now) + needed - now - depth
    return wait if wait > 1e-6 else 0.0


def taken(rate: Rate, full_at: float, *, now: float, cost: float) -> float:
    """
    Return when the bucket will be full after *cost* tokens were taken, or given back where it is negative.

    It never owes: whoever overdraws it empties it, so that an empty bucket has a token again after `interval`.
    """
    return min(max(max(full_at, now) + cost * rate.interval, now), now + rate.depth)


def network_of(address: str) -> str:
    """
    Return what *address* counts as: an IPv4 address itself, an IPv6 one its /64, anything else nothing.

    One address has one answer however it is spelled: IPv4 within IPv6 (RFC 4291 section 2.5.5.2), zones, case.
    """
    try:
        parsed = ip_address(address.strip().partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(IPv6Network((parsed, _V6_PREFIX), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)
