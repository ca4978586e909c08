"""
Apps, users, login codes and session keys: everything WeChat would know, without any wire.

Every method is synchronous and takes the present instant, so one exchange is atomic under any number
of concurrent requests and a test can stand at any moment. What an answer looks like is the business
of ``replies``; deliberate failures are the business of ``faults``.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.apps import SANDBOX_APPS, SandboxApp, check_apps
from authsvc.sandbox.identity import Identity, identity_of
from authsvc.sandbox.needs import Entropy

CODE_LIFETIME: Final = timedelta(seconds=300)
KEY_INTERVAL: Final = timedelta(seconds=60)
CALLS_PER_MINUTE: Final = 100

_ALPHANUMERICS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CODE_LENGTH: Final = 32
_MAX_USER_LENGTH: Final = 128
_MAX_CODE_LENGTH: Final = 1024


class UnknownApp(LookupError):
    """
    The sandbox has no app with this id.
    """


class CodeTaken(ValueError):
    """
    A code with this text was minted before and has not expired yet.
    """


class BadInput(ValueError):
    """
    A user name or code text cannot be used; the text says why.
    """


@dataclass(frozen=True, slots=True)
class Session:
    """
    A successful exchange: the answer's three fields.
    """

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A refused exchange, by WeChat's error number.
    """

    errcode: int


@dataclass(slots=True)
class _Code:
    app_id: str
    user: str
    expires_at: datetime
    used: bool = False


@dataclass(slots=True)
class _User:
    blocked: bool = False
    session_key: str | None = None
    keyed_at: datetime | None = None
    minute: int = 0
    calls: int = 0


class World:
    """
    The state behind the imitated endpoints. Codes and keys live in memory; identities are derived, so
    a user keeps openid and unionid over restarts.
    """

    def __init__(
        self,
        apps: Iterable[SandboxApp] = SANDBOX_APPS,
        *,
        entropy: Entropy,
        allow_real: bool = False,
        code_lifetime: timedelta = CODE_LIFETIME,
        key_interval: timedelta = KEY_INTERVAL,
        calls_per_minute: int = CALLS_PER_MINUTE,
        wrong_app_consumes: bool = True,
    ) -> None:
        """
        ``key_interval`` is the shortest time between two session keys of one user.

        Raises:
            ValueError: the list of apps is malformed.
            RealLookingCredential: it holds what looks like a real app, and ``allow_real`` is off.
        """
        self._apps = check_apps(apps, allow_real=allow_real)
        self._entropy = entropy
        self._code_lifetime = code_lifetime
        self._key_interval = key_interval
        self._calls_per_minute = calls_per_minute
        self._codes: dict[str, _Code] = {}
        self._users: dict[tuple[str, str], _User] = {}
        self._serial = 0
        self.wrong_app_consumes = wrong_app_consumes

    @property
    def apps(self) -> tuple[SandboxApp, ...]:
        """
        Every app, in the order given.
        """
        return tuple(self._apps.values())

    def identity(self, app_id: str, *, user: str) -> Identity:
        """
        The openid, and unionid where there is one, of a user in an app; the same in every process.

        Raises:
            UnknownApp: no such app.
            BadInput: the name cannot be used.
        """
        app = self._require_app(app_id)
        _require_text(user, what="user", limit=_MAX_USER_LENGTH)
        return identity_of(user, app=app)

    def session_key(self, app_id: str, *, user: str) -> str | None:
        """
        The user's only valid session_key in an app; None before the first code.
        """
        state = self._users.get((app_id, user))
        return state.session_key if state is not None else None

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
        self._require_app(app_id)
        _require_text(user, what="user", limit=_MAX_USER_LENGTH)
        self._user(app_id, user).blocked = blocked

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
        self._require_app(app_id)
        _require_text(user, what="user", limit=_MAX_USER_LENGTH)
        self._forget_expired(now)
        if code is None:
            code = self._fresh_code()
        else:
            _require_text(code, what="code", limit=_MAX_CODE_LENGTH)
            known = self._codes.pop(code, None)
            if known is not None and now < known.expires_at:
                self._codes[code] = known
                raise CodeTaken("this code exists and has not expired")
        self._codes[code] = _Code(app_id, user, expires_at=now + self._code_lifetime)
        state = self._user(app_id, user)
        if state.keyed_at is None or now - state.keyed_at >= self._key_interval:
            state.session_key = base64.b64encode(self._fresh_bytes(16)).decode("ascii")
            state.keyed_at = now
        return code

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
        refused = self._judge_caller(app_id=app_id, secret=secret, grant_type=grant_type)
        if refused is not None:
            return Refusal(refused)
        if not code:
            return Refusal(41008)
        found = self._codes.get(code)
        if found is None or now >= found.expires_at:
            return Refusal(40029)
        if found.app_id != app_id:
            if self.wrong_app_consumes:
                found.used = True
            return Refusal(40029)
        if found.used:
            return Refusal(40163)
        state = self._user(found.app_id, found.user)
        if state.blocked:
            return Refusal(40226)
        if not self._count_call(state, now):
            return Refusal(45011)
        found.used = True
        assert state.session_key is not None, "minting a code gives its user a key"
        identity = self.identity(found.app_id, user=found.user)
        return Session(identity.openid, state.session_key, identity.unionid)

    def _judge_caller(self, *, app_id: str | None, secret: str | None, grant_type: str | None) -> int | None:
        if not app_id:
            return 41002
        app = self._apps.get(app_id)
        if app is None:
            return 40013
        if not secret:
            return 41004
        if secret != app.secret:
            return 40125
        return 40002 if grant_type != "authorization_code" else None

    def _count_call(self, state: _User, now: datetime) -> bool:
        minute = int(now.timestamp()) // 60
        if state.minute != minute:
            state.minute, state.calls = minute, 0
        if state.calls >= self._calls_per_minute:
            return False
        state.calls += 1
        return True

    def _require_app(self, app_id: str) -> SandboxApp:
        app = self._apps.get(app_id)
        if app is None:
            raise UnknownApp("the sandbox has no such app")
        return app

    def _user(self, app_id: str, user: str) -> _User:
        return self._users.setdefault((app_id, user), _User())

    def _forget_expired(self, now: datetime) -> None:
        # An expired code and an unknown one are answered alike, so the table stays as small as five
        # minutes of logins. Codes stand in the order they were minted, hence of their expiry.
        for code in [*_leading_expired(self._codes, now)]:
            del self._codes[code]

    def _fresh_code(self) -> str:
        number = int.from_bytes(self._fresh_bytes(48), "big")
        letters = []
        for _ in range(_CODE_LENGTH):
            number, index = divmod(number, len(_ALPHANUMERICS))
            letters.append(_ALPHANUMERICS[index])
        return "".join(letters)

    def _fresh_bytes(self, count: int) -> bytes:
        # The serial keeps two values apart even where a test's entropy repeats itself.
        self._serial += 1
        seed = self._serial.to_bytes(8, "big") + self._entropy.token_bytes(32)
        return hashlib.sha512(seed).digest()[:count]


def _leading_expired(codes: dict[str, _Code], now: datetime) -> Iterable[str]:
    for code, entry in codes.items():
        if now < entry.expires_at:
            return
        yield code


def _require_text(value: str, *, what: str, limit: int) -> None:
    if not 1 <= len(value) <= limit:
        raise BadInput(f"{what} must have 1 to {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} must be valid Unicode text") from None
