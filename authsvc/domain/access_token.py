"""
Access tokens (JWT, RFC 9068): their claims, their one accepted spelling, and the judgement of a parsed one.

Splitting, header match, payload parsing and the judgement of time are ours, because PyJWT reads the wall clock
itself and takes no `now`; signatures are the adapters' business. Which reason is given when several hold is pinned
in CONTRACT.md ("Which reason, when several hold"); the order of checks here and in `service.verify` is that list.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from authsvc.domain.cursors import position_claim
from authsvc.domain.ids import decode_base64url, encode_base64url

TYPE = "at+jwt"
MAX_TOKEN_LENGTH = 8192
ALGORITHMS = ("ES256", "EdDSA", "RS256")
# Beside those of CONTRACT.md `b64` (RFC 7797): without `crit` it is an error or ignored, depending on who reads.
_FORBIDDEN_HEADERS = ("jku", "x5u", "jwk", "crit", "b64")
MAX_TIME = 2**53


class InactiveReason(IntEnum):
    """Why a token is not accepted; numbers are the contract's `InactiveReason`."""

    UNSPECIFIED = 0
    MALFORMED = 1
    UNKNOWN_KEY = 2
    BAD_SIGNATURE = 3
    WRONG_TYPE = 4
    WRONG_ISSUER = 5
    WRONG_AUDIENCE = 6
    MISSING_SCOPE = 7
    EXPIRED = 8
    NOT_YET_VALID = 9
    SESSION_REVOKED = 10
    USER_REVOKED = 11
    APP_REVOKED = 12
    KEY_WITHDRAWN = 13
    MISSING_ROLE = 14
    LIFETIME_TOO_LONG = 15


@dataclass(frozen=True, slots=True)
class Claims:
    """The payload of an access token; instants are whole seconds since 1970, as on the wire."""

    issuer: str
    user_id: str
    audiences: tuple[str, ...]
    app_id: str
    expires_at: int
    issued_at: int
    not_before: int
    token_id: str
    session_id: str
    position: int
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    openid: str | None = field(default=None, repr=False)
    external_id: str | None = None
    previous_user_ids: tuple[str, ...] = ()

    def payload(self) -> bytes:
        """Return the JSON that is signed."""
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.user_id,
            "aud": self.audiences[0] if len(self.audiences) == 1 else list(self.audiences),
            "client_id": self.app_id,
            "exp": self.expires_at,
            "iat": self.issued_at,
            "nbf": self.not_before,
            "jti": self.token_id,
            "sid": self.session_id,
            "scope": " ".join(self.scopes),
            "sp": position_claim(self.position),
        }
        if self.openid is not None:
            claims["openid"] = self.openid
        if self.roles:
            claims["roles"] = list(self.roles)
        if self.external_id is not None:
            claims["external_id"] = self.external_id
        if self.previous_user_ids:
            claims["prev"] = list(self.previous_user_ids)
        return json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Header:
    """The part of a JOSE header that decides anything."""

    kid: str
    alg: str
    typ: str


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A well-formed token, not yet believed."""

    header: Header
    claims: Claims
    signing_input: bytes
    signature: bytes


def header_segment(*, kid: str, alg: str) -> str:
    """Return the first segment of every token made with this key: verifiers match it as bytes."""
    header = {"typ": TYPE, "alg": alg, "kid": kid}
    return encode_base64url(json.dumps(header, separators=(",", ":")).encode())


def signing_input(claims: Claims, *, header: str) -> bytes:
    """Return what is signed: the header segment, a dot, the payload segment (RFC 7515 section 5.1)."""
    return f"{header}.{encode_base64url(claims.payload())}".encode()


def join(signed: bytes, signature: bytes) -> str:
    """Return the token: what was signed, a dot, the signature segment."""
    return f"{signed.decode('ascii')}.{encode_base64url(signature)}"


def parse(token: str, *, known_headers: dict[str, Header]) -> ParsedToken | None:
    """
    Return the token's parts, or None if it is MALFORMED.

    *known_headers* maps the header segments of our own keys to their meaning, so that the usual token costs no
    header parse.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    segments = token.split(".")
    if len(segments) != 3:
        return None
    header = known_headers.get(segments[0]) or _parse_header(segments[0])
    if header is None:
        return None
    payload, signature = decode_base64url(segments[1]), decode_base64url(segments[2])
    if payload is None or signature is None:
        return None
    claims = parse_claims(payload)
    if claims is None:
        return None
    return ParsedToken(
        header=header, claims=claims, signing_input=token[: token.rindex(".")].encode(), signature=signature
    )


