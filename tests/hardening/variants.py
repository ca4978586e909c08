"""
Tokens that our own keys really signed, with headers and claims that are unusual or wrong.

Some of these are good and some are not; whatever ours accepts, everybody else's verifier has to accept as well.
"""

from collections.abc import Iterator
from typing import Any

from tests.hardening.judges import LEEWAY_S, LIFETIME_S, Bench
from tests.hardening.keyring import Key, to_json
from tests.support.core import D1


def variants(bench: Bench) -> Iterator[tuple[str, str]]:
    """What it is, and the token, for every key."""
    for alg, key in bench.keyring.ours.items():
        for what, token in _of(bench, key):
            yield f"{alg} {what}", token


def _of(bench: Bench, key: Key) -> Iterator[tuple[str, str]]:
    for what, changes in _claims(bench):
        yield what, key.token(bench.payload(**changes))
    for what, header in _headers(key):
        yield what, key.token(bench.payload(), header)
    for what, payload in _payloads(bench):
        yield what, key.token(payload)


def _claims(bench: Bench) -> Iterator[tuple[str, dict[str, Any]]]:
    now = bench.now
    value: Any
    yield "plain", {}
    for name in bench.payload():
        yield f"without {name}", {name: None}
        for value in (
            "",
            "x",
            0,
            1.5,
            1e9,
            True,
            [],
            ["x"],
            {},
            [None],
            "\u4e2d\u6587",
            "😀",
            "\0",
            2**53,
            -1,
        ):
            yield f"{name} {value!r}", {name: value}
    for slip in (-LEEWAY_S - 1, -LEEWAY_S, -LEEWAY_S + 1, 0, LEEWAY_S - 1, LEEWAY_S, LEEWAY_S + 1):
        yield f"exp {slip}", {"exp": now + slip, "iat": now - 60, "nbf": now - 60}
        yield f"nbf {slip}", {"nbf": now + slip}
        yield f"iat {slip}", {"iat": now + slip, "exp": now + slip + 60}
        yield f"old {slip}", {"iat": now - LIFETIME_S + slip, "exp": now + slip, "nbf": now - LIFETIME_S}
        yield f"life {slip}", {"exp": now + LIFETIME_S + slip}
    for audience in (
        [D1],
        ["shop", D1],
        [D1, D1],
        ["shop"],
        [[D1]],
        [D1, 1],
        f"{D1} shop",
        D1.upper(),
        f"{D1}\n",
    ):
        yield f"aud {audience!r}", {"aud": audience}
    for issuer in ("authsvc ", "AUTHSVC", ["authsvc"], "auth\u0073vc", "https://authsvc"):
        yield f"iss {issuer!r}", {"iss": issuer}
    for more in (
        {"a": {"b": [1, None]}},
        {"n": 2**70},
        {"n": -0.0},
        {"cnf": {"jkt": "x"}},
        {"": 1},
        {"k" * 900: ""},
    ):
        yield f"more {more!r:.40}", more


def _headers(key: Key) -> Iterator[tuple[str, object]]:
    more: dict[str, Any]
    for more in (
        {"cty": "JWT"}, {"x5t": "AA"}, {"zip": "DEF"}, {"b64": True}, {"b64": False}, {"crit": []}, {"crit": ["exp"]},
        {"jku": "https://evil.example"}, {"x5u": "https://evil.example"}, {"jwk": {}}, {"x": [1]}, {"typ": "JWT"},
        {"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"typ": None}, {"kid": None}, {"alg": None}, {"alg": "none"},
        {"alg": "HS256"}, {"alg": key.alg.lower()}, {"alg": "ES384"}, {"kid": "x"}, {"kid": [key.kid]},
        {"url": "https://x"}, {"nonce": "x"}, {"iss": "x"}, {"enc": "A256GCM"}, {"x5c": []}, {"é": "é"},
    ):  # fmt: skip
        yield f"header {more!r}", key.header(**more)
    plain = to_json(key.header())
    yield "header reversed", dict(reversed(key.header().items()))
    yield "header spaced", plain.replace(b",", b" ,\n\t")
    yield "header with escapes", plain.replace(b"kid", b"\\u006bid")
    yield "header doubled", plain[:-1] + b',"typ":"at+jwt"}'
    yield "header with BOM", b"\xef\xbb\xbf" + plain
    yield "header with tail", plain + b" "
    yield "header with garbage", plain + b"x"
    yield "header empty", b"{}"
    yield "header list", b"[" + plain + b"]"


def _payloads(bench: Bench) -> Iterator[tuple[str, bytes]]:
    plain = to_json(bench.payload())
    open_end = plain[:-1]
    yield "payload spaced", plain.replace(b",", b"\r\n , ")
    yield "payload with escapes", plain.replace(b"profile", b"\\u0070rofile")
    yield "payload with BOM", b"\xef\xbb\xbf" + plain
    yield "payload in UTF-16", plain.decode().encode("utf-16")
    yield "payload with bad UTF-8", open_end + b',"x":"\xff"}'
    yield "payload with overlong UTF-8", open_end + b',"x":"\xc0\xaf"}'
    yield "payload with a surrogate", open_end + b',"x":"\\ud800"}'
    yield "payload with a surrogate in openid", plain.replace(b"o-alice", b"\\ud800")
    yield "payload doubled", open_end + b',"exp":' + str(bench.now + 60).encode() + b"}"
    yield "payload doubled by escape", open_end + b',"e\\u0078p":' + str(bench.now + 60).encode() + b"}"
    yield "payload doubled inside", open_end + b',"x":{"a":1,"a":2}}'
    yield "payload with exponent", plain.replace(f'"iat":{bench.now}'.encode(), b'"iat":1e9')
    yield (
        "payload with fraction",
        plain.replace(f'"iat":{bench.now}'.encode(), f'"iat":{bench.now}.0'.encode()),
    )
    yield "payload with NaN", open_end + b',"n":NaN}'
    yield "payload with Infinity", open_end + b',"n":-Infinity}'
    yield "payload beyond doubles", open_end + b',"n":1e999}'
    yield "payload with a comment", open_end + b"/**/}"
    yield "payload with a comma", open_end + b",}"
    yield "payload with tail", plain + b"\n"
    yield "payload with garbage", plain + b"{}"
    yield "payload list", b"[" + plain + b"]"
    yield "payload empty", b""
    for digits in (100, 4300, 4301, 5500):
        yield f"payload with {digits} digits", open_end + b',"n":' + b"7" * digits + b"}"
    for depth in (10, 300, 2500):
        yield f"payload {depth} deep", open_end + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        yield (
            f"payload {depth} objects deep",
            open_end + b',"x":' + b'{"":' * (depth // 2) + b"1" + b"}" * (depth // 2) + b"}",
        )
