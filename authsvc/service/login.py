"""
Login: one WeChat code becomes one session, and the code reaches WeChat at most once.

The claim is committed before the exchange, so no other replica sends the code; concurrent duplicates in this
process join the exchange in flight and share its outcome (DESIGN section 3, login code).
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from authsvc.domain import refresh_token
from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.errors import (
    LoginCodeSpent,
    LoginCodeUsed,
    StoreUnavailable,
    UserBlocked,
    WeChatUnavailable,
)
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.login_code import check_code, hash_code
from authsvc.domain.refresh_token import NONCE_BYTES
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import (
    Clock,
    CodeSession,
    Entropy,
    Event,
    Observer,
    Opened,
    Opening,
    Rings,
    Sealer,
    SessionStore,
    UserIsBlocked,
    WeChat,
)
from authsvc.service.issue import TokenIssuer, TokenPair
from authsvc.service.keys import KeyDirectory
from authsvc.service.tail import LogTail
from authsvc.service.waiting import Unbroken

# Twice a code's own life (5 minutes, facts page 1.4): after that WeChat itself refuses it.
CLAIM_TTL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A session that began, with its first tokens."""

    opened: Opened
    openid: str = field(repr=False)
    tokens: TokenPair


def session_key_context(app_id: str, openid: str) -> bytes:
    """Return what a sealed session_key is bound to: its app and its owner."""
    return f"{app_id}\x00{openid}".encode()


class Logins:
    """The login use case, with the exchanges that are in flight."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        store: SessionStore,
        wechat: WeChat,
        sealer: Sealer,
        rings: Rings,
        keys: KeyDirectory,
        issuer: TokenIssuer,
        tail: LogTail,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        unbroken: Unbroken,
    ) -> None:
        self._apps = apps
        self._store = store
        self._wechat = wechat
        self._sealer = sealer
        self._rings = rings
        self._keys = keys
        self._issuer = issuer
        self._tail = tail
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._unbroken = unbroken
        self._in_flight: dict[tuple[str, bytes], asyncio.Task[LoginResult]] = {}

    async def login(self, *, app_id: str, code: str, client: ClientInfo) -> LoginResult:
        """
        Exchange the code and start a session; durable when it returns.

        Raises:
            InvalidField, LoginCodeInvalid, UnknownApp, AppDisabled: refused before any I/O.
            StoreUnavailable, WeChatUnavailable: the code was not sent and may be tried again.
            LoginCodeUsed, LoginCodeSpent, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured: see `errors`.
            UserBlocked: an operator blocked this user.

        """
        app = self._apps.get(app_id)
        check_code(code)
        key = (app_id, hash_code(code))
        exchange = self._in_flight.get(key)
        if exchange is None:
            exchange = self._unbroken.start(self._login_once(app, code, key[1], client))
            self._in_flight[key] = exchange
            exchange.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await asyncio.shield(exchange)

    async def _login_once(self, app: App, code: str, code_hash: bytes, client: ClientInfo) -> LoginResult:
        self._keys.signer()  # a replica that cannot issue must not spend the code
        if not await self._store.claim_code(app_id=app.app_id, code_hash=code_hash, ttl=CLAIM_TTL):
            raise LoginCodeUsed("claimed before")
        try:
            answer = await self._wechat.code_to_session(app_id=app.app_id, code=code)
        except WeChatUnavailable:
            await self._release(app, code_hash)
            raise
        try:
            return await self._open(app, answer, client)
        except StoreUnavailable as error:
            raise LoginCodeSpent("exchanged, and not stored") from error

    async def _open(self, app: App, answer: CodeSession, client: ClientInfo) -> LoginResult:
        raw_session_id = self._entropy.token_bytes(ID_BYTES)
        line = refresh_token.first_token(
            raw_session_id,
            nonce=self._entropy.token_bytes(NONCE_BYTES),
            key_id=self._rings.refresh_mac.current_id,
        )
        written = await self._store.open_session(
            Opening(
                app=app,
                openid=answer.openid,
                unionid=answer.unionid,
                sealed_session_key=self._sealer.seal(
                    answer.session_key.encode(), context=session_key_context(app.app_id, answer.openid)
                ),
                exchanged_at=self._clock.now(),
                client=client,
                fresh_user_id=encode_id(self._entropy.token_bytes(ID_BYTES)),
                session_id=line.session_id,
                nonce_hash=line.nonce_hash,
                mac_key_id=line.key_id,
                jitter=self._entropy.fraction(),
            )
        )
        opened = self._tail.apply_own(written)
        if isinstance(opened, UserIsBlocked):
            raise UserBlocked
        tokens = await self._issuer.issue(opened.session, user=opened.user, app=app, line=line)
        self._observer.event(
            Event(
                "session.opened",
                fields={
                    "app_id": app.app_id,
                    "user_id": opened.user.user_id,
                    "session_id": opened.session.session_id,
                    "new_user": opened.is_new_user,
                },
            )
        )
        return LoginResult(opened=opened, openid=answer.openid, tokens=tokens)

    async def _release(self, app: App, code_hash: bytes) -> None:
        try:
            await self._store.release_code(app_id=app.app_id, code_hash=code_hash)
        except StoreUnavailable:
            # The claim stands until it expires: the caller's retry will be LOGIN_CODE_USED, and a new code helps.
            self._observer.event(
                Event("login.claim_not_released", level="warning", fields={"app_id": app.app_id})
            )
