"""Every pair of reasons holding at once: the first in CONTRACT's order is given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from authsvc.domain.ids import encode_base64url
from authsvc.domain.revocations import Fact
from tests.conformance.vectors.cases_revocations import app_fact, session_fact, user_fact
from tests.conformance.vectors.keys import TestKey
from tests.conformance.vectors.minting import CLAIMS, NOW_S, POSITION, header, unsigned
from tests.conformance.vectors.token_case import EC, NOBODY, WITHDRAWN, TokenCase


@dataclass
class _Making:
    """A token and its world before they are put together; each reason spoils something of it."""

    key: TestKey = EC
    typ: str = "at+jwt"
    claims: dict[str, Any] = field(default_factory=lambda: dict(CLAIMS))
    flip: bool = False
    break_shape: bool = False
    facts: list[Fact] = field(default_factory=list)
    audience: str = "orders"
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def case(self, name: str, what: str) -> TokenCase:
        claims = {**self.claims, "sp": "x"} if self.break_shape else self.claims
        signed = unsigned(header(self.key, typ=self.typ), claims)
        signature = self.key.sign(signed.encode())
        if self.flip:
            signature = bytes([signature[0] ^ 1]) + signature[1:]
        return TokenCase(
            name,
            what,
            f"{signed}.{encode_base64url(signature)}",
            self.facts,
            audience=self.audience,
            scopes=self.scopes,
            roles=self.roles,
        )


def _set(**changes: Any) -> Callable[[_Making], None]:
    def spoil(making: _Making) -> None:
        for name, value in changes.items():
            setattr(making, name, value)

    return spoil


def _claim(**changes: Any) -> Callable[[_Making], None]:
    return lambda making: making.claims.update(changes)


def _told(fact: Fact) -> Callable[[_Making], None]:
    return lambda making: making.facts.append(fact)


def _expired(making: _Making) -> None:
    # Before iat where another reason has put that into the future.
    making.claims["exp"] = NOW_S + 90
    if making.claims["iat"] < NOW_S:
        making.claims["iat"] = NOW_S - 7111


_SPOILS: dict[str, Callable[[_Making], None]] = {
    "MALFORMED": _set(break_shape=True),
    "WRONG_TYPE": _set(typ="JWT"),
    "KEY_WITHDRAWN": _set(key=WITHDRAWN),
    "UNKNOWN_KEY": _set(key=NOBODY),
    "BAD_SIGNATURE": _set(flip=True),
    "WRONG_ISSUER": _claim(iss="https://other.example"),
    "LIFETIME_TOO_LONG": _claim(iat=NOW_S - 100_000),
    "NOT_YET_VALID": _claim(nbf=NOW_S + 200),
    "EXPIRED": _expired,
    "SESSION_REVOKED": _told(session_fact()),
    "USER_REVOKED": _told(user_fact(POSITION + 2)),
    "APP_REVOKED": _told(app_fact(POSITION + 3)),
    "WRONG_AUDIENCE": _set(audience="stock"),
    "MISSING_SCOPE": _set(scopes=("erase",)),
    "MISSING_ROLE": _set(roles=("chief",)),
}


def order() -> Iterator[TokenCase]:
    """Each reason alone, then each pair, then all that can hold together."""
    for name, spoil in _SPOILS.items():
        making = _Making()
        spoil(making)
        yield making.case(f"order-{name.lower()}", f"{name} and nothing else")
    for first, second in combinations(_SPOILS, 2):
        making = _Making()
        # A key is one or the other: withdrawn ones are in no set, so the first of the two holds with the second.
        for name in (second, first):
            _SPOILS[name](making)
        yield making.case(f"order-{first.lower()}-{second.lower()}", f"{first} and {second} at once")
    making = _Making()
    for name in reversed(_SPOILS):
        _SPOILS[name](making)
    yield making.case("order-all", "everything at once")
