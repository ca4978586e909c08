"""What the service knows of a mini-program: policy as data. Its AppSecret is the WeChat adapter's business."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from authsvc.domain.errors import AppDisabled, UnknownApp

# A verifier accepts a token this long after `exp` and before `nbf`/`iat`: clocks differ (DESIGN section 3).
LEEWAY = timedelta(seconds=5)
# A revocation fact outlives the last token it can matter for by this much.
FACT_MARGIN = timedelta(minutes=10)
MAX_JITTER = 0.05


class MergePolicy(StrEnum):
    """What a login does that finds two users of one platform group to be one person (DESIGN section 3, user)."""

    AUTO = "auto"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class App:
    """One mini-program and the rules its logins follow."""

    app_id: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    access_lifetime: timedelta = timedelta(hours=2)
    idle_lifetime: timedelta = timedelta(days=7)
    absolute_lifetime: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(seconds=30)
    max_sessions: int = 10
    platform_group: str = ""
    enabled: bool = True
    openid_in_token: bool = True
    # The group's: configuration gives every app of a group the same one.
    merge_policy: MergePolicy = MergePolicy.AUTO

    def access_expiry(self, *, now: datetime, jitter: float, absolute_end: datetime) -> datetime:
        """
        Return when an access token made *now* ends, in whole seconds.

        *jitter* in [0, 1] shortens the lifetime by up to 5 % so that a login wave does not expire at once; the
        token never outlives the session's absolute end.
        """
        lifetime = self.access_lifetime * (1 - MAX_JITTER * jitter)
        # From the whole second, as `iat` is: exp - iat above the lifetime would be refused as LIFETIME_TOO_LONG.
        return min(now.replace(microsecond=0) + lifetime, absolute_end).replace(microsecond=0)

    def refresh_expiry(self, *, now: datetime, absolute_end: datetime) -> datetime:
        """Return when the session ends if nobody refreshes it again."""
        return min(now + self.idle_lifetime, absolute_end)


@dataclass(frozen=True, slots=True)
class AppRegistry:
    """All configured apps; lookups raise rather than guess."""

    apps: Mapping[str, App]

    def get(self, app_id: str) -> App:
        """
        Return the app.

        Raises:
            UnknownApp: no such app is configured.
            AppDisabled: it is configured and switched off.

        """
        app = self.apps.get(app_id)
        if app is None:
            raise UnknownApp
        if not app.enabled:
            raise AppDisabled
        return app

    @property
    def longest_access_lifetime(self) -> timedelta:
        """The largest access-token lifetime over all apps: verifiers refuse anything longer."""
        return max((app.access_lifetime for app in self.apps.values()), default=timedelta(hours=2))

    @property
    def audiences(self) -> frozenset[str]:
        """Every audience that some app's tokens carry."""
        return frozenset(audience for app in self.apps.values() for audience in app.audiences)
