"""
Who keeps on presenting access tokens that are none of ours is told to wait.

Only forgeries count: an expired or revoked token is what every phone has now and then, and must hear 401 to refresh. And
only who presents one is refused, so that whoever stands behind the same address with a good token notices nothing.
"""

import math

from aiohttp import web

from authsvc.domain.limits import Rate, network_of
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import Refused
from authsvc.edge.origin import Origin
from authsvc.edge.routing import Handler
from authsvc.ports import Clock
from authsvc.ports.limits import Limit
from authsvc.service.buckets import Buckets
from authsvc.service.throttling import Throttling
from authsvc.status import BY_REASON


class ForgedTokens:
    """Counts forged tokens by address."""

    def __init__(self, rate: Rate, *, origin: Origin, clock: Clock, throttling: Throttling) -> None:
        self._limit = Limit("verify.forged_ip", rate)
        self._origin = origin
        self._clock = clock
        self._throttling = throttling
        self._buckets = Buckets(clock)

    def around(self, handler: Handler) -> Handler:
        """Return *handler* whose refusals of forged tokens become RATE_LIMITED once there were too many."""

        async def counted(request: web.Request, correlation: Correlation) -> web.Response:
            try:
                return await handler(request, correlation)
            except Refused as refused:
                if refused.is_forgery:
                    self._count(request)
                raise

        return counted

    def _count(self, request: web.Request) -> None:
        network = network_of(self._origin.client_ip(request))
        wait = self._buckets.take_one(self._limit, network, now=self._clock.elapsed())
        if wait:
            self._throttling.count(self._limit.name)
            raise Refused(
                BY_REASON["RATE_LIMITED"], retry_after=math.ceil(wait), cause=self._limit.name
            ) from None
