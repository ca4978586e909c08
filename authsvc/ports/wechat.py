"""The part of WeChat that the use cases need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from authsvc.domain.user_data import UserData


@dataclass(frozen=True, slots=True)
class CodeSession:
    """What WeChat answers for a good code. The session_key is sealed at once and never leaves the service."""

    openid: str = field(repr=False)
    session_key: str = field(repr=False)
    unionid: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """
    A phone number as WeChat writes it.

    `number` carries the country prefix if it is a foreign one, `pure_number` never does; `country_code` is text,
    "86", whatever type it had on the wire (facts page 3.1).
    """

    number: str = field(repr=False)
    pure_number: str = field(repr=False)
    country_code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewSessionKey:
    """The key that took the place of another. It is sealed at once and never leaves the service."""

    session_key: str = field(repr=False)


class WeChat(Protocol):
    """
    The part of WeChat that the use cases need; errors come by fault group (facts page 1.3).

    Every method raises UnknownApp, before anything is sent, for an app that is not configured. What touches one app
    (its breaker, its limits, a wrong secret, a hanging host) never affects another. Login needs no access_token; the
    other methods fetch and keep one by themselves, and a refused one costs exactly one refresh and one retry.
    """

    async def code_to_session(self, *, app_id: str, code: str) -> CodeSession:
        """
        Exchange a login code, putting it on the wire at most once.

        Raises:
            WeChatUnavailable: provably nothing was written (connect failure, breaker open, no slot in time).
            LoginCodeSpent: written, and the outcome is lost; or refused because the app's secret has just changed.
            LoginCodeInvalid, LoginCodeUsed, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured: its verdicts.

        """
        ...

    async def phone_number(self, *, app_id: str, openid: str, code: str) -> PhoneNumber:
        """
        Exchange the phone code of the user with this *openid* (which is always sent along).

        The code works once; it is sent once, and once more only where WeChat refused the access_token.

        Raises:
            PhoneCodeInvalid: unknown, used, expired, another app's, another user's, a login code, or no text: a new
                phone code is needed. One reason for all.
            WeChatUnavailable: a transient fault, before or after the code was written. The same code may be offered
                again: it works, or is PhoneCodeInvalid then.
            WeChatThrottled, WeChatMisconfigured: its verdicts.

        """
        ...

    async def check_session_key(self, *, app_id: str, openid: str, session_key: str) -> bool:
        """
        Tell whether *session_key* is the user's valid one; False if WeChat says expired or replaced.

        Changes nothing, so a transient fault is tried once more.

        Raises:
            WeChatUnavailable: a transient fault, twice.
            WeChatThrottled, WeChatMisconfigured: its verdicts.

        """
        ...

    async def reset_session_key(self, *, app_id: str, openid: str, session_key: str) -> NewSessionKey:
        """
        Replace the user's *session_key* at WeChat; the old one is dead when this returns. Its expiry is inherited.

        Raises:
            SessionKeyStale: *session_key* is not (or no longer) the valid one; nothing changed.
            WeChatUnavailable: a transient fault; the old key may be dead already and the new one is unknown then, so
                that a repetition ends as SessionKeyStale. Never repeated by itself once written.
            WeChatThrottled, WeChatMisconfigured: its verdicts.

        """
        ...


class DecryptUserData(Protocol):
    """Opens what `wx.getUserInfo`, `getWeRunData` and the like hand to a page. CPU only."""

    def __call__(
        self,
        *,
        encrypted_data: str,
        iv: str,
        session_keys: Sequence[str],
        app_id: str,
        now: datetime,
        freshness: timedelta | None = None,
        openid: str | None = None,
    ) -> UserData:
        """
        Return the data, opened with the first of *session_keys* (the latest, then the previous one) that fits.

        The watermark must be of *app_id*; with *freshness* not older than that at *now*; and an `openId` in the data
        must be *openid*, where one is given.

        Raises:
            UserDataInvalid: damaged before any key was tried (not strict base64, an iv that is not 16 bytes, data
                that is empty, too large or not whole blocks), or opened and not ours (app, age, openid).
            SessionKeyStale: no key opens it. A wrong key, a flipped bit, bad padding, text that is no UTF-8 or no JSON
                object with a watermark, and an empty *session_keys* are one and the same error.

        """
        ...
