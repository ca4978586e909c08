"""The limits of a process, with what they share and where."""

from dataclasses import dataclass
from datetime import timedelta

from authsvc.app.world import Secrets, World
from authsvc.config import Environment, Settings
from authsvc.ports.limits import Limits
from authsvc.service.admission import Admission
from authsvc.service.buckets import Buckets, LocalLimits
from authsvc.service.limits import Limiter
from authsvc.service.throttling import Throttling
from authsvc.service.watch import WatchSettings

# How long calls stand in the event loop's queue before that counts as overload.
_LATE = timedelta(milliseconds=250)


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What the parts of a server are given; `shared` is asked what operators should know."""

    limiter: Limiter
    admission: Admission
    shared: Limits
    watches: WatchSettings

    async def notice(self) -> str:
        """Return what `/readyz` tells of the limits."""
        return self.shared.note()


async def open_limits(settings: Settings, *, secrets: Secrets, world: World) -> ProcessLimits:
    """Return the limits, watching the queue; give them to `close_limits`. A Redis that is away delays nothing by much."""
    clock, observer = world.clock, world.telemetry
    wide = settings.env is Environment.DEV
    buckets = Buckets(clock)
    shared: Limits = LocalLimits(buckets)
    if settings.redis_url is not None:
        from authsvc.storage.redis_limits import RedisLimits

        redis = RedisLimits(
            settings.redis_url.get_secret_value(), fallback=shared, clock=clock, observer=observer
        )
        await redis.start()
        shared = redis
    throttling = Throttling(clock=clock, observer=observer)
    limiter = Limiter(
        rules=settings.limit_rules(wide=wide),
        shared=shared,
        buckets=buckets,
        pepper=secrets.master.rings().blind_index.current,
        clock=clock,
        throttling=throttling,
    )
    admission = Admission(
        places=settings.count("calls_in_flight", wide=wide),
        late=_LATE,
        limiter=limiter,
        throttling=throttling,
        clock=clock,
        observer=observer,
    )
    admission.start()
    watches = WatchSettings(
        watchers=settings.watchers,
        per_principal=min(settings.count("watchers_per_principal", wide=wide), settings.watchers),
    )
    return ProcessLimits(limiter, admission, shared, watches)


async def close_limits(limits: ProcessLimits) -> None:
    """End what `open_limits` began."""
    await limits.admission.stop()
    close = getattr(limits.shared, "close", None)
    if close is not None:
        await close()
