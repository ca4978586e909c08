"""The types of claims, and times at their edges."""

from collections.abc import Iterator
from typing import Any

from tests.conformance.vectors.minting import (
    AUDIENCE,
    CLAIMS,
    ISSUER,
    LIFETIME_S,
    NOW_S,
    OTHER_APP,
    SESSION,
    USER,
    Raw,
    claims,
    mint,
)
from tests.conformance.vectors.token_case import EC, TokenCase

_LEEWAY_MS = 5000
_REQUIRED = ("iss", "sub", "aud", "client_id", "exp", "iat", "nbf", "jti", "sid", "scope", "sp")


def types() -> Iterator[TokenCase]:
    """Claims that are missing or of another type."""
    for name in _REQUIRED:
        yield TokenCase(f"claim-{name}-missing", f"no {name}", mint(EC, claims(**{name: ...})))
        yield TokenCase(f"claim-{name}-null", f"{name} null", mint(EC, claims(**{name: None})))
    for name in ("exp", "iat", "nbf"):
        yield from _instants(name)
    other: dict[str, tuple[str, dict[str, Any]]] = {
        "sub-number": ("sub is a number", {"sub": 7}),
        "sub-surrogate": ("a lone surrogate in sub", {"sub": Raw('"u-\\ud800"')}),
        "openid-surrogate": ("a lone surrogate in openid", {"openid": Raw('"\\udfff"')}),
        "role-surrogate": ("a lone surrogate in a role", {"roles": ["clerk", Raw('"\\ud800x"')]}),
        "sub-empty": ("an empty sub is a text", {"sub": ""}),
        "iss-list": ("iss in a list", {"iss": [ISSUER]}),
        "aud-number": ("aud is a number", {"aud": 1}),
        "aud-object": ("aud is an object", {"aud": {"0": AUDIENCE}}),
        "aud-mixed": ("a number among the audiences", {"aud": [AUDIENCE, 1]}),
        "aud-nested": ("a list among the audiences", {"aud": [[AUDIENCE]]}),
        "scope-list": ("scope as a list", {"scope": ["read"]}),
        "scope-number": ("scope is a number", {"scope": 1}),
        "roles-text": ("roles as a text", {"roles": "clerk"}),
        "roles-null": ("roles null", {"roles": None}),
        "roles-mixed": ("a number among the roles", {"roles": ["clerk", 1]}),
        "roles-object": ("roles as an object", {"roles": {"clerk": True}}),
        "prev-text": ("prev as a text", {"prev": "u-old"}),
        "prev-null": ("prev null", {"prev": None}),
        "prev-mixed": ("null among prev", {"prev": ["u-old", None]}),
        "openid-number": ("openid is a number", {"openid": 1}),
        "external-id-list": ("external_id in a list", {"external_id": ["crm-7"]}),
        "external-id-false": ("external_id false", {"external_id": False}),
        "sid-number": ("sid is a number", {"sid": 1}),
        "sid-any-text": ("a sid that is no id of ours is a text like any other", {"sid": "session-1"}),
        "jti-true": ("jti true", {"jti": True}),
        "sp-number": ("sp is a number", {"sp": 256}),
        "sp-upper": ("sp in uppercase", {"sp": "00000000000001AF"}),
        "sp-short": ("sp of 15 digits", {"sp": "000000000000100"}),
        "sp-long": ("sp of 17 digits", {"sp": "00000000000000100"}),
        "sp-prefix": ("sp with 0x", {"sp": "0x00000000000100"}),
        "sp-sign": ("sp with a sign", {"sp": "+000000000000100"}),
        "sp-space": ("sp with a space", {"sp": " 000000000000100"}),
        "sp-underscore": ("sp with an underscore", {"sp": "0000_00000000100"}),
        "sp-fullwidth": ("sp with a full-width digit", {"sp": "000000000000010０"}),
        "sp-empty": ("an empty sp", {"sp": ""}),
        "sp-largest": ("the largest sp", {"sp": "f" * 16}),
    }
    for name, (what, changed) in other.items():
        yield TokenCase(f"claim-{name}", what, mint(EC, claims(**changed)))


def _instants(name: str) -> Iterator[TokenCase]:
    good = CLAIMS[name]
    made: dict[str, tuple[str, object]] = {
        "text": ("a text", str(good)),
        "float": ("a float with nothing behind the point", Raw(f"{good}.0")),
        "fraction": ("a fraction", Raw(f"{good}.5")),
        "exponent": ("a number with an exponent", Raw("18e8")),
        "true": ("true", True),
        "list": ("a list", [good]),
        "negative": ("negative", -1),
        "2-53": ("2 to the 53rd", 2**53),
        "2-53-less-one": ("one less than 2 to the 53rd", 2**53 - 1),
        "2-53-and-one": ("one more than 2 to the 53rd", 2**53 + 1),
        "2-64": ("2 to the 64th and the usual value", 2**64 + good),
        "hundred-digits": ("a hundred digits", Raw("1" + "0" * 99)),
        "huge": ("beyond every float", Raw("1e400")),
        "minus-zero": ("minus zero is zero", Raw("-0")),
    }
    for kind, (what, value) in made.items():
        yield TokenCase(f"claim-{name}-{kind}", f"{name}: {what}", mint(EC, claims(**{name: value})))


