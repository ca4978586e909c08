"""Tokens as nobody but a test would make them: any header, any payload, any key, any spelling."""

import json
from dataclasses import dataclass
from typing import Any

from authsvc.domain.ids import encode_base64url
from tests.conformance.vectors.keys import TestKey

ISSUER = "https://auth.example"
APP = "wx00000000000000aa"
OTHER_APP = "wx00000000000000bb"
AUDIENCE = "orders"
USER = "u-3kTq8cWnRzXeYv1pLm0aBg"
SESSION = "AAECAwQFBgcICQoLDA0ODw"
OTHER_SESSION = "EBESExQVFhcYGRobHB0eHw"
NOW_S = 1_800_000_000
LIFETIME_S = 7200
POSITION = 0x100

CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": USER,
    "aud": AUDIENCE,
    "client_id": APP,
    "exp": NOW_S + LIFETIME_S,
    "iat": NOW_S,
    "nbf": NOW_S,
    "jti": "dG9rZW4tMQ",
    "sid": SESSION,
    "scope": "read write",
    "sp": f"{POSITION:016x}",
    "openid": "o-openid-1",
    "roles": ["clerk"],
}


@dataclass(frozen=True)
class Raw:
    """JSON text that stands for itself where a value would."""

    text: str


def claims(**changes: Any) -> dict[str, Any]:
    """The usual payload with these members changed, added, or taken away by `...`."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}


def header(key: TestKey, **changes: Any) -> dict[str, Any]:
    """The usual header of a key, changed likewise."""
    usual = {"typ": "at+jwt", "alg": key.alg, "kid": key.kid}
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def as_bytes(part: object) -> bytes:
    """Bytes as they are, text in UTF-8, anything else as compact JSON with `Raw` texts in their places."""
    if isinstance(part, bytes):
        return part
    if isinstance(part, str):
        return part.encode()
    return _text(part).encode("utf-8", "surrogatepass")


def _text(value: object) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_text(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def unsigned(head: object, payload: object) -> str:
    """What is signed."""
    return f"{encode_base64url(as_bytes(head))}.{encode_base64url(as_bytes(payload))}"


def mint(key: TestKey, payload: object = None, head: object = None) -> str:
    """A token truly signed by *key*, whatever it says."""
    signed = unsigned(header(key) if head is None else head, CLAIMS if payload is None else payload)
    return f"{signed}.{encode_base64url(key.sign(signed.encode()))}"
