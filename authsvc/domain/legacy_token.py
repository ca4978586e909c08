"""
Tokens of a home-made service that an app is migrated from: HS256, without `kid`, `typ: at+jwt` or `aud`.

Which tokens these are is configured as a shape (the exact header, the exact names of the claims) and never read from
`alg`; the check that is made is always HMAC-SHA256 with the app's own secret (RFC 8725 sections 3.1, 3.11 and 3.12).
Nothing here mints one. What revokes them, and how they become sessions, is the use cases' business.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from authsvc.domain.access_token import MAX_TIME, MAX_TOKEN_LENGTH, InactiveReason, read_json_object
from authsvc.domain.ids import decode_base64url
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import User

# RFC 7518 section 3.2: a key of the hash's size or larger.
MIN_SECRET_BYTES = 32
# A migration that takes longer is none: until then two services can say who somebody is.
MAX_AHEAD = timedelta(days=90)
MAX_LIFETIME = timedelta(days=90)
_MAX_SUBJECT = 255


class LegacySubject(StrEnum):
    """What the user claim of a legacy token holds."""

    OPENID = "openid"
    """The user's openid in the app."""
    EXTERNAL_ID = "external_id"
    """The id that the home-made service gave the user, kept with the user as external id."""
    USER_ID = "user_id"
    """Our own id of the user."""


@dataclass(frozen=True, slots=True)
class LegacyPolicy:
    """
    How one app's legacy tokens look, and what they are worth.

    `header` is the exact JOSE header. `claims` are all the claims that a token must have, `optional_claims` those it
    may have; with any other it is not a legacy token. `expected` are claims with one only value. `issued_claim` is
    empty where the service never said when it issued. `scopes` and `roles` are those of every legacy token.
    """

    secret: bytes = field(repr=False)
    until: datetime
    user_claim: str
    subject: LegacySubject
    header: Mapping[str, str]
    claims: frozenset[str]
    optional_claims: frozenset[str] = frozenset()
    expected: Mapping[str, str] = field(default_factory=dict)
    issued_claim: str = "iat"
    expires_claim: str = "exp"
    max_lifetime: timedelta = timedelta(days=30)
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def applies(self, *, now: datetime) -> bool:
        """Tell whether legacy tokens are still looked at."""
        return now < self.until


@dataclass(frozen=True, slots=True)
class ShapedToken:
    """Three well-formed parts of which the first two are JSON objects; nothing is believed yet."""

    header: Mapping[str, Any]
    payload: Mapping[str, Any] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacyClaims:
    """What a legacy token says; `issued_at` None if it does not say. Instants are whole seconds since 1970."""

    subject: str = field(repr=False)
    expires_at: int
    issued_at: int | None


@dataclass(frozen=True, slots=True)
class LegacyHolder:
    """
    Whom a legacy token names in its app, and what the record says against the token.

    `user_revoked_at` and `app_revoked_at` are when all sessions of the person (those who were merged into them
    included) and of the app were last revoked; `token_revoked` and `app_user_revoked` say that the token itself was,
    or the person in this app alone.
    """

    user: User
    openid: str = field(repr=False)
    user_revoked_at: datetime | None = None
    app_revoked_at: datetime | None = None
    token_revoked: bool = False
    app_user_revoked: bool = False


@dataclass(frozen=True, slots=True)
class LegacyQuery:
    """A question to the record: whom these claims name in this app. `ids` are the token's."""

    app_id: str
    subject: LegacySubject
    claims: LegacyClaims
    ids: "LegacyClaimIds"


@dataclass(frozen=True, slots=True)
class LegacyClaimIds:
    """
    The names under which the record remembers what happened to one token.

    Of what was signed: in the strict spelling that is read here, one content has one HMAC and one text.
    """

    exchanged: bytes
    revoked: bytes


def split(token: str) -> ShapedToken | None:
    """Return the parts of a token in its one spelling, or None; the same strictness as for our own."""
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    segments = token.split(".")
    if len(segments) != 3:
        return None
    raw_header, raw_payload, signature = (decode_base64url(segment) for segment in segments)
    if raw_header is None or raw_payload is None or signature is None:
        return None
    header, payload = read_json_object(raw_header), read_json_object(raw_payload)
    if header is None or payload is None:
        return None
    return ShapedToken(header, payload, token[: token.rindex(".")].encode(), signature)


def has_shape(token: ShapedToken, policy: LegacyPolicy) -> bool:
    """Tell whether the token looks as the app's legacy tokens do: exact header, exact names, expected values."""
    names = token.payload.keys()
    return (
        dict(token.header) == dict(policy.header)
        and policy.claims <= names <= policy.claims | policy.optional_claims
        and all(token.payload.get(name) == value for name, value in policy.expected.items())
    )


