"""
Tokens of home-made services: judged by this server only, exchanged into a session once, revocable.

Each judgement asks the record, and nothing of it is remembered: a legacy token stands in no log, so memory could not
know its end. A token that is not of a configured shape is none of ours to judge here.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from authsvc.domain.access_token import Claims, InactiveReason
from authsvc.domain.apps import LEEWAY, App, AppRegistry
from authsvc.domain.legacy_token import (
    MAX_AHEAD,
    MAX_LIFETIME,
    LegacyHolder,
    LegacyPolicy,
    LegacyQuery,
    claim_ids,
    has_shape,
    is_signed,
    judge_holder,
    judge_legacy_times,
    read_claims,
    split,
    user_revoked_id,
)
from authsvc.domain.sessions import EndReason
from authsvc.ports import Clock, Store

_LEEWAY_S = LEEWAY.total_seconds()
# What happened to a token is remembered until after its end, whatever the difference of the clocks.
_MARGIN = timedelta(days=1)
# A position above all others: what stands in the log is not what ends a legacy token; the record was asked.
_ABOVE_ALL = 2**64 - 1


@dataclass(frozen=True, slots=True)
class SignedLegacy:
    """A token that an app's legacy secret signed; its times and the record are judged elsewhere."""

    app: App
    policy: LegacyPolicy
    query: LegacyQuery = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacyRefusal:
    """Why a legacy token is not accepted; `end_reason` where the record knows."""

    reason: InactiveReason
    end_reason: EndReason = EndReason.UNSPECIFIED


class LegacyTokens:
    """Judges and revokes legacy tokens."""

    def __init__(self, *, apps: AppRegistry, store: Store, clock: Clock, issuer: str) -> None:
        self._apps = apps
        self._store = store
        self._clock = clock
        self._issuer = issuer

    def read(self, token: str) -> SignedLegacy | LegacyRefusal | None:
        """
        Return the token as signed by the app whose shape it has; None if it has the shape of none.

        The shape chooses the secrets that are tried; nothing that the token says chooses an algorithm.
        """
        now = self._clock.now()
        candidates = [
            (app, app.legacy)
            for app in self._apps.migrating
            if app.legacy is not None and app.legacy.applies(now=now)
        ]
        shaped = split(token) if candidates else None
        if shaped is None:
            return None
        known = False
        for app, policy in candidates:
            if not has_shape(shaped, policy):
                continue
            known = True
            if not is_signed(shaped, policy):
                continue
            claims = read_claims(shaped, policy)
            if claims is None:
                return LegacyRefusal(InactiveReason.MALFORMED)
            query = LegacyQuery(app.app_id, policy.subject, claims, claim_ids(shaped))
            return SignedLegacy(app, policy, query)
        return LegacyRefusal(InactiveReason.BAD_SIGNATURE) if known else None

    async def judge(self, token: str) -> Claims | LegacyRefusal | None:
        """
        Return what the token says if nothing in its times and the record stands against it; None if it is no legacy token.

        The claims have no session and no token id, and the app's own audiences.

        Raises:
            StoreUnavailable: the record could not be asked, so nothing can be said.

        """
        signed = self.read(token)
        if not isinstance(signed, SignedLegacy):
            return signed
        holder = await self.find_holder(signed)
        return holder if isinstance(holder, LegacyRefusal) else self._claims(signed, holder)

    async def find_holder(self, signed: SignedLegacy) -> LegacyHolder | LegacyRefusal:
        """
        Return whom a signed token stands for now.

        Raises:
            StoreUnavailable: the record could not be asked.

        """
        now, claims = self._clock.now(), signed.query.claims
        reason = judge_legacy_times(claims, signed.policy, now=now, leeway_s=_LEEWAY_S)
        if reason is not None:
            return LegacyRefusal(reason)
        holder = await self._store.find_legacy_holder(signed.query)
        death = judge_holder(holder, claims, now=now, leeway_s=_LEEWAY_S)
        if death is not None:
            return LegacyRefusal(*death)
        assert holder is not None  # judge_holder has refused nobody
        return holder

    async def claim_exchange(self, signed: SignedLegacy) -> bool:
        """
        Take the one exchange that the token is good for; False if it was taken before, on any replica.

        Raises:
            StoreUnavailable: nobody knows whether it was taken.

        """
        return await self._claim(signed, signed.query.ids.exchanged)

    async def release_exchange(self, signed: SignedLegacy) -> None:
        """
        Give the exchange back, where provably nothing came of it.

        Raises:
            StoreUnavailable: it stays taken.

        """
        await self._store.release_code(app_id=signed.app.app_id, code_hash=signed.query.ids.exchanged)

    async def revoke(self, token: str) -> str | None:
        """
        End a legacy token, expired or not, and the exchange it was good for; return its user's id, if there is one.

        None also for what is no signed legacy token: success with nothing written, as for our own.

        Raises:
            StoreUnavailable: nothing is promised; call again.

        """
        signed = self.read(token)
        if not isinstance(signed, SignedLegacy):
            return None
        now = self._clock.now()
        if judge_legacy_times(signed.query.claims, signed.policy, now=now, leeway_s=_LEEWAY_S) is None:
            await self._claim(signed, signed.query.ids.revoked)
            await self._claim(signed, signed.query.ids.exchanged)
        holder = await self._store.find_legacy_holder(signed.query)
        return None if holder is None else holder.user.user_id

    def app_of(self, token: str) -> str | None:
        """Return the app whose legacy secret signed the token; None if none did."""
        signed = self.read(token)
        return signed.app.app_id if isinstance(signed, SignedLegacy) else None

    async def revoke_user_in_app(self, user_id: str, *, app_id: str) -> None:
        """
        From now on none of the user's legacy tokens of this app is good, where the app has any.

        Of all apps, the record keeps with the user when that was, and needs no help.

        Raises:
            StoreUnavailable: nothing is promised; call again.

        """
        if any(app.app_id == app_id for app in self._apps.migrating):
            await self._store.claim_code(
                app_id=app_id, code_hash=user_revoked_id(user_id), ttl=MAX_AHEAD + MAX_LIFETIME
            )

    async def _claim(self, signed: SignedLegacy, name: bytes) -> bool:
        expires_at = datetime.fromtimestamp(signed.query.claims.expires_at, UTC)
        ttl = expires_at - self._clock.now() + _MARGIN
        return await self._store.claim_code(app_id=signed.app.app_id, code_hash=name, ttl=ttl)

    def _claims(self, signed: SignedLegacy, holder: LegacyHolder) -> Claims:
        app, policy, said = signed.app, signed.policy, signed.query.claims
        return Claims(
            issuer=self._issuer,
            user_id=holder.user.user_id,
            audiences=app.audiences,
            app_id=app.app_id,
            expires_at=min(said.expires_at, int(policy.until.timestamp())),
            issued_at=said.issued_at or 0,
            not_before=said.issued_at or 0,
            token_id="",
            session_id="",
            position=_ABOVE_ALL,
            scopes=policy.scopes,
            roles=policy.roles,
            openid=holder.openid if app.openid_in_token else None,
            external_id=holder.user.external_id,
            previous_user_ids=holder.user.previous_ids,
        )