def times() -> Iterator[TokenCase]:
    """`exp`, `nbf`, `iat` and the lifetime, a millisecond to either side of each edge."""
    token = mint(EC)
    begin, end = NOW_S * 1000, (NOW_S + LIFETIME_S) * 1000
    for name, what, now_ms in (
        ("exp-before", "a millisecond before exp", end - 1),
        ("exp-at", "at exp, within the leeway", end),
        ("exp-leeway-before", "a millisecond before exp + leeway", end + _LEEWAY_MS - 1),
        ("exp-leeway-at", "at exp + leeway: expired", end + _LEEWAY_MS),
        ("exp-leeway-after", "a millisecond after that", end + _LEEWAY_MS + 1),
        ("nbf-leeway-at", "at nbf - leeway: valid", begin - _LEEWAY_MS),
        ("nbf-leeway-before", "a millisecond before nbf - leeway", begin - _LEEWAY_MS - 1),
    ):
        yield TokenCase(f"time-{name}", what, token, now_ms=now_ms)
    for name in ("iat", "nbf"):
        for ahead in (105, 106):
            future = mint(EC, claims(**{name: NOW_S + ahead, "exp": NOW_S + LIFETIME_S}))
            what = f"{name} {ahead - 100} s ahead of the clock"
            yield TokenCase(f"time-{name}-ahead-{ahead - 100}", what, future)
    before = mint(EC, claims(iat=NOW_S, exp=NOW_S - 60))
    yield TokenCase("time-exp-before-iat", "exp before iat: a negative lifetime is no long one", before)
    zero = mint(EC, claims(exp=0, iat=0, nbf=0))
    yield TokenCase("time-zero", "all instants 0", zero)
    for extra, word in ((0, "at"), (1, "above")):
        made = mint(EC, claims(exp=NOW_S + LIFETIME_S + extra))
        yield TokenCase(f"lifetime-{word}", f"a lifetime {word} the longest allowed", made)
    short = mint(EC, claims(exp=NOW_S + 901))
    yield TokenCase("lifetime-short-above", "above a shorter limit", short, keys="short_lifetime")
    fits = mint(EC, claims(exp=NOW_S + 900))
    yield TokenCase("lifetime-short-at", "at a shorter limit", fits, keys="short_lifetime")
    # nbf has no part in the lifetime.
    late = mint(EC, claims(nbf=NOW_S + 50))
    yield TokenCase("lifetime-nbf", "nbf within the lifetime", late)


def demands() -> Iterator[TokenCase]:
    """Issuer, audience, scopes and roles."""
    for name, issuer in {
        "slash": ISSUER + "/",
        "case": ISSUER.upper(),
        "empty": "",
        "prefix": ISSUER[:-1],
    }.items():
        yield TokenCase(f"issuer-{name}", f"issuer {issuer!r}", mint(EC, claims(iss=issuer)))
    audiences: dict[str, tuple[Any, str]] = {
        "other": ("stock", AUDIENCE),
        "list-with": (["stock", AUDIENCE], AUDIENCE),
        "list-without": (["stock", "bills"], AUDIENCE),
        "list-of-one": ([AUDIENCE], AUDIENCE),
        "list-empty": ([], AUDIENCE),
        "prefix": ("orders2", AUDIENCE),
        "case": ("Orders", AUDIENCE),
        "space-separated": ("stock orders", AUDIENCE),
        "twice": ([AUDIENCE, AUDIENCE], AUDIENCE),
        "empty-text": ("", AUDIENCE),
    }
    for name, (aud, wanted) in audiences.items():
        yield TokenCase(f"audience-{name}", f"aud {aud!r}", mint(EC, claims(aud=aud)), audience=wanted)
    scopes: dict[str, tuple[str, tuple[str, ...]]] = {
        "one": ("read write", ("read",)),
        "both": ("read write", ("write", "read")),
        "one-of-two": ("read write", ("read", "erase")),
        "substring": ("reads", ("read",)),
        "case": ("Read", ("read",)),
        "none-held": ("", ("read",)),
        "spaces": ("  read   write ", ("read", "write")),
        "asked-twice": ("read", ("read", "read")),
        "colon": ("orders:read orders:*", ("orders:*",)),
        "no-wildcard": ("orders:*", ("orders:read",)),
        "held-twice": ("read read", ("read",)),
        "tab": ("read\twrite", ("read",)),
        "line-feed": ("read\nwrite", ("read",)),
        "no-break-space": ("read\u00a0write", ("read",)),
        "ideographic-space": ("read\u3000write", ("read",)),
        "separator": ("read\x1cwrite", ("read",)),
    }
    for name, (held, wanted_scopes) in scopes.items():
        token = mint(EC, claims(scope=held))
        yield TokenCase(
            f"scope-{name}", f"scope {held!r}, asked {wanted_scopes}", token, scopes=wanted_scopes
        )
    roles: dict[str, tuple[Any, tuple[str, ...]]] = {
        "one": (["clerk", "chief"], ("chief",)),
        "all": (["clerk", "chief"], ("chief", "clerk")),
        "one-of-two": (["clerk"], ("clerk", "chief")),
        "absent": (..., ("clerk",)),
        "empty": ([], ("clerk",)),
        "case": (["Clerk"], ("clerk",)),
        "spaces-kept": (["clerk chief"], ("clerk",)),
    }
    for name, (held_roles, wanted_roles) in roles.items():
        token = mint(EC, claims(roles=held_roles))
        yield TokenCase(
            f"role-{name}", f"roles {held_roles!r}, asked {wanted_roles}", token, roles=wanted_roles
        )
    app_as_audience = mint(EC, claims(aud=OTHER_APP, client_id=OTHER_APP, sid=SESSION, sub=USER))
    yield TokenCase("audience-app-id", "an app's own id as audience", app_as_audience, audience=OTHER_APP)
