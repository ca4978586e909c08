"""Tokens that are no token of ours by their shape alone: segments, base64url, UTF-8, JSON, types."""

import json
from collections.abc import Iterator

from authsvc.domain.ids import encode_base64url
from tests.conformance.vectors.minting import CLAIMS, Raw, as_bytes, claims, header, mint
from tests.conformance.vectors.token_case import EC, ED, NOBODY, RSA, TokenCase

_GOOD = mint(EC)
_HEAD, _BODY, _TAIL = _GOOD.split(".")


def _payload(text: str | bytes) -> str:
    return mint(EC, text)


def _with_members(text: str) -> str:
    """The usual payload with raw JSON members put before its closing brace."""
    return json.dumps(CLAIMS, separators=(",", ":"))[:-1] + "," + text + "}"


def _without_padding_bits(segment: str) -> str:
    """Another spelling of the same bytes: a bit that belongs to no byte is set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


def _of_length(length: int) -> str:
    """A good token of exactly so many characters, by an unknown claim and, for the last ones, a longer header."""
    for pad in range(4):
        head = header(EC, x="x" * pad)
        room = (length - len(mint(EC, claims(x=""), head))) * 3 // 4
        for filler in (room, room + 1):
            token = mint(EC, claims(x="x" * filler), head)
            if len(token) == length:
                return token
    raise AssertionError(f"no token of {length} characters")


def segments() -> Iterator[TokenCase]:
    """What is between the dots, and how many there are."""
    twice = f"{_GOOD}.{_BODY}"
    made = {
        "empty": ("the empty text", ""),
        "two-dots-only": ("two dots and nothing else", ".."),
        "one-segment": ("one segment", _HEAD),
        "two-segments": ("no signature segment", f"{_HEAD}.{_BODY}"),
        "four-segments": ("four segments", twice),
        "five-segments": ("five segments, the shape of an encrypted token", f"{twice}.{_TAIL}"),
        "leading-dot": ("an empty first segment", f".{_GOOD}"),
        "trailing-dot": ("an empty fourth segment", f"{_GOOD}."),
        "empty-payload": ("nothing between the dots", f"{_HEAD}..{_TAIL}"),
        "empty-signature": ("an empty signature is well-formed, and no signature", f"{_HEAD}.{_BODY}."),
        "padded-signature": ("base64url with padding", f"{_GOOD}=="),
        "padded-header": ("padding behind the header", f"{_HEAD}=.{_BODY}.{_TAIL}"),
        "plus": ("a character of the standard alphabet in the signature", f"{_HEAD}.{_BODY}.+{_TAIL[1:]}"),
        "slash": ("the other one in the payload", f"{_HEAD}.{_BODY[:8]}/{_BODY[9:]}.{_TAIL}"),
        "space-before": ("a space before the token", f" {_GOOD}"),
        "space-behind": ("a space behind the token", f"{_GOOD} "),
        "newline-behind": ("a line feed behind the token", f"{_GOOD}\n"),
        "newline-within": ("a line break within the payload", f"{_HEAD}.{_BODY[:40]}\n{_BODY[40:]}.{_TAIL}"),
        "tab-within": ("a tab within the signature", f"{_HEAD}.{_BODY}.{_TAIL[:10]}\t{_TAIL[10:]}"),
        "nul-within": ("a NUL within the header", f"{_HEAD[:8]}\x00{_HEAD[8:]}.{_BODY}.{_TAIL}"),
        "non-ascii": ("a letter outside ASCII", f"{_HEAD}.{_BODY}.{_TAIL[:-1]}é"),
        "fullwidth": (
            "a full-width digit, which some decoders take for a digit",
            f"{_HEAD}.{_BODY}.{_TAIL[:-1]}９",
        ),
        "bearer": ("the scheme left in front", f"Bearer {_GOOD}"),
        "quoted": ("the token in quotes", f'"{_GOOD}"'),
        "percent": ("a percent-encoded dot", _GOOD.replace(".", "%2E", 1)),
        "trailing-bits-signature": (
            "a bit of the signature's last character that belongs to no byte is set",
            f"{_HEAD}.{_BODY}.{_without_padding_bits(_TAIL)}",
        ),
        "one-too-many": ("a length that no bytes have", f"{_HEAD}.{_BODY}.{'A' * 85}"),
    }
    for name, (what, token) in made.items():
        yield TokenCase(f"shape-{name}", what, token)
    padded = encode_base64url(as_bytes(header(EC)) + b" " * ((2 - len(as_bytes(header(EC)))) % 3))
    assert len(padded) % 4 == 3
    head = _without_padding_bits(padded)
    signed = f"{head}.{_BODY}"
    token = f"{signed}.{encode_base64url(EC.sign(signed.encode()))}"
    yield TokenCase("shape-trailing-bits-header", "stray bits in a header that is truly signed", token)
    for length, word in ((8191, "below"), (8192, "at"), (8193, "above")):
        what = f"a good token of {length} characters, {word} the limit"
        yield TokenCase(f"shape-length-{length}", what, _of_length(length))
    yield TokenCase("shape-length-20000", "twenty thousand characters", _GOOD + "A" * 20_000)


def headers() -> Iterator[TokenCase]:
    """The header's JSON and its members."""
    usual = json.dumps(header(EC), separators=(",", ":"))
    made: dict[str, tuple[str, object]] = {
        "array": ("a header that is a list", "[]"),
        "text": ("a header that is no JSON", "at+jwt"),
        "null": ("a header that is null", "null"),
        "bom": ("a byte order mark before the header", b"\xef\xbb\xbf" + usual.encode()),
        "utf16": ("a header in UTF-16", usual.encode("utf-16-le")),
        "bad-utf8": ("a header that is no UTF-8", usual.encode()[:-2] + b'\xff"}'),
        "doubled-alg": ("alg twice", usual[:-1] + ',"alg":"ES256"}'),
        "doubled-kid": (
            "kid twice, the second spelt with an escape",
            usual[:-1] + f',"k\\u0069d":"{NOBODY.kid}"}}',
        ),
        "trailing-garbage": ("something behind the header's object", usual + "x"),
        "whitespace": (
            "a header with white space around and within",
            f" \t\r\n{json.dumps(header(EC), indent=1)}\n",
        ),
        "no-kid": ("no kid", header(EC, kid=...)),
        "kid-number": ("a kid that is a number", header(EC, kid=1)),
        "kid-empty": ("an empty kid is a kid that nobody knows", header(EC, kid="")),
        "kid-surrogate": ("a lone surrogate in kid", header(EC, kid=Raw('"\\ud800"'))),
        "no-alg": ("no alg", header(EC, alg=...)),
        "alg-null": ("alg null", header(EC, alg=None)),
        "alg-list": ("alg in a list", header(EC, alg=["ES256"])),
        "alg-none": ("alg none", header(EC, alg="none")),
        "alg-None": ("alg None", header(EC, alg="None")),
        "alg-nONE": ("alg nONE", header(EC, alg="nONE")),
        "jku": ("jku", header(EC, jku="https://evil.example/keys")),
        "x5u": ("x5u", header(EC, x5u="https://evil.example/chain")),
        "jwk": ("jwk with the true key", header(EC, jwk=EC.jwk)),
        "crit": ("crit", header(EC, crit=["exp"])),
        "crit-empty": ("an empty crit", header(EC, crit=[])),
        "b64": ("b64 without crit: half of the world ignores it", header(EC, b64=True)),
        "jku-null": ("jku null is still a jku", header(EC, jku=None)),
        "typ-number": ("a typ that is a number", header(EC, typ=1)),
        "typ-null": ("typ null", header(EC, typ=None)),
        "unknown-member": (
            "members that nobody knows are ignored",
            header(EC, cty="x", x={"y": [1, None, 1.5]}),
        ),
        "order": ("the usual members in another order", {"kid": EC.kid, "typ": "at+jwt", "alg": "ES256"}),
        "escapes": ("a header whose JSON is spelt with escapes", usual.replace("at+jwt", "at\\u002bjwt")),
    }
    for name, (what, head) in made.items():
        yield TokenCase(f"header-{name}", what, mint(EC, head=head))
    for name, typ in {
        "jwt": "JWT", "upper": "AT+JWT", "media": "application/at+jwt", "empty": "", "space": "at+jwt ",
        "id": "id_token",
    }.items():  # fmt: skip
        yield TokenCase(f"typ-{name}", f"typ {typ!r}", mint(EC, head=header(EC, typ=typ)))
    yield TokenCase("typ-missing", "no typ", mint(EC, head=header(EC, typ=...)))


