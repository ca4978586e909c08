"""Login with a legacy token: each becomes a session once, and WeChat is not asked."""

from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeSpent,
    LoginCodeUsed,
    StoreUnavailable,
    UserBlocked,
)
from authsvc.domain.login_code import hash_code
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.ports import Event, Observer
from authsvc.service.legacy import LegacyRefusal, LegacyTokens, SignedLegacy
from authsvc.service.limits import Limiter
from authsvc.service.login import LoginResult, Logins
from authsvc.service.phone import check_phone_code
from authsvc.service.waiting import Unbroken


class LegacyLogins:
    """The exchange of legacy tokens."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        tokens: LegacyTokens,
        logins: Logins,
        observer: Observer,
        unbroken: Unbroken,
        limiter: Limiter,
    ) -> None:
        self._apps = apps
        self._tokens = tokens
        self._logins = logins
        self._observer = observer
        self._unbroken = unbroken
        self._limiter = limiter

    async def login(
        self, *, app_id: str, token: str, client: ClientInfo, phone_code: str = ""
    ) -> LoginResult:
        """
        Exchange the token and start a session of the user it names; durable when it returns.

        The token itself goes on being judged as before until it ends: other services may still hold it.

        Raises:
            InvalidField, UnknownApp, AppDisabled: refused before any I/O.
            RateLimited: too many attempts or failures; the token may be tried again later.
            LoginCodeInvalid: it is no legacy token of this app, out of its time, revoked, or of nobody in the record.
            LoginCodeUsed: it was exchanged before, or revoked.
            StoreUnavailable: nothing came of it; the same token may be tried again.
            LoginCodeSpent: it was exchanged, and what came of it is lost.
            UserBlocked: an operator blocked this user.

        """
        app = self._apps.get(app_id)
        if phone_code:
            check_phone_code(phone_code, field="phone_code")
        code_hash = hash_code(token)
        await self._limiter.admit_login(app, client, code_hash=code_hash)
        return await self._unbroken.run(self._login_counted(app, token, code_hash, client, phone_code))

    async def _login_counted(
        self, app: App, token: str, code_hash: bytes, client: ClientInfo, phone_code: str
    ) -> LoginResult:
        try:
            signed = self._tokens.read(token)
            if not isinstance(signed, SignedLegacy) or signed.app.app_id != app.app_id:
                raise LoginCodeInvalid("no legacy token of this app")
            result = await self._exchange(signed, client, phone_code)
        except Exception as error:
            await self._limiter.login_failed(app, client, error, code_hash=code_hash)
            raise
        await self._limiter.login_succeeded(app, client)
        return result

    async def _exchange(self, signed: SignedLegacy, client: ClientInfo, phone_code: str) -> LoginResult:
        await self._logins.require_signer()
        # Judged before the claim, which ends with the token: of an ended one it would be none.
        openid = await self._find(signed)
        await self._limiter.admit_user(signed.app, openid)
        if not await self._tokens.claim_exchange(signed):
            raise LoginCodeUsed("exchanged before")
        try:
            openid = await self._find(signed)
        except StoreUnavailable:
            await self._release(signed)
            raise
        try:
            result = await self._logins.open_vouched(
                signed.app, query=signed.query, openid=openid, client=client, phone_code=phone_code
            )
        except StoreUnavailable as error:
            raise LoginCodeSpent("exchanged, and not stored") from error
        self._observer.event(
            Event(
                "legacy.exchanged",
                fields={"app_id": signed.app.app_id, "session_id": result.opened.session.session_id},
            )
        )
        return result

    async def _find(self, signed: SignedLegacy) -> str:
        holder = await self._tokens.find_holder(signed)
        if not isinstance(holder, LegacyRefusal):
            return holder.openid
        if holder.end_reason is EndReason.BLOCKED:
            raise UserBlocked
        raise LoginCodeInvalid(f"the legacy token is dead: {holder.reason.name}")

    async def _release(self, signed: SignedLegacy) -> None:
        try:
            await self._tokens.release_exchange(signed)
        except StoreUnavailable:
            # It stays taken: the retry is LOGIN_CODE_USED, and a code of wx.login helps.
            self._observer.event(
                Event("login.claim_not_released", level="warning", fields={"app_id": signed.app.app_id})
            )