def is_signed(token: ShapedToken, policy: LegacyPolicy) -> bool:
    """Tell whether the app's legacy secret made the signature. HMAC-SHA256, whatever the header says."""
    made = hmac.new(policy.secret, token.signing_input, hashlib.sha256).digest()
    return hmac.compare_digest(made, token.signature)


def read_claims(token: ShapedToken, policy: LegacyPolicy) -> LegacyClaims | None:
    """Return what the token says under the configured names, or None if a value is of the wrong type."""
    try:
        return LegacyClaims(
            subject=_subject(token.payload[policy.user_claim]),
            expires_at=_seconds(token.payload[policy.expires_claim]),
            issued_at=_seconds(token.payload[policy.issued_claim]) if policy.issued_claim else None,
        )
    except (KeyError, ValueError):
        return None


def judge_legacy_times(
    claims: LegacyClaims, policy: LegacyPolicy, *, now: datetime, leeway_s: float
) -> InactiveReason | None:
    """
    Judge lifetime and times at *now*; None means that nothing here stands against the token.

    One that does not say when it was issued must at least not end later than the longest life from now.
    """
    now_s = now.timestamp()
    began = now_s + leeway_s if claims.issued_at is None else claims.issued_at
    if claims.expires_at - began > policy.max_lifetime.total_seconds():
        return InactiveReason.LIFETIME_TOO_LONG
    if claims.issued_at is not None and claims.issued_at > now_s + leeway_s:
        return InactiveReason.NOT_YET_VALID
    if now_s >= claims.expires_at + leeway_s:
        return InactiveReason.EXPIRED
    return None


def judge_holder(
    holder: LegacyHolder | None, claims: LegacyClaims, *, now: datetime, leeway_s: float
) -> tuple[InactiveReason, EndReason] | None:
    """
    Judge by the record; None means that nothing in it stands against the token.

    A legacy token has no log position, so the time of its making decides which revocations reach it: within the
    leeway the revocation wins, and always where the token does not say when it was made.
    """
    if holder is None:
        return InactiveReason.USER_REVOKED, EndReason.UNSPECIFIED
    if holder.token_revoked:
        return InactiveReason.SESSION_REVOKED, EndReason.LOGOUT
    if holder.user.is_blocked(now=now):
        return InactiveReason.USER_REVOKED, EndReason.BLOCKED
    if holder.app_user_revoked or _reaches(holder.user_revoked_at, claims, leeway_s=leeway_s):
        return InactiveReason.USER_REVOKED, EndReason.UNSPECIFIED
    if _reaches(holder.app_revoked_at, claims, leeway_s=leeway_s):
        return InactiveReason.APP_REVOKED, EndReason.UNSPECIFIED
    return None


def _reaches(revoked_at: datetime | None, claims: LegacyClaims, *, leeway_s: float) -> bool:
    if revoked_at is None:
        return False
    return claims.issued_at is None or claims.issued_at <= revoked_at.timestamp() + leeway_s


def claim_ids(token: ShapedToken) -> LegacyClaimIds:
    """Return the names under which what happened to this token is remembered."""
    return LegacyClaimIds(
        exchanged=hashlib.sha256(b"legacy exchanged\0" + token.signing_input).digest(),
        revoked=hashlib.sha256(b"legacy revoked\0" + token.signing_input).digest(),
    )


def user_revoked_id(user_id: str) -> bytes:
    """Return the name under which it is remembered that a user's legacy tokens of one app are dead."""
    return hashlib.sha256(b"legacy user revoked\0" + user_id.encode()).digest()


def check_header(header: Mapping[str, str]) -> None:
    """
    Refuse a configured header that a legacy token cannot have: with `kid` or `typ: at+jwt` it would be one of ours.

    Raises:
        ValueError: saying why.

    """
    if header.get("alg") != "HS256":
        raise ValueError("must have alg HS256")
    if not header.keys() <= {"alg", "typ"} or header.get("typ", "JWT").upper() != "JWT":
        raise ValueError("may have alg and typ JWT, nothing else")


def _subject(value: object) -> str:
    """Text, or a whole number as many tables of users have it, written in decimal."""
    if type(value) is int and 0 <= value < MAX_TIME:
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_SUBJECT:
        raise ValueError("names nobody")
    if "\0" in value:
        raise ValueError("no database keeps it")
    value.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return value


def _seconds(value: object) -> int:
    """Whole seconds; a fraction (Python's time.time()) is cut off, which never lengthens a life."""
    if type(value) is float and math.isfinite(value):
        value = math.floor(value)
    if type(value) is not int or not 0 <= value < MAX_TIME:
        raise ValueError("not a number of seconds")
    return value
