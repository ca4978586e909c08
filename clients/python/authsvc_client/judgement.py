"""
The judgement of a token: a pure function of its text, the keys, the revocations, the time and what is asked.

Reasons come in the order that the contract pins (`authapi.v1.InactiveReason`): the first that holds is told.
"""

from typing import NamedTuple

from authsvc_client.revocations import RevocationView, VerifiedToken
from authsvc_client.settings import LEEWAY_S
from authsvc_client.signatures import KeySet
from authsvc_client.tokens import TYPE, parse
from authsvc_client.verdicts import Active, Inactive, InactiveReason, Verdict

_REFUSALS = {reason: Inactive(reason) for reason in InactiveReason}
MALFORMED = _REFUSALS[InactiveReason.MALFORMED]
UNKNOWN_KEY = _REFUSALS[InactiveReason.UNKNOWN_KEY]


class Demand(NamedTuple):
    """What a call asks of a token beyond being good: the audience, all scopes, all roles."""

    audience: str
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


def judge(token: str, *, keys: KeySet, view: RevocationView, now_s: float, demand: Demand) -> Verdict:
    """
    Judge a token by keys and revocations that are taken to be complete and current at *now_s* (seconds since 1970).

    UNKNOWN_KEY means "not in *keys*"; whether that can be said to a caller is for whoever read them to know.
    """
    raw = ascii_of(token)
    if raw is None:
        return MALFORMED
    believed = believe(raw, keys=keys, view=view, now_s=now_s)
    if isinstance(believed, Inactive):
        return believed
    return find_dead(believed, keys=keys, view=view, now_s=now_s) or judge_demand(believed.active, demand)


def ascii_of(token: str) -> bytes | None:
    """Return a token's bytes, or None if it has characters that no token has."""
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        return None


def believe(raw: bytes, *, keys: KeySet, view: RevocationView, now_s: float) -> VerifiedToken | Inactive:
    """Judge all of a token but revocation and demand; what is returned may be remembered under its whole text."""
    parsed = parse(raw, keys.known_headers)
    if parsed is None:
        return MALFORMED
    header, claims, signing_input, signature = parsed
    if header.typ != TYPE:
        return _REFUSALS[InactiveReason.WRONG_TYPE]
    kid = header.kid
    if kid in keys.withdrawn or view.is_withdrawn(kid):
        return _REFUSALS[InactiveReason.KEY_WITHDRAWN]
    key = keys.by_kid.get(kid)
    if key is None:
        return UNKNOWN_KEY
    if header.alg != key.alg or not key.verify(signing_input, signature):
        return _REFUSALS[InactiveReason.BAD_SIGNATURE]
    if claims.issuer != keys.issuer:
        return _REFUSALS[InactiveReason.WRONG_ISSUER]
    if claims.expires_at - claims.issued_at > keys.max_lifetime_s:
        return _REFUSALS[InactiveReason.LIFETIME_TOO_LONG]
    not_before = max(claims.not_before, claims.issued_at)
    dead = _judge_times(not_before, claims.expires_at, now_s)
    if dead is not None:
        return dead
    return VerifiedToken(claims, kid, not_before)


def find_dead(token: VerifiedToken, *, keys: KeySet, view: RevocationView, now_s: float) -> Inactive | None:
    """Judge again what changes: withdrawal, times, revocation. A token found dead is dead however old the view is."""
    if token.kid in keys.withdrawn or view.is_withdrawn(token.kid):
        return _REFUSALS[InactiveReason.KEY_WITHDRAWN]
    return _judge_times(token.not_before, token.claims.expires_at, now_s) or view.death_of(token)


def judge_demand(active: Active, demand: Demand) -> Verdict:
    """Judge what this call asks for; never remembered."""
    if demand.audience not in active.audiences:
        return _REFUSALS[InactiveReason.WRONG_AUDIENCE]
    for scope in demand.scopes:
        if scope not in active.scopes:
            return _REFUSALS[InactiveReason.MISSING_SCOPE]
    for role in demand.roles:
        if role not in active.roles:
            return _REFUSALS[InactiveReason.MISSING_ROLE]
    return active


def _judge_times(not_before: int, expires_at: int, now_s: float) -> Inactive | None:
    if not_before > now_s + LEEWAY_S:
        return _REFUSALS[InactiveReason.NOT_YET_VALID]
    if now_s >= expires_at + LEEWAY_S:
        return _REFUSALS[InactiveReason.EXPIRED]
    return None
