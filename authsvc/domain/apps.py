"""What the service knows of a mini-program: policy as data. Its AppSecret is the WeChat adapter's business."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from authsvc.domain.errors import AppDisabled, UnknownApp
from authsvc.domain.legacy_token import LegacyPolicy
from authsvc.domain.limits import Rate

# A verifier accepts a token this long after `exp` and before `nbf`/`iat`: clocks differ (DESIGN section 3).
LEEWAY = timedelta(seconds=5)
# A revocation fact outlives the last token it can matter for by this much.
FACT_MARGIN = timedelta(minutes=10)
MAX_JITTER = 0.05
_DEFAULT_ACCESS_LIFETIME = timedelta(hours=2)


class PhonePolicy(StrEnum):
    """What becomes of a phone number that WeChat told us."""

    RETURN = "return"
    """It is answered and forgotten."""
    BIND = "bind"
    """It is also kept, sealed, with the user."""


class MergePolicy(StrEnum):
    """What a login does that finds two users of one platform group to be one person (DESIGN section 3, user)."""

    AUTO = "auto"
    """The older user survives, at once."""
    HOLD = "hold"
    """The pair is recorded for an operator to decide."""


@dataclass(frozen=True, slots=True)
class App:
    """One mini-program and the rules its logins follow."""

    app_id: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    access_lifetime: timedelta = _DEFAULT_ACCESS_LIFETIME
    idle_lifetime: timedelta = timedelta(days=7)
    absolute_lifetime: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(seconds=30)
    max_sessions: int = 10
    platform_group: str = ""
    phone: PhonePolicy = PhonePolicy.RETURN
    enabled: bool = True
    openid_in_token: bool = True
    # The group's: configuration gives every app of a group the same one.
    merge_policy: MergePolicy = MergePolicy.AUTO
    # Logins of all its users together; None: what holds for every app.
    login_rate: Rate | None = None
    # Tokens of the home-made service that this app is migrated from, if it is.
    legacy: LegacyPolicy | None = None

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


def usable_app(apps: Mapping[str, App], app_id: str) -> App:
    """
    Return the app of *apps*.

    Raises:
        UnknownApp: no such app is configured.
        AppDisabled: it is configured and switched off.

    """
    app = apps.get(app_id)
    if app is None:
        raise UnknownApp
    if not app.enabled:
        raise AppDisabled
    return app


@dataclass(frozen=True, slots=True)
class _AppSet:
    """One consistent state of the registry, with what is asked of it often worked out once."""

    apps: Mapping[str, App]
    longest: timedelta
    audiences: frozenset[str]
    migrating: tuple[App, ...]


def _app_set(apps: Mapping[str, App]) -> _AppSet:
    return _AppSet(
        apps=MappingProxyType(dict(apps)),
        longest=max((app.access_lifetime for app in apps.values()), default=_DEFAULT_ACCESS_LIFETIME),
        audiences=frozenset(audience for app in apps.values() for audience in app.audiences),
        migrating=tuple(app for app in apps.values() if app.legacy is not None),
    )


class AppRegistry:
    """
    All configured apps; lookups raise rather than guess.

    `replace` exchanges all of them at once: whoever looks meets the old set or the new one, never a mixture. Nothing
    is locked, because it is one assignment.
    """

    __slots__ = ("_set",)

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._set = _app_set(apps)

    def replace(self, apps: Mapping[str, App]) -> None:
        """Know these apps from now on, and no others; what is under way goes on with the app it has looked up."""
        self._set = _app_set(apps)

    @property
    def apps(self) -> Mapping[str, App]:
        """The apps by id as they are now, switched off or not; a later `replace` does not change it."""
        return self._set.apps

    def get(self, app_id: str) -> App:
        """
        Return the app.

        Raises:
            UnknownApp: no such app is configured.
            AppDisabled: it is configured and switched off.

        """
        return usable_app(self._set.apps, app_id)

    def max_access_lifetime(self, app_id: str) -> timedelta:
        """The longest life that an access token of this app may have; of an app that is not configured: of any."""
        known = self._set
        app = known.apps.get(app_id)
        return known.longest if app is None else app.access_lifetime

    @property
    def longest_access_lifetime(self) -> timedelta:
        """The largest access-token lifetime over all apps: verifiers refuse anything longer."""
        return self._set.longest

    @property
    def audiences(self) -> frozenset[str]:
        """Every audience that some app's tokens carry; the same object until the apps are replaced."""
        return self._set.audiences

    @property
    def migrating(self) -> tuple[App, ...]:
        """The apps that know tokens of a home-made service, whether or not the time for them is over."""
        return self._set.migrating
