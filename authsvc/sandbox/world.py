"""
Apps, users, codes, session keys and tokens: everything WeChat would know, without any wire.

Every method is synchronous and takes the present instant, so one exchange is atomic under any number
of concurrent requests and a test can stand at any moment. What an answer looks like is the business
of ``replies``; deliberate failures are the business of ``faults``. What can be asked about a user who is
already logged in (phone number, session key, payment) stands in ``people``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.apps import SANDBOX_APPS, Apps, SandboxApp
from authsvc.sandbox.codes import SingleUseCodes
from authsvc.sandbox.dice import Dice
from authsvc.sandbox.identity import Identity, identity_of
from authsvc.sandbox.needs import Entropy
from authsvc.sandbox.outcomes import Refusal, Session, require_text
from authsvc.sandbox.phones import Phones
from authsvc.sandbox.quotas import Quota
from authsvc.sandbox.session_keys import KEY_INTERVAL, KEY_LIFETIME, SessionKeys
from authsvc.sandbox.tokens import AccessTokens, Limits

CODE_LIFETIME: Final = timedelta(seconds=300)
CALLS_PER_MINUTE: Final = 100

_CODE_LENGTH: Final = 32
_MAX_USER_LENGTH: Final = 128


@dataclass(slots=True)
class Switches:
    """
    What WeChat leaves open or has changed over time, and how the sandbox plays it now.
    """

    wrong_app_consumes: bool = True
    """An attempt with another app uses the code up (facts section 1.4)."""
    old_hints: bool = False
    """Error texts end in ``hints: [ req_id: ... ]`` as before 2020."""
    country_code_as_number: bool = False
    """``countryCode`` is a number, as in the documentation's sample, not a string as in its table."""
    phone_wrong_app_errcode: int = 40029
    """What another app's phone code is answered with: documented 40029, observed 40013."""
    openid_mismatch_errcode: int = 40003
    """What a phone code of somebody else's openid is answered with; nobody publishes it (facts section 9)."""


class _User:
    def __init__(self, calls_per_minute: int) -> None:
        self.blocked = False
        self.logins = Quota(calls_per_minute, daily=False)
        self.phone_calls = Quota(calls_per_minute, daily=False)


