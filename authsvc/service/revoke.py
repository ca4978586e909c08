"""
Revoke: what is named is dead, durably, before anybody is told so.

A token names its own session. An unverifiable token is success with nothing written: it opens nothing, and the
answer must not tell a stranger which tokens exist.
"""

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import refresh_token
from authsvc.domain.apps import FACT_MARGIN, AppRegistry
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CallerForbidden, NotFound, UnknownApp
from authsvc.domain.ids import decode_id
from authsvc.domain.principals import require_app
from authsvc.domain.sessions import EndReason
from authsvc.ports import Clock, Event, Observer, Rings, Store, Written
from authsvc.service.audit_refusals import Refusals
from authsvc.service.legacy import LegacyTokens
from authsvc.service.tail import LogTail
from authsvc.service.verify import TokenVerifier
from authsvc.service.waiting import Unbroken


@dataclass(frozen=True, slots=True)
class AccessTokenTarget:
    """The session of an access token, expired or not; with `everything`, every session of its user."""

    token: str
    everything: bool = False


@dataclass(frozen=True, slots=True)
class RefreshTokenTarget:
    """The session of a refresh token, whatever its counter; with `everything`, every session of its user."""

    token: str
    everything: bool = False


@dataclass(frozen=True, slots=True)
class SessionTarget:
    """One session by id; with `everything`, every session of its user."""

    session_id: str
    everything: bool = False


@dataclass(frozen=True, slots=True)
class UserTarget:
    """Every session of a user; `app_id` narrows it to one app."""

    user_id: str
    app_id: str = ""


@dataclass(frozen=True, slots=True)
class AppTarget:
    """Every session of an app."""

    app_id: str


Target = AccessTokenTarget | RefreshTokenTarget | SessionTarget | UserTarget | AppTarget


@dataclass(frozen=True, slots=True)
class RevokeResult:
    """How many sessions ended now, and a cursor that a verifier can be asked to have reached."""

    ended_sessions: int
    head: Cursor


