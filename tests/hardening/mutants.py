"""
What an attacker makes of good tokens, by the hundred thousand: same seed, same mutants.

None of these may be accepted. What our own keys really sign is in `variants`; the ECDSA twin is made by
`tests.support.tokens.twin`.
"""

import json
import random  # noqa: TID251 - seeded, which is the point
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.hardening.judges import Bench
from tests.hardening.keyring import ALGORITHMS, Key, decode, encode, hs256, to_json
from tests.support.tokens import P256_ORDER

_ODD = "=+/ .,:;!?%~\t\r\n\0\x7f\"'\\{}[]<>éÄ。．\u200b\u2028\ufeff𝟎Ａ"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A text, and how it came about."""

    how: str
    text: str


class Attacker:
    """Knows good tokens of ours, all our public keys, keys of its own, and no private key of ours."""

    def __init__(self, bench: Bench, *, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - seeded, which is the point
        self._bench = bench
        self._ours, self._own = bench.keyring.ours, bench.keyring.foreign
        self._secrets = [text for key in self._ours.values() for text in key.public_texts()]
        self._secrets += [bench.core.keys.jwks_json.encode(), b"secret", b"\0" * 32]
        self._good: dict[str, list[str]] = {
            alg: [key.token(bench.payload(jti=f"{n:022}", **more)) for n, more in enumerate(self._kinds())]
            for alg, key in self._ours.items()
        }
        self._known = {token for tokens in self._good.values() for token in tokens}

    @property
    def good(self) -> Sequence[str]:
        """The tokens it starts from."""
        return [token for tokens in self._good.values() for token in tokens]

    def mutants(self, count: int) -> Iterator[Mutant]:
        """So many, the kinds in turn; never one of the good tokens itself."""
        makers: tuple[Callable[[], tuple[str, str]], ...] = (
            self._edit, self._edit_twice, self._structure, self._header, self._claims, self._graft,
            self._resign, self._hmac, self._signature, self._edit,
        )  # fmt: skip
        made = 0
        while made < count:
            how, text = makers[made % len(makers)]()
            if text not in self._known:
                made += 1
                yield Mutant(how, text)

    def _kinds(self) -> tuple[dict[str, Any], ...]:
        return (
            {}, {"scope": ""}, {"roles": None}, {"openid": None}, {"aud": [self._bench.payload()["aud"], "shop"]},
            {"prev": ["a" * 22]}, {"external_id": "42"}, {"exp": self._bench.now + 60},
        )  # fmt: skip

    def _pick(self) -> tuple[str, str]:
        alg = self._dice.choice(ALGORITHMS)
        return alg, self._dice.choice(self._good[alg])

    def _edit(self) -> tuple[str, str]:
        return "edit", self._edited(self._pick()[1])

    def _edit_twice(self) -> tuple[str, str]:
        text = self._pick()[1]
        for _ in range(self._dice.randrange(2, 6)):
            text = self._edited(text)
        return "edits", text

    def _edited(self, text: str) -> str:
        dice = self._dice
        at = dice.randrange(max(len(text), 1))
        letter = dice.choice(_ALPHABET if dice.random() < 0.6 else _ODD)
        match dice.randrange(8):
            case 0 | 1 | 2:
                return text[:at] + letter + text[at + 1 :]
            case 3:
                return text[:at] + letter + text[at:]
            case 4:
                return text[:at] + text[at + 1 :]
            case 5:
                other = dice.randrange(max(len(text), 1))
                letters = list(text)
                if letters:
                    letters[at], letters[other] = letters[other], letters[at]
                return "".join(letters)
            case 6:
                return text[:at]
            case _:
                end = at + dice.randrange(1, 20)
                return text[:end] + text[at:]

    def _structure(self) -> tuple[str, str]:
        text = self._pick()[1]
        head, body, tail = text.split(".")
        general = {"payload": body, "signatures": [{"protected": head, "signature": tail}]}
        flat = {"payload": body, "protected": head, "signature": tail}
        shapes = [
            f"{head}.{body}", f"{head}.{body}.", f"{head}..{tail}", f".{body}.{tail}", "..", "", ".", "...",
            f"{text}.", f".{text}", f"{text}.{tail}", f"{text}.{body}.{tail}", f"{head}.{body}.{tail}..",
            f"{text}{text}", f"{text} ", f" {text}", f"{text}\n", f"\ufeff{text}", f"Bearer {text}", f"{text}\0",
            f"{text}=", f"{text}==", f"{head}=.{body}.{tail}", f"{head}.{body}=.{tail}", text.upper(), text.lower(),
            text.replace(".", "．"), text.replace(".", "%2E"), json.dumps(general), json.dumps(flat), f'"{text}"',
            f"{tail}.{body}.{head}", f"{body}.{head}.{tail}", f"{head}.{tail}.{body}", text * 12,
            f"{head}.{encode(b' ' + decode(body))}.{tail}", f"{head}.{encode(decode(body) + b' ')}.{tail}",
            f"{encode(decode(head) + b' ')}.{body}.{tail}", f"{head}.{body}.{tail}{'A' * self._dice.randrange(1, 9)}",
            f"{head}.{body}.{tail[: -self._dice.randrange(1, 20)]}",
        ]  # fmt: skip
        return "structure", self._edited(self._dice.choice(shapes)) if self._dice.random() < 0.4 else (
            self._dice.choice(shapes)
        )

    def _header(self) -> tuple[str, str]:
        """Another header over the same payload, with the old signature, none, or one of the attacker's."""
        alg, text = self._pick()
        _, body, tail = text.split(".")
        raw = self._headers(alg)
        head = encode(raw)
        own = self._dice.choice(list(self._own.values()))
        signed = f"{head}.{body}"
        signature = self._dice.choice([tail, "", encode(own.sign(signed)), hs256(signed, self._secret())])
        return "header", f"{signed}.{signature}"

    def _headers(self, alg: str) -> bytes:
        dice, key, own = self._dice, self._ours[alg], self._dice.choice(list(self._own.values()))
        algs: list[Any] = [
            "none", "None", "NONE", "nOnE", " none", "none\0", "", None, "HS256", "HS384", "HS512", "ES256", "ES384",
            "ES512", "ES256K", "RS256", "RS384", "PS256", "EdDSA", "Ed25519", "es256", "dir", "RSA-OAEP", ["ES256"],
            {"ES256": 1}, 7, True,
        ]  # fmt: skip
        kids: list[Any] = [
            own.kid, "", None, "0", "../../../../dev/null", "/etc/passwd", "' OR 1=1 --", "a\0b", key.kid + " ",
            key.kid.lower(), key.kid[:-1], "https://evil.example/key", [key.kid], {}, 0, "x" * 3000,
            *(other.kid for other in self._ours.values()),
        ]  # fmt: skip
        more: list[dict[str, Any]] = [
            {"jwk": json.loads(own.jwk)}, {"jku": "https://evil.example/jwks.json"}, {"jku": "file:///etc/passwd"},
            {"x5u": "https://evil.example/x.pem"}, {"x5c": ["MIIB"]}, {"crit": []}, {"crit": ["exp"], "exp": 1},
            {"crit": ["b64"], "b64": False}, {"b64": False}, {"zip": "DEF"}, {"cty": "JWT"}, {"enc": "A256GCM"},
            {"epk": {}}, {"p2c": 2**31}, {"x5t": "AA"}, {"x" * 50: [[[]]]}, {"typ": "JWT"}, {"typ": "jwt"},
            {"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"typ": None}, {"typ": "id+jwt"}, {"typ": 1},
        ]  # fmt: skip
        header = key.header()
        match dice.randrange(6):
            case 0:
                header["alg"] = dice.choice(algs)
            case 1:
                header["kid"] = dice.choice(kids)
            case 2:
                header |= dice.choice(more)
            case 3:
                header |= dice.choice(more) | {"alg": dice.choice(algs), "kid": dice.choice(kids)}
            case 4:
                del header[dice.choice(list(header))]
            case _:
                name = dice.choice(list(header))
                twice = to_json({name: dice.choice([*algs, "x"])})[1:-1]
                raw = to_json(header)[:-1] + b"," + twice + b"}"
                return dice.choice(
                    [raw, b"\xef\xbb\xbf" + to_json(header), b"[]", b"null", b"{", b"\xff", b"{}"]
                )
        return to_json(header)

    def _claims(self) -> tuple[str, str]:
        """Another payload under an old header and signature."""
        _, text = self._pick()
        head, body, tail = text.split(".")
        return "claims", f"{head}.{encode(self._payload(json.loads(decode(body))))}.{tail}"

    def _payload(self, claims: dict[str, Any]) -> bytes:
        dice = self._dice
        name = dice.choice(list(claims))
        values: list[Any] = [
            None, "", "x", 0, 1, -1, 2**31, 2**53, 2**64, 1e9, 1.5, True, False, [], ["x"], {}, "admin",
            self._bench.now + 10**6, str(self._bench.now), [[]], "\ud800", "\0", "a" * 3000,
        ]  # fmt: skip
        match dice.randrange(5):
            case 0 | 1:
                claims[name] = dice.choice(values)
            case 2:
                del claims[name]
            case 3:
                claims |= {"sub": "A" * 22, "roles": ["admin"], "scope": "all"}
            case _:
                raw = to_json(claims)
                return dice.choice(
                    [
                        raw[:-1] + b',"sub":"x"}', b"\xef\xbb\xbf" + raw, raw.decode().encode("utf-16"), raw[:-1],
                        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", raw[:-1] + b',"n":' + b"9" * 5000 + b"}",
                        raw[:-1] + b',"n":NaN}', raw[:-1] + b',"n":1e999}', b"null", b"[]", b"", raw + b"{}",
                    ]
                )  # fmt: skip
        return to_json(claims)

    def _graft(self) -> tuple[str, str]:
        """Parts of two good tokens."""
        parts = [self._pick()[1].split(".") for _ in range(3)]
        return "graft", ".".join(parts[i][i] for i in range(3))

    def _resign(self) -> tuple[str, str]:
        """A whole token signed by a key of the attacker's, under names of ours or its own."""
        dice, own = self._dice, self._dice.choice(list(self._own.values()))
        named = dice.choice(list(self._ours.values()))
        claims = self._bench.payload(jti=f"{dice.randrange(10**9):022}")
        header = own.header(
            kid=dice.choice([named.kid, own.kid, None]),
            alg=dice.choice([own.alg, named.alg, "none", "HS256"]),
            jwk=dice.choice([None, json.loads(own.jwk)]),
            jku=dice.choice([None, None, "http://127.0.0.1:1/jwks"]),
        )
        return "resigned", own.token(claims if dice.random() < 0.7 else self._payload(claims), header)

    def _hmac(self) -> tuple[str, str]:
        """The oldest trick: an HMAC under something public."""
        dice, named = self._dice, self._dice.choice(list(self._ours.values()))
        header = named.header(alg=dice.choice(["HS256", "HS256", "HS512", named.alg, "none"]))
        if dice.random() < 0.3:
            header = {"alg": "HS256", "typ": dice.choice(["JWT", "at+jwt"])}
        claims = self._bench.payload(jti=f"{dice.randrange(10**9):022}")
        signed = f"{encode(to_json(header))}.{encode(to_json(claims))}"
        return "hmac", f"{signed}.{hs256(signed, self._secret())}"

    def _secret(self) -> bytes:
        return self._dice.choice(self._secrets)

    def _signature(self) -> tuple[str, str]:
        """Signatures that are none: zeros, the order, other encodings, another of our keys'."""
        dice = self._dice
        alg, text = self._pick()
        head, body, tail = text.split(".")
        raw = decode(tail)
        if alg != "ES256":
            made = self._odd_signature(raw)
        else:
            r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            pairs = [
                (0, 0), (r, 0), (0, s), (1, 1), (P256_ORDER, P256_ORDER), (r, P256_ORDER), (P256_ORDER - r, s),
                (P256_ORDER - r, P256_ORDER - s), (s, r), (r + 1, s), (r, s + 1), (2**256 - 1, 2**256 - 1),
                ((r + P256_ORDER) % 2**256, s), (dice.randrange(P256_ORDER), dice.randrange(P256_ORDER)),
            ]  # fmt: skip
            a, b = dice.choice(pairs)
            made = a.to_bytes(32, "big") + b.to_bytes(32, "big")
            key = self._ours[alg]
            made = dice.choice([made, made, made, key.der(f"{head}.{body}"), self._odd_signature(raw)])
        other = self._ours[dice.choice([name for name in ALGORITHMS if name != alg])]
        if dice.random() < 0.1:
            made = self._signed_by(other, f"{head}.{body}")
        return "signature", f"{head}.{body}.{encode(made)}"

    def _signed_by(self, key: Key, signed: str) -> bytes:
        """As if another of our keys had been made to sign this very text: its name is not in the header."""
        return key.sign(signed)

    def _odd_signature(self, raw: bytes) -> bytes:
        dice = self._dice
        at = dice.randrange(len(raw))
        return dice.choice(
            [
                bytes(len(raw)), b"\xff" * len(raw), raw[:-1], raw + b"\0", b"\0" + raw, raw[::-1], raw * 2, b"",
                dice.randbytes(len(raw)), dice.randbytes(dice.randrange(1, 600)),
                raw[:at] + bytes([raw[at] ^ (1 << dice.randrange(8))]) + raw[at + 1 :],
            ]
        )  # fmt: skip
