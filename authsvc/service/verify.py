"""
VerifyToken: the hot path. No store, no waiting, nothing done twice for a token seen before.

A token's signature and shape are judged once and remembered under SHA-256 of its whole text (never of its
signature, jti or kid: a forged payload with a stolen signature would hit). Times, revocation, audience, scopes and
roles are judged on every call. Reasons come in CONTRACT.md's order.
"""

import hashlib
from dataclasses import dataclass, field
from itertools import islice

from authsvc.domain import access_token
from authsvc.domain.access_token import Claims, InactiveReason, ParsedToken
from authsvc.domain.apps import LEEWAY, AppRegistry
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import TokenInvalid
from authsvc.domain.principals import require_app
from authsvc.domain.sessions import EndReason
from authsvc.ports import Clock, VerificationKey
from authsvc.service.keys import KeyDirectory
from authsvc.service.legacy import LegacyRefusal, LegacyTokens
from authsvc.service.tail import LogTail

_LEEWAY_S = LEEWAY.total_seconds()


@dataclass(slots=True, eq=False)
class VerifiedToken:
    """
    A token whose signature, type, issuer and lifetime hold: all that is remembered of it.

    `wire` is the transport's own encoding of what it says, made once per token; the core never looks inside. `kid` is
    empty for a legacy token, which no key of ours signed.
    """

    claims: Claims
    kid: str
    wire: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A token that is not accepted, and why; `end_reason` where the log knows how its session ended."""

    reason: InactiveReason
    end_reason: EndReason = EndReason.UNSPECIFIED


@dataclass(slots=True)
class Demand:
    """
    What a call asks of a token, beyond being good: one of the audiences, all scopes, all roles.

    For a caller that is limited to *apps* the token of another app is as good as one for another audience.

    Made for every call, and not frozen because freezing costs a µs each.
    """

    audiences: frozenset[str]
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    apps: frozenset[str] | None = None


Verdict = VerifiedToken | Refusal

_REFUSALS = {reason: Refusal(reason) for reason in InactiveReason}


class TokenVerifier:
    """Judges access tokens against keys and revocations held in memory."""

    def __init__(
        self,
        *,
        keys: KeyDirectory,
        tail: LogTail,
        apps: AppRegistry,
        clock: Clock,
        issuer: str,
        legacy: LegacyTokens | None = None,
        cache_size: int = 50_000,
    ) -> None:
        self._keys = keys
        self._tail = tail
        self._view = tail.view
        self._clock = clock
        self._issuer = issuer
        self._legacy = legacy
        self._cache_size = cache_size
        self._known: dict[bytes, VerifiedToken] = {}
        self._apps = apps

    @property
    def cached(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._known)

    async def judge(
        self, token: str, demand: Demand, *, at_least: Cursor | None = None, arrived_at: float | None = None
    ) -> Verdict:
        """
        Judge a token; with *at_least*, never from older knowledge than that. A token seen before costs no wait.

        *arrived_at* (elapsed clock; now if None) is when the question came: all tokens of a batch came together, so
        one read of the keys answers for all that nobody knows.

        Raises:
            NotFresh: cannot know, because this process is cut off from the log or *at_least* was not reached.
            CursorExpired: *at_least* is of another incarnation of the log.
            StoreUnavailable: the token's key is unknown here, or it is a legacy token, and the store could not be
                asked.

        """
        if at_least is not None:
            await self._tail.reach(at_least)
        believed = await self._believed(token, arrived_at=arrived_at)
        if believed is _REFUSALS[InactiveReason.MALFORMED]:
            # Ours are never taken for legacy tokens: those have no kid and no `at+jwt`, so they are no tokens of ours.
            believed = await self._believe_legacy(token)
        return believed if isinstance(believed, Refusal) else self._judge_believed(believed, demand)

    async def require_active(self, token: str, demand: Demand, *, at_least: Cursor | None = None) -> Claims:
        """
        Return the claims of an active token of ours that names the subject of a call; a legacy token names none.

        Raises:
            TokenInvalid: it is not active; the reason stays here.
            CallerForbidden: it is of an app that the caller may not touch.
            NotFresh, CursorExpired, StoreUnavailable: see `judge`.

        """
        if at_least is not None:
            await self._tail.reach(at_least)
        believed = await self._believed(token, arrived_at=None)
        if isinstance(believed, Refusal):
            raise TokenInvalid
        require_app(demand.apps, believed.claims.app_id)
        verdict = self._judge_believed(believed, demand)
        if isinstance(verdict, Refusal):
            raise TokenInvalid
        return verdict.claims

    async def claims_to_revoke(self, token: str) -> Claims | None:
        """
        Return the claims if signature, type and issuer hold, expired or not (DESIGN section 3); else None.

        Raises:
            StoreUnavailable: the token's key is unknown here and the store could not be asked.

        """
        parsed = access_token.parse(token, known_headers=self._keys.headers)
        if parsed is None or isinstance(await self._check_key(parsed, arrived_at=None), Refusal):
            return None
        return parsed.claims if parsed.claims.issuer == self._issuer else None

    async def _believed(self, token: str, *, arrived_at: float | None) -> VerifiedToken | Refusal:
        """Return what is remembered of a token, or is from now on."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        believed = self._known.get(digest)
        if believed is not None:
            return believed
        judged = await self._believe(token, arrived_at=arrived_at)
        if not isinstance(judged, Refusal):
            self._remember(digest, judged)
        return judged

    async def _believe(self, token: str, *, arrived_at: float | None) -> VerifiedToken | Refusal:
        """Judge what never changes about a token."""
        parsed = access_token.parse(token, known_headers=self._keys.headers)
        if parsed is None:
            return _REFUSALS[InactiveReason.MALFORMED]
        key = await self._check_key(parsed, arrived_at=arrived_at)
        if isinstance(key, Refusal):
            return key
        claims = parsed.claims
        reason = access_token.judge_claims(
            claims,
            now=self._clock.now(),
            issuer=self._issuer,
            max_lifetime_s=self._apps.max_access_lifetime(claims.app_id).total_seconds(),
            leeway_s=_LEEWAY_S,
        )
        return VerifiedToken(claims, key.header.kid) if reason is None else _REFUSALS[reason]

    async def _believe_legacy(self, token: str) -> VerifiedToken | Refusal:
        """Judge what is none of our tokens. Nothing of it is remembered: see `service.legacy`."""
        judged = None if self._legacy is None else await self._legacy.judge(token)
        if judged is None:
            return _REFUSALS[InactiveReason.MALFORMED]
        if isinstance(judged, LegacyRefusal):
            return Refusal(judged.reason, judged.end_reason)
        return VerifiedToken(judged, kid="")

    async def _check_key(self, parsed: ParsedToken, *, arrived_at: float | None) -> VerificationKey | Refusal:
        if arrived_at is None:
            arrived_at = self._clock.elapsed()
        header = parsed.header
        if header.typ != access_token.TYPE:
            return _REFUSALS[InactiveReason.WRONG_TYPE]
        if self._is_withdrawn(header.kid):
            return _REFUSALS[InactiveReason.KEY_WITHDRAWN]
        key = self._keys.find(header.kid)
        if key is None:
            key = await self._keys.find_fresh(header.kid, arrived_at=arrived_at)
            if key is None:
                withdrawn = self._is_withdrawn(header.kid)  # the read may just have told
                return _REFUSALS[InactiveReason.KEY_WITHDRAWN if withdrawn else InactiveReason.UNKNOWN_KEY]
        if header.alg != key.header.alg or not key.verify(parsed.signing_input, parsed.signature):
            return _REFUSALS[InactiveReason.BAD_SIGNATURE]
        return key

    def _is_withdrawn(self, kid: str) -> bool:
        return self._view.is_withdrawn(kid) or kid in self._keys.withdrawn

    def _judge_believed(self, token: VerifiedToken, demand: Demand) -> Verdict:
        if self._is_withdrawn(token.kid):
            return _REFUSALS[InactiveReason.KEY_WITHDRAWN]
        claims = token.claims
        reason = access_token.judge_times(claims, now_s=self._clock.now().timestamp(), leeway_s=_LEEWAY_S)
        if reason is not None:
            return _REFUSALS[reason]
        death = self._view.death_of(claims)
        if death is not None:
            return Refusal(death.reason, death.end_reason)
        # From here on the verdict rests on nothing having been revoked meanwhile.
        self._tail.require_fresh()
        reason = access_token.judge_request(
            claims, audiences=demand.audiences, scopes=demand.scopes, roles=demand.roles
        )
        if reason is None and demand.apps is not None and claims.app_id not in demand.apps:
            reason = InactiveReason.WRONG_AUDIENCE
        return token if reason is None else _REFUSALS[reason]

    def _remember(self, digest: bytes, verified: VerifiedToken) -> None:
        if len(self._known) >= self._cache_size:
            # The oldest go: tokens live for hours, and a lost entry costs one signature check. Several at once,
            # because a dict finds its first entry by passing over all that were deleted before it.
            for oldest in list(islice(self._known, max(self._cache_size // 64, 1))):
                del self._known[oldest]
        self._known[digest] = verified