def payloads() -> Iterator[TokenCase]:
    """The payload's JSON."""
    usual = json.dumps(CLAIMS, separators=(",", ":"))
    deep = '"x":' + "[" * 50 + "]" * 50
    made: dict[str, tuple[str, str | bytes]] = {
        "array": ("a payload that is a list", f"[{usual}]"),
        "string": ("a payload that is a text", json.dumps(usual)),
        "number": ("a payload that is a number", "1"),
        "empty-object": ("a payload without members", "{}"),
        "truncated": ("a payload that ends too early", usual[:-1]),
        "trailing-garbage": ("something behind the payload's object", usual + "{}"),
        "trailing-comma": ("a comma before the closing brace", usual[:-1] + ",}"),
        "comment": ("a comment", usual[:-1] + "/**/}"),
        "single-quotes": ("single quotes", usual.replace('"', "'")),
        "bom": ("a byte order mark", b"\xef\xbb\xbf" + usual.encode()),
        "utf16-le": ("UTF-16, little-endian", usual.encode("utf-16-le")),
        "utf16-bom": ("UTF-16 with a byte order mark", usual.encode("utf-16")),
        "utf32": ("UTF-32", usual.encode("utf-32-le")),
        "bad-utf8": ("a byte that no UTF-8 has", usual.encode()[:-1] + b',"x":"\xff"}'),
        "overlong-utf8": ("an overlong spelling in UTF-8", usual.encode()[:-1] + b',"x":"\xc0\xaf"}'),
        "surrogate-utf8": ("a surrogate in UTF-8 bytes", usual.encode()[:-1] + b',"x":"\xed\xa0\x80"}'),
        "control": ("a raw control character in a text", usual[:-1] + ',"x":"\x01"}'),
        "nan": ("NaN", _with_members('"x":NaN')),
        "infinity": ("-Infinity", _with_members('"x":-Infinity')),
        "leading-zero": ("a number with a leading zero", _with_members('"x":01')),
        "plus-sign": ("a number with a plus sign", _with_members('"x":+1')),
        "hex-number": ("a number in hex", _with_members('"x":0x1')),
        "bad-escape": ("an escape that JSON does not have", _with_members('"x":"\\x41"')),
        "doubled-claim": ("exp twice, with the same value", _with_members(f'"exp":{CLAIMS["exp"]}')),
        "doubled-by-escape": ("sub twice, once spelt with an escape", _with_members('"s\\u0075b":"u-other"')),
        "doubled-unknown": ("an unknown claim twice", _with_members('"x":1,"x":2')),
        "doubled-nested": (
            "a name twice within an unknown claim",
            _with_members('"x":{"y":[{"z":1,"z":1}]}'),
        ),
        "same-name-elsewhere": (
            "one name in two objects is not twice",
            _with_members('"x":{"exp":1,"y":{"exp":1}}'),
        ),
        "similar-names": (
            "names that differ in case are different",
            _with_members('"EXP":1,"Sub":2,"AUD":null'),
        ),
        "whitespace": ("white space everywhere", json.dumps(CLAIMS, indent=2) + "\n\t \r"),
        "unknown-claims": ("claims that nobody knows", _with_members('"x":{"y":[1,-0.5e-3,true,null,"z"]}')),
        "nested-50": ("an unknown claim nested fifty deep", _with_members(deep)),
        "huge-float-unknown": ("a number beyond double in an unknown claim", _with_members('"x":1e999')),
        "long-digits-unknown": ("forty digits in an unknown claim", _with_members(f'"x":{"9" * 40}')),
        "surrogate-unknown": (
            "a lone surrogate, escaped, in an unknown claim",
            _with_members('"x":"\\ud800"'),
        ),
        "escaped-pair": (
            "a surrogate pair, escaped, is a letter",
            usual.replace(CLAIMS["sub"], "u-\\ud83d\\ude00"),
        ),
        "proto": ("a member named __proto__", _with_members('"__proto__":{"exp":1},"constructor":1')),
    }
    for name, (what, payload) in made.items():
        yield TokenCase(f"payload-{name}", what, _payload(payload))


def accepted() -> Iterator[TokenCase]:
    """Good tokens of every kind."""
    for key in (EC, ED, RSA):
        yield TokenCase(f"active-{key.alg.lower()}", f"a good token signed with {key.alg}", mint(key))
    full = claims(
        external_id="crm-7", prev=["u-old-1", "u-old-2"], roles=["clerk", "chief"], aud=["orders", "stock"]
    )
    bare = claims(openid=..., roles=..., scope="")
    foreign = claims(sub="u-陈", openid="o-💬", roles=["管理员"], external_id="é\u0301", client_id="wx\u0000")
    yield TokenCase("active-full", "every claim there is", mint(EC, full))
    yield TokenCase("active-bare", "nothing that may be left out", mint(EC, bare))
    yield TokenCase("active-letters", "letters outside ASCII, and a NUL", mint(EC, foreign))
    nulls = claims(openid=None, external_id=None)
    yield TokenCase("active-nulls", "openid and external_id null are as if absent", mint(EC, nulls))