class World:
    """
    The state behind the imitated endpoints. Codes, keys and tokens live in memory; identities are
    derived, so a user keeps openid and unionid over restarts.
    """

    def __init__(
        self,
        apps: Iterable[SandboxApp] = SANDBOX_APPS,
        *,
        entropy: Entropy,
        allow_real: bool = False,
        code_lifetime: timedelta = CODE_LIFETIME,
        key_interval: timedelta = KEY_INTERVAL,
        key_lifetime: timedelta = KEY_LIFETIME,
        calls_per_minute: int = CALLS_PER_MINUTE,
        limits: Limits | None = None,
        switches: Switches | None = None,
    ) -> None:
        """
        ``key_interval`` is the shortest time between two session keys of one user.

        Raises:
            ValueError: the list of apps is malformed.
            RealLookingCredential: it holds what looks like a real app, and ``allow_real`` is off.
        """
        self.book = Apps(apps, allow_real=allow_real)
        self.dice = Dice(entropy)
        self.switches = switches or Switches()
        self.keys = SessionKeys(self.dice, interval=key_interval, lifetime=key_lifetime)
        self.tokens = AccessTokens(self.dice, limits=limits)
        self.phones = Phones()
        self._codes = SingleUseCodes(lifetime=code_lifetime)
        self._calls_per_minute = calls_per_minute
        self._users: dict[tuple[str, str], _User] = {}
        self._by_openid: dict[tuple[str, str], str] = {}

    @property
    def apps(self) -> tuple[SandboxApp, ...]:
        """
        Every app, in the order given.
        """
        return self.book.listed

    def identity(self, app_id: str, *, user: str) -> Identity:
        """
        The openid, and unionid where there is one, of a user in an app; the same in every process.

        Raises:
            UnknownApp: no such app.
            BadInput: the name cannot be used.
        """
        app = self.book.require(app_id)
        require_text(user, what="user", limit=_MAX_USER_LENGTH)
        return identity_of(user, app=app)

    def session_key(self, app_id: str, *, user: str) -> str | None:
        """
        The user's only valid session_key in an app; None before the first code.
        """
        return self.keys.current(app_id, user=user)

    def is_blocked(self, app_id: str, *, user: str) -> bool:
        """
        Whether logins of this user in this app are refused with 40226.
        """
        state = self._users.get((app_id, user))
        return state is not None and state.blocked

    def set_blocked(self, app_id: str, *, user: str, blocked: bool) -> None:
        """
        Makes logins of this user in this app refused with 40226, or lets them through again.

        Raises:
            UnknownApp: no such app.
            BadInput: the name cannot be used.
        """
        self.meet(app_id, user=user)
        self._users[app_id, user].blocked = blocked

    def meet(self, app_id: str, *, user: str) -> Identity:
        """
        The user is one of the app's: WeChat knows the openid from now on.

        Raises:
            UnknownApp: no such app.
            BadInput: the name cannot be used.
        """
        identity = self.identity(app_id, user=user)
        if (app_id, user) not in self._users:
            self._users[app_id, user] = _User(self._calls_per_minute)
            self._by_openid[app_id, identity.openid] = user
        return identity

    def user_of(self, app_id: str, *, openid: str) -> str | None:
        """
        The user behind an openid of the app; None if it is nobody's so far.
        """
        return self._by_openid.get((app_id, openid))

    def count_phone_call(self, app_id: str, *, user: str, now: datetime) -> bool:
        """
        Whether one more phone number of this user may be asked for in this minute; it is counted.
        """
        return self._users[app_id, user].phone_calls.take(now)

    def mint(self, app_id: str, *, user: str, now: datetime, code: str | None = None) -> str:
        """
        A login code of this user for this app, as ``wx.login`` would hand out: alive for the code
        lifetime, good for one exchange, and no other live code dies by it. 32 alphanumerics unless
        ``code`` gives the text. The user's session_key is replaced if the last one is old enough
        (facts/wechat-api.md sections 1.4 and 5.2).

        Raises:
            UnknownApp: no such app.
            BadInput: the user or the given code text cannot be used.
            CodeTaken: the given text is a code that has not expired.
        """
        self.meet(app_id, user=user)
        if code is None:
            code = self.dice.text(_CODE_LENGTH)
        self._codes.issue(code, app_id=app_id, user=user, now=now)
        self.keys.logged_in(app_id, user=user, now=now)
        return code

    def is_login_code(self, code: str, *, now: datetime) -> bool:
        """
        Whether this is a login code that has not expired, used or not.
        """
        return self._codes.find(code, now=now) is not None

    def exchange(
        self,
        *,
        app_id: str | None,
        secret: str | None,
        grant_type: str | None,
        code: str | None,
        now: datetime,
    ) -> Session | Refusal:
        """
        The session behind a code, which is thereby used; or the first reason against it.

        The order of the checks is the one of facts/wechat-api.md section 10. A refusal leaves the code as
        it was, except that an attempt with another app uses it up while ``wrong_app_consumes`` is on.
        """
        refused = self.book.judge(app_id, secret)
        if refused is not None:
            return Refusal(refused)
        if grant_type != "authorization_code":
            return Refusal(40002)
        if not code:
            return Refusal(41008)
        found = self._codes.find(code, now=now)
        if found is None:
            return Refusal(40029)
        if found.app_id != app_id:
            found.used |= self.switches.wrong_app_consumes
            return Refusal(40029)
        if found.used:
            return Refusal(40163)
        state = self._users[found.app_id, found.user]
        if state.blocked:
            return Refusal(40226)
        if not state.logins.take(now):
            return Refusal(45011)
        found.used = True
        key = self.keys.current(found.app_id, user=found.user)
        assert key is not None, "minting a code gives its user a key"
        identity = self.identity(found.app_id, user=found.user)
        return Session(identity.openid, key, identity.unionid)
