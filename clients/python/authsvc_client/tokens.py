"""
Reading an access token (JWT, RFC 9068) in the one spelling that is accepted; nothing here is believed yet.

Stricter than RFC 7515 and 7519, as the server is: unpadded canonical base64url, UTF-8 without BOM, names once, whole
numbers, no lone surrogates. Signatures, times and revocations are judged elsewhere.
"""

import binascii
import json
from typing import Any, Final, NamedTuple, TypeAlias

TYPE: Final = "at+jwt"
MAX_TOKEN_LENGTH: Final = 8192
ID_BYTES: Final = 16
_ID_LENGTH: Final = 22
_LAST_OF_ID: Final = "AQgw"  # 22 characters hold 132 bits: the last four are zero
_MAX_TIME: Final = 2**53
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")
# By length modulo 4, the last letters whose spare bits are zero (RFC 4648 section 3.5); one letter alone is nothing.
_LAST_LETTERS = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
_HEX = "0123456789abcdef"
# As _TO_STANDARD, and what only the standard alphabet has becomes a byte that it refuses.
_TO_STRICT = bytes.maketrans(b"-_+/=", b"+/!!!")
_FORBIDDEN_HEADERS = frozenset({"jku", "x5u", "jwk", "crit", "b64"})


class Header(NamedTuple):
    """The part of a JOSE header that decides anything."""

    kid: str
    alg: str
    typ: str


class Claims(NamedTuple):
    """The payload; instants are whole seconds since 1970, `position` is the claim `sp`."""

    issuer: str
    user_id: str
    audiences: tuple[str, ...]
    app_id: str
    expires_at: int
    issued_at: int
    not_before: int
    token_id: str
    session_id: str
    scopes: tuple[str, ...]
    position: int
    openid: str | None
    roles: tuple[str, ...]
    external_id: str | None
    previous_user_ids: tuple[str, ...]


class ParsedToken(NamedTuple):
    """A well-formed token."""

    header: Header
    claims: Claims
    signing_input: bytes
    signature: bytes


KnownHeaders: TypeAlias = dict[bytes, Header]
"""Header segments as bytes, with their meaning: the usual token then costs no header parse."""


def parse(raw: bytes, known_headers: KnownHeaders) -> ParsedToken | None:
    """Return the parts of a token's ASCII bytes, or None if it is MALFORMED."""
    if len(raw) > MAX_TOKEN_LENGTH or raw.translate(None, _ALPHABET) != b"..":
        return None
    signing_input, _, tail = raw.rpartition(b".")
    head, _, body = signing_input.partition(b".")
    header = known_headers.get(head) or _parse_header(head)
    if header is None:
        return None
    payload, signature = _decode(body), _decode(tail)
    if payload is None or signature is None:
        return None
    claims = parse_claims(payload)
    return None if claims is None else ParsedToken(header, claims, signing_input, signature)


def header_segment(kid: str, alg: str) -> bytes:
    """Return the first segment of a token as the server writes it for this key."""
    text = json.dumps({"typ": TYPE, "alg": alg, "kid": kid}, separators=(",", ":"))
    return encode_base64url(text.encode())


def encode_base64url(raw: bytes) -> bytes:
    """Return unpadded base64url (RFC 4648 section 5)."""
    return binascii.b2a_base64(raw, newline=False).translate(bytes.maketrans(b"+/", b"-_"), b"=")


def decode_base64url(text: object) -> bytes | None:
    """Return the bytes, or None unless *text* is their one unpadded spelling."""
    if not isinstance(text, str) or not text.isascii():
        return None
    segment = text.encode()
    return None if segment.translate(None, _ALPHABET) else _decode(segment)


def session_id_bytes(session_id: str) -> bytes | None:
    """Return the 16 bytes behind the claim `sid`, or None if it is not the spelling of any."""
    if len(session_id) != _ID_LENGTH or session_id[-1] not in _LAST_OF_ID:
        return None
    try:
        return binascii.a2b_base64(session_id.encode("ascii").translate(_TO_STRICT) + b"==", strict_mode=True)
    except ValueError:
        return None


def parse_claims(payload: bytes) -> Claims | None:
    """Return the claims, or None if a required one is missing, or any is doubled or of the wrong type."""
    fields = _json_object(payload)
    if fields is None:
        return None
    # Letters beyond ASCII come as such or by an escape: without either there is no lone surrogate to look for.
    is_plain = payload.isascii() and b"\\" not in payload
    try:
        issuer, user_id, app_id = fields["iss"], fields["sub"], fields["client_id"]
        token_id, session_id, scope, position = fields["jti"], fields["sid"], fields["scope"], fields["sp"]
        expires_at, issued_at, not_before = fields["exp"], fields["iat"], fields["nbf"]
        audience = fields["aud"]
        if not (
            type(issuer) is type(user_id) is type(app_id) is type(token_id) is str
            and type(session_id) is type(scope) is type(position) is str
            and type(expires_at) is type(issued_at) is type(not_before) is int
        ):
            return None
        if not (0 <= expires_at < _MAX_TIME and 0 <= issued_at < _MAX_TIME and 0 <= not_before < _MAX_TIME):
            return None
        if len(position) != 16 or position.strip(_HEX):
            return None
        claims = Claims(
            issuer,
            user_id,
            _texts(audience) if type(audience) is list else (_text(audience),),
            app_id,
            expires_at,
            issued_at,
            not_before,
            token_id,
            session_id,
            tuple(word for word in scope.split(" ") if word),
            int(position, 16),
            _optional_text(fields.get("openid")),
            _texts(fields["roles"]) if "roles" in fields else (),
            _optional_text(fields.get("external_id")),
            _texts(fields["prev"]) if "prev" in fields else (),
        )
        if not is_plain:
            # A lone surrogate raises UnicodeEncodeError, a ValueError.
            f"{issuer}{user_id}{app_id}{token_id}{session_id}{scope}".encode()
    except (KeyError, ValueError):
        return None
    return claims


def _parse_header(segment: bytes) -> Header | None:
    raw = _decode(segment)
    fields = None if raw is None else _json_object(raw)
    if fields is None or not _FORBIDDEN_HEADERS.isdisjoint(fields):
        return None
    try:
        header = Header(_text(fields["kid"]), _text(fields["alg"]), _text(fields.get("typ", "")))
    except (KeyError, ValueError):
        return None
    return None if header.alg.lower() == "none" else header


def _decode(segment: bytes) -> bytes | None:
    """Decode what is known to be of the alphabet."""
    length = len(segment) % 4
    if length and segment[-1] not in _LAST_LETTERS[length]:
        return None
    return binascii.a2b_base64(segment.translate(_TO_STANDARD) + _PADDING[length])


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        # A BOM survives this decoding and is no JSON.
        value = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


# NaN and Infinity are no JSON, and Python reads them unless told otherwise.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _text(value: object) -> str:
    if type(value) is not str:
        raise ValueError("not text")
    return value if value.isascii() else _encodable(value)


def _encodable(text: str) -> str:
    text.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return text


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise ValueError("not a list")
    return tuple([_text(item) for item in value])
