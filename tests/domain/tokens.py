"""Making tokens for the tests of access tokens, PyJWT-signed where a signature matters."""

import json
from typing import Any

from hypothesis import strategies as st

from authsvc.domain.access_token import Claims
from authsvc.domain.ids import encode_base64url

HEADER: dict[str, Any] = {"typ": "at+jwt", "alg": "ES256", "kid": "key-1"}
PAYLOAD: dict[str, Any] = {
    "iss": "authsvc",
    "sub": "user-1",
    "aud": "wx1",
    "client_id": "wx1",
    "exp": 1_800_007_200,
    "iat": 1_800_000_000,
    "nbf": 1_800_000_000,
    "jti": "token-1",
    "sid": "session-1",
    "scope": "read write",
    "sp": "00000000000000ff",
}
SIGNATURE = encode_base64url(bytes(64))


def segment(part: object) -> str:
    """Base64url of bytes, of text, or of a value's JSON."""
    if not isinstance(part, bytes | str):
        part = json.dumps(part)
    return encode_base64url(part.encode() if isinstance(part, str) else part)


def token(header: object = HEADER, payload: object = PAYLOAD, signature: str = SIGNATURE) -> str:
    """A token with any header and payload."""
    return f"{segment(header)}.{segment(payload)}.{signature}"


text = st.text(st.characters(codec="utf-8"), max_size=12)
scope = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=8
)
seconds = st.integers(0, 2**53 - 1)
claims = st.builds(
    Claims,
    issuer=text,
    user_id=text,
    audiences=st.lists(text, max_size=3).map(tuple),
    app_id=text,
    expires_at=seconds,
    issued_at=seconds,
    not_before=seconds,
    token_id=text,
    session_id=text,
    position=st.integers(0, 2**64 - 1),
    scopes=st.lists(scope, max_size=3).map(tuple),
    roles=st.lists(text, max_size=3).map(tuple),
    openid=st.none() | text,
    external_id=st.none() | text,
    previous_user_ids=st.lists(text, max_size=2).map(tuple),
)
