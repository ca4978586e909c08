"""
Login: one WeChat code becomes one session, and the code reaches WeChat at most once.

The claim is committed before the exchange, so no other replica sends the code; concurrent duplicates in this
process join the exchange in flight and share its outcome (DESIGN section 3, login code).
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

from authsvc.domain import refresh_token
from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.errors import (
    AuthError,
    LoginCodeInvalid,
    LoginCodeSpent,
    PhoneCodeInvalid,
    StoreUnavailable,
    UserBlocked,
    WeChatUnavailable,
)
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.legacy_token import LegacyQuery
from authsvc.domain.login_code import check_code, hash_code
from authsvc.domain.people import LinkVerdict
from authsvc.domain.refresh_token import NONCE_BYTES
from authsvc.domain.seal_contexts import session_key_context
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import (
    Clock,
    CodeSession,
    Entropy,
    Event,
    Linking,
    Observer,
    Opened,
    Opening,
    Rings,
    Sealer,
    Store,
    UserIsBlocked,
    WeChat,
)
from authsvc.service.audit_refusals import Refusals
from authsvc.service.code_exchange import CodeExchange
from authsvc.service.issue import TokenIssuer, TokenPair
from authsvc.service.keys import KeyDirectory
from authsvc.service.limits import Limiter
from authsvc.service.phone import KnownNumber, Phones, check_phone_code
from authsvc.service.tail import LogTail
from authsvc.service.waiting import Unbroken, wait_within

# From the call's arrival: a phone number that comes later is not waited for, because the login itself is done.
PHONE_PATIENCE = timedelta(seconds=12)
# What a login found out about who is who, as far as an operator wants to know.
_LINKING_LEVELS = {
    LinkVerdict.MERGED: "info",
    LinkVerdict.HELD: "warning",
    LinkVerdict.APART: "info",
    LinkVerdict.MISMATCH: "warning",
}


@dataclass(frozen=True, slots=True)
class LoginResult:
    """
    A session that began, with its first tokens.

    `phone` is what became of the phone code that came along: the number, or why there is none; None without a code.
    """

    opened: Opened
    openid: str = field(repr=False)
    tokens: TokenPair
    phone: KnownNumber | Exception | None = None


class Logins:
    """The login use case, with the exchanges that are in flight."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        store: Store,
        wechat: WeChat,
        phones: Phones,
        sealer: Sealer,
        rings: Rings,
        keys: KeyDirectory,
        issuer: TokenIssuer,
        tail: LogTail,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        unbroken: Unbroken,
        limiter: Limiter,
        refusals: Refusals,
    ) -> None:
        self._apps = apps
        self._store = store
        self._codes = CodeExchange(store=store, wechat=wechat, observer=observer, limiter=limiter)
        self._phones = phones
        self._sealer = sealer
        self._rings = rings
        self._keys = keys
        self._issuer = issuer
        self._tail = tail
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self._unbroken = unbroken
        self._limiter = limiter
        self._refusals = refusals
        self._in_flight: dict[tuple[str, bytes], asyncio.Task[LoginResult]] = {}

    async def login(self, *, app_id: str, code: str, client: ClientInfo, phone_code: str = "") -> LoginResult:
        """
        Exchange the code and start a session; durable when it returns. A *phone_code* is exchanged after it.

        A phone code that fails leaves the login standing. Who joins an exchange in flight shares its phone, too.

        Raises:
            InvalidField, LoginCodeInvalid, UnknownApp, AppDisabled: refused before any I/O.
            RateLimited: too many attempts or failures, before the code was claimed; or too many logins of this user,
                after it was sent.
            StoreUnavailable, WeChatUnavailable: the code was not sent and may be tried again.
            LoginCodeUsed, LoginCodeSpent, WeChatUserBlocked, WeChatThrottled, WeChatMisconfigured: see `errors`.
            UserBlocked: an operator blocked this user.

        """
        try:
            return await self._login(app_id=app_id, code=code, client=client, phone_code=phone_code)
        except AuthError as error:
            known = app_id if app_id in self._apps.apps else ""
            self._refusals.note_error("login.refused", error, client=client, app_id=known)
            raise

    async def _login(self, *, app_id: str, code: str, client: ClientInfo, phone_code: str) -> LoginResult:
        app = self._apps.get(app_id)
        check_code(code)
        if phone_code:
            check_phone_code(phone_code, field="phone_code")
        key = (app_id, hash_code(code))
        await self._limiter.admit_login(app, client, code_hash=key[1])
        exchange = self._in_flight.get(key)
        if exchange is None:
            exchange = self._unbroken.start(self._login_counted(app, code, key[1], client, phone_code))
            self._in_flight[key] = exchange
            exchange.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await asyncio.shield(exchange)

    async def _login_counted(
        self, app: App, code: str, code_hash: bytes, client: ClientInfo, phone_code: str
    ) -> LoginResult:
        try:
            result = await self._login_once(app, code, code_hash, client, phone_code)
        except Exception as error:
            await self._limiter.login_failed(app, client, error, code_hash=code_hash)
            raise
        await self._limiter.login_succeeded(app, client)
        return result

    async def _login_once(
        self, app: App, code: str, code_hash: bytes, client: ClientInfo, phone_code: str
    ) -> LoginResult:
        began = self._clock.elapsed()
        await self._keys.active_signer()  # a replica that cannot issue must not spend the code
        answer = await self._codes.send(app, code=code, code_hash=code_hash)
        await self._limiter.admit_user(app, answer.openid)
        try:
            result = await self._open(app, answer, client)
        except StoreUnavailable as error:
            raise LoginCodeSpent("exchanged, and not stored") from error
        return await self._with_phone(app, result, phone_code, began=began)

    async def require_signer(self) -> None:
        """
        Return if this replica can issue: what cannot must not spend anybody's credential.

        Raises:
            StoreUnavailable: it does not hold the active signing key, or the store could not be asked.

        """
        await self._keys.active_signer()

    async def open_vouched(
        self, app: App, *, query: LegacyQuery, openid: str, client: ClientInfo, phone_code: str
    ) -> LoginResult:
        """
        Start a session of an identity that is known, because a legacy token vouches for it; durable when it returns.

        Raises:
            LoginCodeInvalid: by now something stands against the token; nothing was stored.
            StoreUnavailable: what came of it is unknown.
            UserBlocked: an operator blocked this user.

        """
        began = self._clock.elapsed()
        result = await self._open(app, CodeSession(openid=openid, session_key=""), client, vouched=query)
        return await self._with_phone(app, result, phone_code, began=began)

    async def _with_phone(
        self, app: App, result: LoginResult, phone_code: str, *, began: float
    ) -> LoginResult:
        if not phone_code:
            return result
        left = PHONE_PATIENCE - timedelta(seconds=self._clock.elapsed() - began)
        return replace(result, phone=await self._phone(app, result.openid, phone_code, within=left))

    async def _phone(
        self, app: App, openid: str, phone_code: str, *, within: timedelta
    ) -> KnownNumber | Exception:
        exchange = self._unbroken.start(
            self._phones.exchange(app, openid=openid, code=phone_code, by="login")
        )
        try:
            if not await wait_within(exchange, clock=self._clock, limit=within):
                raise WeChatUnavailable("the phone number did not come in time")
            return exchange.result()
        except Exception as error:  # noqa: BLE001 - whatever it is, the login stands
            failure = error
        expected = isinstance(failure, PhoneCodeInvalid)
        fields = {"app_id": app.app_id, "error": type(failure).__name__}
        level = "info" if expected else "warning"
        self._observer.event(Event("login.phone_failed", level=level, fields=fields))
        return failure

    async def _open(
        self, app: App, answer: CodeSession, client: ClientInfo, *, vouched: LegacyQuery | None = None
    ) -> LoginResult:
        raw_session_id = self._entropy.token_bytes(ID_BYTES)
        line = refresh_token.first_token(
            raw_session_id,
            nonce=self._entropy.token_bytes(NONCE_BYTES),
            key_id=self._rings.refresh_mac.current_id,
        )
        opening = Opening(
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
        written = await (
            self._store.open_session(opening)
            if vouched is None
            else self._store.open_vouched_session(opening, vouched)
        )
        opened = self._tail.apply_own(written)
        if opened is None:
            raise LoginCodeInvalid("the legacy token was revoked meanwhile")
        self._tell_linking(app, opened.linking)
        if isinstance(opened, UserIsBlocked):
            self._refusals.note(
                "login.refused",
                refusal="UserBlocked",
                app_id=app.app_id,
                ip=client.ip,
                recorded=opened.recorded,
            )
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

    def _tell_linking(self, app: App, linking: Linking) -> None:
        level = _LINKING_LEVELS.get(linking.verdict)
        if level is not None and linking.is_news:
            fields: dict[str, str | int | float | bool] = {
                "app_id": app.app_id,
                "user_id": linking.user_id,
                "other_user_id": linking.other_user_id,
                "merge_id": linking.merge_id,
                "ended_sessions": linking.ended_sessions,
            }
            self._observer.event(Event(f"user.{linking.verdict}", level=level, fields=fields))
