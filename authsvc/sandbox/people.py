"""
What WeChat answers about a user who is logged in already: the phone number, the session key, the plug-in's
name for them, the unionid after a payment.

Like ``world``, whose state it stands on: synchronous, so every code is used by one call only.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from authsvc.sandbox.codes import SingleUseCodes
from authsvc.sandbox.crypto import sign_login_state
from authsvc.sandbox.dice import URL_SAFE
from authsvc.sandbox.identity import openpid_of
from authsvc.sandbox.outcomes import Refusal, require_text
from authsvc.sandbox.phones import PhoneNumber
from authsvc.sandbox.world import CODE_LIFETIME, World

PHONE_CODE_LENGTH: Final = 64
PAYMENT_WINDOW: Final = timedelta(minutes=5)
_HEX: Final = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Payment:
    """
    A payment just made, by the three numbers it can be named with.
    """

    transaction_id: str
    mch_id: str
    out_trade_no: str


@dataclass(frozen=True, slots=True)
class _Paid:
    payment: Payment
    app_id: str
    openid: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SessionCheck:
    """
    What checksession and resetusersessionkey are asked with, as sent.
    """

    openid: str | None
    signature: str | None
    sig_method: str | None


class People:
    """
    The users of a world, asked about with an access token.
    """

    def __init__(self, world: World, *, code_lifetime: timedelta = CODE_LIFETIME) -> None:
        self._world = world
        self._phone_codes = SingleUseCodes(lifetime=code_lifetime)
        self._plugin_codes = SingleUseCodes(lifetime=code_lifetime)
        self._payments: list[_Paid] = []

    def mint_phone(self, app_id: str, *, user: str, now: datetime, code: str | None = None) -> str:
        """
        A phone code, as the ``getPhoneNumber`` button hands out: 64 hexadecimals unless given, five
        minutes, one use. It is no login code.

        Raises:
            UnknownApp, BadInput, CodeTaken: as ``World.mint``.
        """
        self._world.meet(app_id, user=user)
        if code is None:
            code = self._world.dice.text(PHONE_CODE_LENGTH, letters=_HEX)
        self._phone_codes.issue(code, app_id=app_id, user=user, now=now)
        return code

    def phone_number(
        self, app_id: str, *, code: object, openid: object = None, now: datetime
    ) -> PhoneNumber | Refusal:
        """
        The number behind a phone code, which is thereby used (facts/wechat-api.md section 3.1).

        ``openid``, where given, must be that of the code's user; a mismatch leaves the code unused.
        """
        found = self._phone_codes.find(code, now=now) if isinstance(code, str) else None
        if found is None:
            return Refusal(40029)
        switches = self._world.switches
        if found.app_id != app_id:
            found.used |= switches.wrong_app_consumes
            return Refusal(switches.phone_wrong_app_errcode)
        if found.used:
            return Refusal(40029)
        if openid not in (None, "", self._world.identity(app_id, user=found.user).openid):
            return Refusal(switches.openid_mismatch_errcode)
        if not self._world.count_phone_call(app_id, user=found.user, now=now):
            return Refusal(45011)
        found.used = True
        return self._world.phones.of(found.user)

    def check_session(self, app_id: str, *, check: SessionCheck, now: datetime) -> Refusal | None:
        """
        None if the signature was made with the user's live session_key (facts sections 3.2 and 3.7).
        """
        return self._judge(app_id, check, now)[1]

    def reset_session(self, app_id: str, *, check: SessionCheck, now: datetime) -> str | Refusal:
        """
        A new session_key with the old one's end; the old one is dead (facts section 3.3).
        """
        user, refused = self._judge(app_id, check, now)
        if refused is not None:
            return refused
        return self._world.keys.reset(app_id, user=user, now=now) or Refusal(45011)

    def mint_plugin(self, app_id: str, *, user: str, plugin: str, now: datetime) -> str:
        """
        A code of ``wx.pluginLogin`` in this app for a plug-in.

        Raises:
            UnknownApp: no such app.
            BadInput: the user or the plug-in's id cannot be used.
        """
        self._world.meet(app_id, user=user)
        require_text(plugin, what="plugin_app_id", limit=128)
        code = self._world.dice.text(32)
        self._plugin_codes.issue(code, app_id=app_id, user=user, now=now, note=plugin)
        return code

    def openpid(self, app_id: str, *, code: object, now: datetime) -> str | Refusal:
        """
        The plug-in's name for the user of a plug-in code, asked for by the plug-in or the host app;
        1007 for anything that is no plug-in code, a login code for instance (facts section 3.4).
        """
        if not isinstance(code, str) or not code:
            return Refusal(1001)
        found = self._plugin_codes.find(code, now=now)
        if found is None or found.used:
            return Refusal(1007)
        if app_id not in (found.app_id, found.note):
            return Refusal(1005)
        found.used = True
        return openpid_of(found.user, app_id=found.app_id, plugin=found.note)

    def pay(self, app_id: str, *, user: str, now: datetime) -> Payment:
        """
        The user has paid in this app.

        Raises:
            UnknownApp, BadInput: as ``World.meet``.
        """
        identity = self._world.meet(app_id, user=user)
        dice, digits = self._world.dice, "0123456789"
        payment = Payment("42" + dice.text(26, letters=digits), "1900000109", dice.text(24, letters=URL_SAFE))
        self._payments = [paid for paid in self._payments if now - paid.at <= PAYMENT_WINDOW]
        self._payments.append(_Paid(payment, app_id, identity.openid, now))
        return payment

    def paid_unionid(
        self,
        app_id: str,
        *,
        openid: str | None,
        transaction_id: str | None,
        order: tuple[str | None, str | None],
        now: datetime,
    ) -> str | Refusal:
        """
        The unionid of who paid within the last five minutes; ``order`` is mch_id and out_trade_no
        (facts section 3.5).
        """
        user = self._world.user_of(app_id, openid=openid or "")
        if user is None:
            return Refusal(40003)
        unionid = self._world.identity(app_id, user=user).unionid
        if unionid is None:
            return Refusal(89002)
        for paid in self._payments:
            payment = paid.payment
            named = transaction_id == payment.transaction_id or order == (
                payment.mch_id,
                payment.out_trade_no,
            )
            theirs = paid.app_id == app_id and paid.openid == openid
            if named and theirs and now - paid.at <= PAYMENT_WINDOW:
                return unionid
        return Refusal(89300)

    def _judge(self, app_id: str, check: SessionCheck, now: datetime) -> tuple[str, Refusal | None]:
        if not check.openid or not check.signature:
            return "", Refusal(40097)
        if check.sig_method != "hmac_sha256":
            return "", Refusal(87008)
        user = self._world.user_of(app_id, openid=check.openid)
        key = self._world.keys.live(app_id, user=user, now=now) if user is not None else None
        if user is None or key is None:
            return "", Refusal(87007)
        if check.signature != sign_login_state(key):
            return user, Refusal(87009)
        return user, None