def _parse_header(segment: str) -> Header | None:
    raw = decode_base64url(segment)
    fields = None if raw is None else read_json_object(raw)
    if fields is None or any(name in fields for name in _FORBIDDEN_HEADERS):
        return None
    try:
        kid, alg, typ = _text(fields.get("kid")), _text(fields.get("alg")), _text(fields.get("typ", ""))
    except ValueError:
        return None
    if alg.lower() == "none":
        return None
    return Header(kid=kid, alg=alg, typ=typ)


def parse_claims(payload: bytes) -> Claims | None:
    """
    Return the claims, or None if any required one is missing, doubled or of the wrong type.

    Stricter than RFC 7519 on purpose: integers are integers, names occur once, text is UTF-8 without BOM and free
    of lone surrogates (each of these is accepted by PyJWT and trips something behind it; pitfalls page, Tokens).
    """
    fields = read_json_object(payload)
    if fields is None:
        return None
    try:
        position = _position(fields["sp"])
        return Claims(
            issuer=_text(fields["iss"]),
            user_id=_text(fields["sub"]),
            audiences=_audiences(fields["aud"]),
            app_id=_text(fields["client_id"]),
            expires_at=_instant(fields["exp"]),
            issued_at=_instant(fields["iat"]),
            not_before=_instant(fields["nbf"]),
            token_id=_text(fields["jti"]),
            session_id=_text(fields["sid"]),
            position=position,
            scopes=_words(_text(fields["scope"])),
            roles=_texts(fields.get("roles", [])),
            openid=_optional_text(fields.get("openid")),
            external_id=_optional_text(fields.get("external_id")),
            previous_user_ids=_texts(fields.get("prev", [])),
        )
    except (KeyError, ValueError):
        return None


def judge_claims(
    claims: Claims, *, now: datetime, issuer: str, max_lifetime_s: float, leeway_s: float
) -> InactiveReason | None:
    """
    Judge issuer and times of a token whose signature holds; None means nothing here stands against it.

    *max_lifetime_s* and *leeway_s* are seconds. Revocation, audience, scope and role are judged after this.
    """
    if claims.issuer != issuer:
        return InactiveReason.WRONG_ISSUER
    if claims.expires_at - claims.issued_at > max_lifetime_s:
        return InactiveReason.LIFETIME_TOO_LONG
    return judge_times(claims, now_s=now.timestamp(), leeway_s=leeway_s)


def judge_times(claims: Claims, *, now_s: float, leeway_s: float) -> InactiveReason | None:
    """Judge `nbf`, `iat` and `exp` at *now_s* (seconds since 1970); this is repeated on every use of a token."""
    if claims.not_before > now_s + leeway_s or claims.issued_at > now_s + leeway_s:
        return InactiveReason.NOT_YET_VALID
    if now_s >= claims.expires_at + leeway_s:
        return InactiveReason.EXPIRED
    return None


def judge_request(
    claims: Claims, *, audiences: frozenset[str], scopes: tuple[str, ...], roles: tuple[str, ...]
) -> InactiveReason | None:
    """
    Judge what this call asks for; never remembered as a verdict.

    One of *audiences* must be the token's; all of *scopes* and *roles* must be.
    """
    if audiences.isdisjoint(claims.audiences):
        return InactiveReason.WRONG_AUDIENCE
    if scopes and not set(scopes) <= set(claims.scopes):
        return InactiveReason.MISSING_SCOPE
    if roles and not set(roles) <= set(claims.roles):
        return InactiveReason.MISSING_ROLE
    return None


def read_json_object(raw: bytes) -> dict[str, Any] | None:
    """
    Return a JSON object in UTF-8 without BOM whose names occur once, at every depth; else None.

    Also None for what CPython itself gives up on: integers of more than 4,300 digits (a ValueError) and nesting
    beyond its recursion limit.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        return None
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name occurs twice")
    return fields


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


# One for all: json.loads makes one per call.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _words(text: str) -> tuple[str, ...]:
    """Return the scope tokens: separated by spaces and by nothing else (RFC 6749 section 3.3)."""
    return tuple(word for word in text.split(" ") if word)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    if not value.isascii():
        value.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return tuple(_text(item) for item in value)


def _audiences(value: object) -> tuple[str, ...]:
    return _texts(value) if isinstance(value, list) else (_text(value),)


def _instant(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_TIME:
        raise ValueError("not a whole number of seconds")
    return value


def _position(value: object) -> int:
    text = _text(value)
    if len(text) != 16 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("not 16 lowercase hex digits")
    return int(text, 16)
