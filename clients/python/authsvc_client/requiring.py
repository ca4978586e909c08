"""
What every guard shares, gRPC, ASGI and aiohttp alike: what is required, how a token is presented, how a refusal reads.

A refusal says one of three things and nothing finer: TOKEN_INVALID, TOKEN_INSUFFICIENT, or NOT_FRESH ("cannot know").
Texts and statuses are those of the contract's table.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from authsvc_client.judgement import Demand, judge_demand
from authsvc_client.surface import SyncTokenVerifier, TokenVerifier
from authsvc_client.tokens import MAX_TOKEN_LENGTH
from authsvc_client.verdicts import Active, CannotKnow, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """
    What a call needs beyond a good token: all scopes, all roles, and an audience other than the verifier's own.

    Raises:
        ValueError: a text where a collection of texts belongs, or an empty audience.

    """

    scopes: Collection[str] = ()
    roles: Collection[str] = ()
    audience: str | None = None

    def __post_init__(self) -> None:
        for name in ("scopes", "roles"):
            given: Iterable[str] = getattr(self, name)
            if isinstance(given, str):
                raise ValueError(f"{name} must be a collection, not one text")
            object.__setattr__(self, name, tuple(given))
        if self.audience == "":
            raise ValueError("an audience must not be empty")


A_GOOD_TOKEN: Final = Require()
"""Nothing but a good token."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way to say no: `code` by name and number of gRPC, `http`, the reason, the texts, and HTTP's challenge."""

    code: str
    number: int
    http: int
    reason: str
    en: str
    zh: str
    challenge: str = ""


INVALID: Final = Refusal(
    "UNAUTHENTICATED",
    16,
    401,
    "TOKEN_INVALID",
    "The access token is not valid.",
    "访问令牌无效或已过期。",
    'Bearer error="invalid_token"',
)
"""Every kind of bad token."""
MISSING: Final = replace(INVALID, challenge="Bearer")
"""No token at all: the same, and the challenge names no error (RFC 6750 section 3)."""
INSUFFICIENT: Final = Refusal(
    "PERMISSION_DENIED",
    7,
    403,
    "TOKEN_INSUFFICIENT",
    "The access token does not allow this.",
    "访问令牌权限不足。",
    'Bearer error="insufficient_scope"',
)
"""A good token without the audience, a scope or a role."""
UNKNOWABLE: Final = Refusal(
    "UNAVAILABLE",
    14,
    503,
    "NOT_FRESH",
    "The service cannot decide right now. Try again.",
    "服务暂时无法确认登录状态，请稍后重试。",
)
"""It cannot be decided."""


class Refused(Exception):
    """The call ends with this refusal; `retry_after` is set where waiting helps."""

    def __init__(self, refusal: Refusal, *, retry_after: timedelta | None = None) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
        self.retry_after = retry_after


_current: ContextVar[Active | None] = ContextVar("authsvc_current", default=None)


def current() -> Active:
    """
    Return what the token of the call that is being handled says.

    Raises:
        LookupError: no token was judged: the method is public, or this runs outside of a handler.

    """
    active = _current.get()
    if active is None:
        raise LookupError("no token was judged for this call")
    return active


def current_or_none() -> Active | None:
    """Return what the token of the call that is being handled says, or None if none was judged."""
    return _current.get()


set_current = _current.set
reset_current = _current.reset


def bearer_of(values: Sequence[str]) -> str:
    """
    Return the token in the values of all Authorization headers of a call (RFC 6750 section 2.1).

    Two headers are none: who sits in front may have judged the other one.

    Raises:
        Refused: MISSING or INVALID.

    """
    if not values:
        raise Refused(MISSING)
    value = values[0]
    if len(values) > 1 or not (value.startswith("Bearer ") or value[:7].lower() == "bearer "):
        raise Refused(INVALID)
    token = value[7:]
    if token[:1] == " ":
        token = token.lstrip(" ")
    if not token or len(token) > MAX_TOKEN_LENGTH or " " in token:
        raise Refused(INVALID)
    return token


async def admit(verifier: TokenVerifier, values: Sequence[str], require: Require) -> tuple[str, Active]:
    """
    Return the token in these headers, and what it says.

    Raises:
        Refused: it is missing, not good, not enough, or it cannot be known.

    """
    token = bearer_of(values)
    return token, await judge_again(verifier, token, require)


async def judge_again(verifier: TokenVerifier, token: str, require: Require) -> Active:
    """
    Return what *token* says, if it is good for *require*.

    Raises:
        Refused: it is not, or it cannot be known.

    """
    try:
        verdict = await verifier.verify(
            token, scopes=require.scopes, roles=require.roles, audience=require.audience
        )
    except CannotKnow as unknown:
        raise refused_for(unknown) from None
    return accepted(verdict)


def judge_again_blocking(verifier: SyncTokenVerifier, token: str, require: Require) -> Active:
    """
    See judge_again.

    Raises:
        Refused: it is not good, or it cannot be known.

    """
    try:
        verdict = verifier.verify(
            token, scopes=require.scopes, roles=require.roles, audience=require.audience
        )
    except CannotKnow as unknown:
        raise refused_for(unknown) from None
    return accepted(verdict)


def refused_for(error: Refused | CannotKnow) -> Refused:
    """Return the refusal that an exception stands for."""
    return error if isinstance(error, Refused) else Refused(UNKNOWABLE, retry_after=error.retry_after)


def accepted(verdict: Verdict) -> Active:
    """
    Return the Active.

    Raises:
        Refused: it is none.

    """
    if isinstance(verdict, Active):
        return verdict
    raise Refused(INSUFFICIENT if verdict.is_insufficient else INVALID)


def demand_more(active: Active, require: Require) -> Active:
    """
    Return *active* if it satisfies *require* as well.

    Raises:
        Refused: INSUFFICIENT.

    """
    audience = require.audience
    if audience is None:
        audience = active.audiences[0] if active.audiences else ""
    return accepted(judge_demand(active, Demand(audience, tuple(require.scopes), tuple(require.roles))))


def match_methods(requirements: Mapping[str, Require], public: Iterable[str]) -> dict[str, Require | None]:
    """
    Return what gRPC methods need, None for public ones.

    Raises:
        ValueError: a name is not a full method name (`/package.Service/Method`), or is in both.

    """
    if isinstance(public, str):
        raise ValueError("public must be a collection, not one text")
    needs: dict[str, Require | None] = {**requirements}
    for method in public:
        if method in requirements:
            raise ValueError(f"{method} cannot be public and have a requirement")
        needs[method] = None
    for method in needs:
        if method.count("/") != 2 or not method.startswith("/") or "//" in method or method.endswith("/"):
            raise ValueError(f"{method!r} is no full method name like /package.Service/Method")
    return needs
