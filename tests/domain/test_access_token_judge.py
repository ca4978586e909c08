"""Which reason is given when several hold, to the second."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.access_token import Claims, InactiveReason, judge_claims, judge_request, judge_times

IAT = 1_800_000_000
LIFETIME = 7200
LEEWAY = 5.0
CLAIMS = Claims(
    issuer="authsvc",
    user_id="user",
    audiences=("wx1", "orders"),
    app_id="wx1",
    expires_at=IAT + LIFETIME,
    issued_at=IAT,
    not_before=IAT,
    token_id="jti",
    session_id="sid",
    position=1,
    scopes=("read", "write"),
    roles=("admin",),
)


def judge(claims: Claims, *, at: float = IAT + 60, issuer: str = "authsvc") -> InactiveReason | None:
    return judge_claims(
        claims,
        now=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at),
        issuer=issuer,
        max_lifetime_s=LIFETIME,
        leeway_s=LEEWAY,
    )


def ask(
    claims: Claims, *audiences: str, scopes: tuple[str, ...] = (), roles: tuple[str, ...] = ()
) -> InactiveReason | None:
    return judge_request(claims, audiences=frozenset(audiences), scopes=scopes, roles=roles)


FAULTS: list[tuple[InactiveReason, Callable[[Claims], Claims]]] = [
    (InactiveReason.WRONG_ISSUER, lambda claims: replace(claims, issuer="other")),
    (
        InactiveReason.LIFETIME_TOO_LONG,
        lambda claims: replace(claims, issued_at=claims.expires_at - LIFETIME - 1),
    ),
    (InactiveReason.NOT_YET_VALID, lambda claims: replace(claims, not_before=IAT + 10**6)),
    (
        InactiveReason.EXPIRED,
        lambda claims: replace(claims, expires_at=IAT - 10, issued_at=IAT - LIFETIME - 5),
    ),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_of_several_reasons_the_first_is_given(first: int) -> None:
    """
    CONTRACT.md's order: issuer, lifetime, not yet valid, expired; whatever else holds after it.
    """
    for mask in range(2 ** (len(FAULTS) - first - 1)):
        claims = CLAIMS
        later = [index for index in range(first + 1, len(FAULTS)) if mask >> (index - first - 1) & 1]
        for index in sorted(
            [first, *later], reverse=True
        ):  # expiry first: the lifetime fault is relative to it
            claims = FAULTS[index][1](claims)
        assert judge(claims) == FAULTS[first][0]


def test_a_good_token_has_nothing_against_it() -> None:
    """
    None for the whole of its life.
    """
    for at in (IAT, IAT + 1, IAT + LIFETIME - 1):
        assert judge(CLAIMS, at=at) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (IAT - 5.001, InactiveReason.NOT_YET_VALID),
        (IAT - 5, None),
        (IAT + LIFETIME + 4.999, None),
        (IAT + LIFETIME + 5, InactiveReason.EXPIRED),
        (IAT + 10**9, InactiveReason.EXPIRED),
    ],
)
def test_leeway_has_exact_ends(at: float, expected: InactiveReason | None) -> None:
    """
    Five seconds before `nbf` are accepted, inclusively; after `exp`, exclusively.
    """
    assert judge(CLAIMS, at=at) == expected


@pytest.mark.parametrize("name", ["not_before", "issued_at"])
def test_both_beginnings_count(name: str) -> None:
    """
    A token of the future is not yet valid, by `nbf` or by `iat` alone.
    """
    changes: dict[str, Any] = {name: IAT + 66}

    assert judge(replace(CLAIMS, **changes)) == InactiveReason.NOT_YET_VALID
    changes = {name: IAT + 65}
    assert judge(replace(CLAIMS, **changes)) is None


@pytest.mark.parametrize(("extra", "expected"), [(0, None), (1, InactiveReason.LIFETIME_TOO_LONG)])
def test_the_longest_lifetime_is_allowed(extra: int, expected: InactiveReason | None) -> None:
    """
    `exp` less `iat` may equal the maximum.
    """
    assert judge(replace(CLAIMS, expires_at=IAT + LIFETIME + extra)) == expected


@pytest.mark.parametrize("issuer", ["", "Authsvc", "authsvc ", "authsvc/"])
def test_issuers_match_exactly(issuer: str) -> None:
    """
    RFC 9068 section 4: an exact match.
    """
    assert judge(CLAIMS, issuer=issuer) == InactiveReason.WRONG_ISSUER


@given(
    exp=st.integers(-20, 20), nbf=st.integers(-20, 20), iat=st.integers(-20, 20), leeway=st.integers(0, 10),
    micros=st.integers(0, 999_999),
)  # fmt: skip
def test_pyjwt_judges_times_the_same(exp: int, nbf: int, iat: int, leeway: int, micros: int) -> None:
    """
    The oracle with its clock held still: same verdict, and the same order where both hold.
    """
    now = datetime.fromtimestamp(IAT, tz=UTC) + timedelta(microseconds=micros)
    claims = replace(CLAIMS, expires_at=IAT + exp, not_before=IAT + nbf, issued_at=IAT + iat)
    token = jwt.encode({"exp": IAT + exp, "nbf": IAT + nbf, "iat": IAT + iat}, "s" * 32, algorithm="HS256")

    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            assert tz is UTC
            return now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jwt.api_jwt.datetime", Still)
        try:
            jwt.decode(token, "s" * 32, algorithms=["HS256"], leeway=leeway)
        except jwt.ExpiredSignatureError:
            expected: InactiveReason | None = InactiveReason.EXPIRED
        except jwt.ImmatureSignatureError:
            expected = InactiveReason.NOT_YET_VALID
        else:
            expected = None

    assert judge_times(claims, now_s=now.timestamp(), leeway_s=leeway) == expected


@pytest.mark.parametrize(
    ("audiences", "scopes", "roles", "expected"),
    [
        (("wx1",), (), (), None),
        (("orders",), ("read", "write"), ("admin",), None),
        (("other", "orders"), (), (), None),
        ((), (), (), InactiveReason.WRONG_AUDIENCE),
        (("",), (), (), InactiveReason.WRONG_AUDIENCE),
        (("WX1",), (), (), InactiveReason.WRONG_AUDIENCE),
        (("other",), ("delete",), ("root",), InactiveReason.WRONG_AUDIENCE),
        (("wx1",), ("delete",), ("root",), InactiveReason.MISSING_SCOPE),
        (("wx1",), ("read", "delete"), (), InactiveReason.MISSING_SCOPE),
        (("wx1",), ("rea",), (), InactiveReason.MISSING_SCOPE),
        (("wx1",), ("read write",), (), InactiveReason.MISSING_SCOPE),
        (("wx1",), ("",), (), InactiveReason.MISSING_SCOPE),
        (("wx1",), ("read",), ("root",), InactiveReason.MISSING_ROLE),
        (("wx1",), ("read",), ("admin", "root"), InactiveReason.MISSING_ROLE),
    ],
)
def test_what_a_call_asks_for(
    audiences: tuple[str, ...],
    scopes: tuple[str, ...],
    roles: tuple[str, ...],
    expected: InactiveReason | None,
) -> None:
    """
    One audience, all scopes, all roles, matched exactly, judged in this order; no audience is no match.
    """
    assert ask(CLAIMS, *audiences, scopes=scopes, roles=roles) == expected


def test_a_token_without_audience_is_for_nobody() -> None:
    """
    An empty `aud` matches no audience.
    """
    assert ask(replace(CLAIMS, audiences=()), "wx1") == InactiveReason.WRONG_AUDIENCE
