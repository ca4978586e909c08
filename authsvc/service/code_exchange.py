"""Who a login code belongs to: the code reaches WeChat at most once, over all replicas (DESIGN section 3, login code)."""

from datetime import timedelta

from authsvc.domain.apps import App
from authsvc.domain.errors import LoginCodeUsed, StoreUnavailable, WeChatUnavailable
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import CodeSession, Event, Observer, SessionStore, WeChat
from authsvc.service.limits import Limiter

# Twice the life of a code (facts page 1.1), so that no code outlives its claim.
CLAIM_TTL = timedelta(minutes=10)
# The contract's calls that use it say nothing of the client: what holds is the app's limit and the code's.
_NOBODY = ClientInfo()


class CodeExchange:
    """Claims, sends, and gives back the claim of what provably was not sent."""

    def __init__(self, *, store: SessionStore, wechat: WeChat, observer: Observer, limiter: Limiter) -> None:
        self._store = store
        self._limiter = limiter
        self._wechat = wechat
        self._observer = observer

    async def once(self, app: App, *, code: str, code_hash: bytes) -> CodeSession:
        """
        Return WeChat's answer. The claim is committed before the code is sent, so no other replica sends it.

        Raises:
            StoreUnavailable, WeChatUnavailable: the code was not sent and may be tried again.
            RateLimited: too many of this app, or failures with this code; it was not sent.
            LoginCodeUsed: claimed before, here or elsewhere.
            LoginCodeInvalid, LoginCodeSpent, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured: see `errors`.

        """
        await self._limiter.admit_login(app, _NOBODY, code_hash=code_hash)
        try:
            return await self.send(app, code=code, code_hash=code_hash)
        except Exception as error:
            await self._limiter.login_failed(app, _NOBODY, error, code_hash=code_hash)
            raise

    async def send(self, app: App, *, code: str, code_hash: bytes) -> CodeSession:
        """Do what `once` does, for a caller that asks its limits itself; raises the same but RateLimited."""
        if not await self._store.claim_code(app_id=app.app_id, code_hash=code_hash, ttl=CLAIM_TTL):
            raise LoginCodeUsed("claimed before")
        try:
            return await self._wechat.code_to_session(app_id=app.app_id, code=code)
        except WeChatUnavailable:
            await self._release(app, code_hash)
            raise

    async def _release(self, app: App, code_hash: bytes) -> None:
        try:
            await self._store.release_code(app_id=app.app_id, code_hash=code_hash)
        except StoreUnavailable:
            # The claim stands until it expires: the caller's retry will be LOGIN_CODE_USED, and a new code helps.
            self._observer.event(
                Event("login.claim_not_released", level="warning", fields={"app_id": app.app_id})
            )
