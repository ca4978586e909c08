"""Refresh: the presented token's successor, the same successor again, or the end of the session."""

from dataclasses import dataclass

from authsvc.domain import refresh_token
from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import InvalidField, RefreshTokenInvalid, SessionEnded, UserBlocked
from authsvc.domain.principals import require_app
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.ports import (
    Entropy,
    Event,
    Observer,
    Rings,
    Rotation,
    RotationRefused,
    SessionStore,
    UserIsBlocked,
)
from authsvc.service.audit_refusals import Refusals
from authsvc.service.issue import TokenIssuer, TokenPair
from authsvc.service.keys import KeyDirectory
from authsvc.service.limits import Limiter
from authsvc.service.tail import LogTail
from authsvc.service.waiting import Unbroken


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """A session that goes on, with its newest tokens."""

    rotation: Rotation
    tokens: TokenPair


class Refreshes:
    """The refresh use case."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        store: SessionStore,
        rings: Rings,
        keys: KeyDirectory,
        issuer: TokenIssuer,
        tail: LogTail,
        entropy: Entropy,
        observer: Observer,
        unbroken: Unbroken,
        limiter: Limiter,
        refusals: Refusals,
    ) -> None:
        self._apps = apps
        self._store = store
        self._rings = rings
        self._keys = keys
        self._issuer = issuer
        self._tail = tail
        self._entropy = entropy
        self._observer = observer
        self._unbroken = unbroken
        self._limiter = limiter
        self._refusals = refusals

    async def refresh(
        self, text: str, *, client: ClientInfo, within: frozenset[str] | None = None
    ) -> RefreshResult:
        """
        Rotate a refresh token; durable when it returns.

        Raises:
            CallerForbidden: the session is of none of the apps *within* which the caller may work; it is untouched.
            InvalidField: empty.
            RefreshTokenInvalid: not one of ours (decided without I/O on the record), or of another line.
            RateLimited: too many of this session or address, or too many from there that are none of ours.
            SessionEnded: the session is over, with its reason.
            UserBlocked, UnknownApp, AppDisabled, StoreUnavailable: see `errors`.

        """
        if not text:
            raise InvalidField("refresh_token", "must not be empty")
        token = refresh_token.parse(text, ring=self._rings.refresh_mac)
        if token is None:
            self._refusals.note("refresh.refused", refusal="RefreshTokenInvalid", ip=client.ip)
            await self._limiter.forged_refresh(client)
            raise RefreshTokenInvalid
        await self._limiter.admit_refresh(token.session_id, client)
        if within is not None:
            # An app never changes, so what is seen here holds for the rotation; without a row there is nothing to touch.
            session = await self._store.get_session(token.session_id)
            if session is not None:
                require_app(within, session.app_id)
        return await self._unbroken.run(self._rotate(token, client))

    async def _rotate(self, token: RefreshToken, client: ClientInfo) -> RefreshResult:
        await self._keys.active_signer()  # a replica that cannot issue must not rotate
        outcome = self._tail.apply_own(
            await self._store.rotate(
                token,
                apps=self._apps.apps,
                mac_key_id=self._rings.refresh_mac.current_id,
                jitter=self._entropy.fraction(),
                client=client,
            )
        )
        match outcome:
            case UserIsBlocked():
                self._refusals.note("refresh.refused", refusal="UserBlocked", ip=client.ip)
                raise UserBlocked
            case RotationRefused():
                raise self._refusal(token, outcome, client)
            case Rotation(session=session, user=user):
                app = self._apps.get(session.app_id)
                tokens = await self._issuer.issue(session, user=user, app=app, line=token)
                return RefreshResult(rotation=outcome, tokens=tokens)

    def _refusal(
        self, token: RefreshToken, refused: RotationRefused, client: ClientInfo
    ) -> RefreshTokenInvalid | SessionEnded:
        if refused.reason is None:
            # A MAC of ours over a nonce that is not the session's: the MAC key may be in other hands.
            self._observer.event(
                Event("refresh.foreign_nonce", level="error", fields={"session_id": token.session_id})
            )
            self._refusals.note(
                "refresh.foreign_nonce",
                refusal="RefreshTokenInvalid",
                app_id=refused.app_id,
                session_id=token.session_id,
                user_id=refused.user_id,
                ip=client.ip,
            )
            return RefreshTokenInvalid()
        if refused.by_us or refused.reason is EndReason.STORE_RESTORED:
            suspicious = refused.reason in (EndReason.REFRESH_REUSE, EndReason.STORE_RESTORED)
            self._observer.event(
                Event(
                    f"session.{refused.reason.name.lower()}",
                    level="warning" if suspicious else "info",
                    fields={
                        "session_id": token.session_id,
                        "user_id": refused.user_id,
                        "app_id": refused.app_id,
                    },
                )
            )
        if refused.reason is EndReason.STORE_RESTORED:
            # A session that has no row ends in no transaction; where there was one, that wrote the row of it.
            self._refusals.note(
                "session.store_restored",
                refusal="SessionEnded",
                session_id=token.session_id,
                ip=client.ip,
                recorded=refused.by_us,
            )
        return SessionEnded(refused.reason.name)