class Revocations:
    """The revoke use case."""

    def __init__(
        self,
        *,
        apps: AppRegistry,
        store: Store,
        rings: Rings,
        verifier: TokenVerifier,
        tail: LogTail,
        clock: Clock,
        observer: Observer,
        unbroken: Unbroken,
        legacy: LegacyTokens,
        refusals: Refusals,
    ) -> None:
        self._apps = apps
        self._store = store
        self._legacy = legacy
        self._rings = rings
        self._verifier = verifier
        self._tail = tail
        self._clock = clock
        self._observer = observer
        self._unbroken = unbroken
        self._refusals = refusals

    async def revoke(
        self, target: Target, *, reason: EndReason, by: str, within: frozenset[str] | None = None
    ) -> RevokeResult:
        """
        End what *target* names; *by* is the caller's name, kept with the session.

        Raises:
            CallerForbidden: it reaches beyond the apps *within* which the caller may work; nothing was done.
            NotFound: no such session or user.
            UnknownApp: no such app.
            StoreUnavailable: nothing is promised; call again.

        """
        return await self._unbroken.run(self._revoke(target, reason=reason, by=by, within=within))

    async def _revoke(
        self, target: Target, *, reason: EndReason, by: str, within: frozenset[str] | None
    ) -> RevokeResult:
        if within is not None:
            await self._require_within(target, within)
        match target:
            case AccessTokenTarget():
                result = await self._revoke_access_token(target, reason=reason, by=by)
            case RefreshTokenTarget():
                result = await self._revoke_refresh_token(target, reason=reason, by=by)
            case SessionTarget():
                result = await self._revoke_session(target, reason=reason, by=by)
            case UserTarget():
                if target.app_id:
                    self._require_app(target.app_id)
                    await self._legacy.revoke_user_in_app(target.user_id, app_id=target.app_id)
                result = _counted(
                    await self._end_user(target.user_id, app_id=target.app_id, reason=reason, by=by), "user"
                )
            case AppTarget():
                self._require_app(target.app_id)
                written = await self._store.end_app_sessions(
                    target.app_id, reason=reason, by=by, longest_lifetime=self._apps.longest_access_lifetime
                )
                result = RevokeResult(self._tail.apply_own(written), written.head)
        self._observer.event(
            Event(
                "sessions.revoked",
                fields={
                    "target": type(target).__name__,
                    "reason": reason.name,
                    "by": by,
                    "ended_sessions": result.ended_sessions,
                },
            )
        )
        return result

    async def _revoke_access_token(
        self, target: AccessTokenTarget, *, reason: EndReason, by: str
    ) -> RevokeResult:
        claims = await self._verifier.claims_to_revoke(target.token)
        if claims is None:
            user_id = await self._legacy.revoke(target.token)
            if user_id is None or not target.everything:
                return await self._nothing()
            rest = await self._end_user(user_id, app_id="", reason=reason, by=by)
            return RevokeResult(rest.value or 0, rest.head)
        written = await self._store.end_session(
            claims.session_id,
            reason=reason,
            by=by,
            fact_until=self._last_acceptance(claims.session_id, issued_at=claims.issued_at),
        )
        return await self._and_everything(
            written, user_id=claims.user_id if target.everything else "", reason=reason, by=by
        )

    async def _revoke_refresh_token(
        self, target: RefreshTokenTarget, *, reason: EndReason, by: str
    ) -> RevokeResult:
        token = refresh_token.parse(target.token, ring=self._rings.refresh_mac)
        if token is None:
            return await self._nothing()
        session = await self._store.get_session(token.session_id)
        if session is not None and session.nonce_hash != token.nonce_hash:
            self._observer.event(
                Event("revoke.foreign_nonce", level="error", fields={"session_id": token.session_id})
            )
            self._refusals.note(
                "revoke.foreign_nonce",
                refusal="RefreshTokenInvalid",
                app_id=session.app_id,
                session_id=token.session_id,
                user_id=session.user_id,
                by=by,
            )
            return await self._nothing()
        written = await self._store.end_session(
            token.session_id,
            reason=reason,
            by=by,
            nonce_hash=token.nonce_hash,
            fact_until=self._last_acceptance(token.session_id, issued_at=None),
        )
        user_id = session.user_id if session is not None and target.everything else ""
        return await self._and_everything(written, user_id=user_id, reason=reason, by=by)

    async def _revoke_session(self, target: SessionTarget, *, reason: EndReason, by: str) -> RevokeResult:
        session = await self._store.get_session(target.session_id) if decode_id(target.session_id) else None
        if session is None:
            raise NotFound("session")
        written = await self._store.end_session(target.session_id, reason=reason, by=by)
        return await self._and_everything(
            written, user_id=session.user_id if target.everything else "", reason=reason, by=by
        )

    async def _and_everything(
        self, written: Written[int | None], *, user_id: str, reason: EndReason, by: str
    ) -> RevokeResult:
        ended = self._tail.apply_own(written) or 0
        if not user_id:
            return RevokeResult(ended, written.head)
        rest = await self._end_user(user_id, app_id="", reason=reason, by=by)
        return RevokeResult(ended + (rest.value or 0), rest.head)

    async def _end_user(
        self, user_id: str, *, app_id: str, reason: EndReason, by: str
    ) -> Written[int | None]:
        written = await self._store.end_user_sessions(user_id, app_id=app_id, reason=reason, by=by)
        self._tail.apply_own(written)
        return written

    async def _nothing(self) -> RevokeResult:
        head = await self._store.read_head()
        return RevokeResult(0, Cursor(head.incarnation, head.position))

    def _last_acceptance(self, session_id: str, *, issued_at: int | None) -> datetime | None:
        """
        Say until when some access token of a session without a row may still be accepted; None if none can be.

        None also where the session is known to be dead: repeating a revocation must not grow the log.

        The row is gone, so nobody knows the newest token: one may have been made this very moment, unless the
        session's own absolute end has passed.
        """
        if self._tail.view.is_session_dead(session_id):
            return None
        now = self._clock.now()
        absolute = max(app.absolute_lifetime for app in self._apps.apps.values())
        if issued_at is not None and now.timestamp() - issued_at > absolute.total_seconds():
            return None
        return now + self._apps.longest_access_lifetime + FACT_MARGIN

    async def _require_within(self, target: Target, within: frozenset[str]) -> None:
        """
        Return if all that *target* ends is of these apps; which app a session is of never changes.

        Raises:
            CallerForbidden: it is not, or nobody can tell.

        """
        match target:
            case UserTarget() | AppTarget():
                require_app(within, target.app_id)
                return
            case AccessTokenTarget():
                claims = await self._verifier.claims_to_revoke(target.token)
                if claims is not None:
                    app_id = claims.app_id
                elif (legacy_app := self._legacy.app_of(target.token)) is not None:
                    app_id = legacy_app
                else:
                    return  # nothing will be done
            case RefreshTokenTarget():
                token = refresh_token.parse(target.token, ring=self._rings.refresh_mac)
                if token is None:
                    return  # nothing will be done
                app_id = await self._app_of(token.session_id)
            case SessionTarget():
                app_id = await self._app_of(target.session_id)
        require_app(within, app_id)
        if target.everything:
            raise CallerForbidden("every session of a user is not of its apps only")

    async def _app_of(self, session_id: str) -> str:
        session = await self._store.get_session(session_id) if decode_id(session_id) else None
        return "" if session is None else session.app_id

    def _require_app(self, app_id: str) -> None:
        if app_id not in self._apps.apps:
            raise UnknownApp


def _counted(written: Written[int | None], what: str) -> RevokeResult:
    if written.value is None:
        raise NotFound(what)
    return RevokeResult(written.value, written.head)
