"""What the log says of a token: by session, user, app and key, at, below and above its position."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from authsvc.domain.ids import encode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from tests.conformance.vectors import wire
from tests.conformance.vectors.minting import (
    APP,
    LIFETIME_S,
    NOW_S,
    OTHER_APP,
    OTHER_SESSION,
    POSITION,
    SESSION,
    USER,
    claims,
    mint,
)
from tests.conformance.vectors.token_case import EC, EC_NEXT, ED, HEAD, TokenCase

UNTIL = datetime.fromtimestamp(NOW_S + LIFETIME_S + 600, UTC)
_OTHER_USER = "u-other"


def session_fact(
    session_id: str = SESSION, position: int = POSITION + 1, reason: EndReason = EndReason.LOGOUT
) -> Fact:
    """A session has ended."""
    return Fact(position, FactKind.SESSION, session_id, reason, UNTIL)


def user_fact(
    position: int, user_id: str = USER, app_filter: str = "", reason: EndReason = EndReason.ADMIN
) -> Fact:
    """A user's tokens below a position are dead, in one app or in all."""
    return Fact(position, FactKind.USER, user_id, reason, UNTIL, app_filter)


def app_fact(position: int, app_id: str = APP, reason: EndReason = EndReason.ADMIN) -> Fact:
    """An app's tokens below a position are dead."""
    return Fact(position, FactKind.APP, app_id, reason, UNTIL)


def key_fact(kid: str, position: int = POSITION + 1) -> Fact:
    """A key is withdrawn, for good."""
    return Fact(position, FactKind.KEY, kid, EndReason.UNSPECIFIED, None)


def by_kind() -> Iterator[TokenCase]:
    """Each kind of fact, against the token it kills and against others."""
    token = mint(EC)
    above, here, below = POSITION + 1, POSITION, POSITION - 1
    made: dict[str, tuple[str, Sequence[Fact]]] = {
        "session": ("its session has ended", [session_fact()]),
        "session-below": ("a session's end counts whatever its position", [session_fact(position=1)]),
        "session-other": ("another session has ended", [session_fact(OTHER_SESSION)]),
        "session-among-many": ("its session among a thousand", [*_crowd(1000), session_fact()]),
        "session-not-among-many": ("a thousand other sessions have ended", _crowd(1000)),
        "user-above": ("the user was revoked after the session began", [user_fact(above)]),
        "user-here": ("the user was revoked at the session's own position", [user_fact(here)]),
        "user-below": ("the user was revoked before the session began", [user_fact(below)]),
        "user-other": ("another user was revoked", [user_fact(above, _OTHER_USER)]),
        "user-this-app": ("the user was revoked in this app", [user_fact(above, app_filter=APP)]),
        "user-other-app": ("the user was revoked in another app", [user_fact(above, app_filter=OTHER_APP)]),
        "user-this-app-here": (
            "in this app, at the session's own position",
            [user_fact(here, app_filter=APP)],
        ),
        "user-wide-low-narrow-high": (
            "everywhere before, in this app after the session began",
            [user_fact(below, reason=EndReason.BLOCKED), user_fact(above, app_filter=APP)],
        ),
        "user-wide-high-narrow-low": (
            "everywhere after, in this app before the session began",
            [user_fact(above, reason=EndReason.BLOCKED), user_fact(below, app_filter=APP)],
        ),
        "user-wide-and-narrow": (
            "everywhere and in this app: the wider reason is given",
            [user_fact(above, app_filter=APP), user_fact(above + 1, reason=EndReason.BLOCKED)],
        ),
        "user-twice": (
            "the user was revoked before, and again after",
            [user_fact(below), user_fact(above + 5)],
        ),
        "user-twice-unordered": (
            "the same, told in the other order",
            [user_fact(above + 5), user_fact(below)],
        ),
        "user-named-like-app": ("a user whose id is the app's", [user_fact(above, APP)]),
        "app-above": ("the app was revoked after the session began", [app_fact(above)]),
        "app-here": ("the app was revoked at the session's own position", [app_fact(here)]),
        "app-below": ("the app was revoked before the session began", [app_fact(below)]),
        "app-other": ("another app was revoked", [app_fact(above, OTHER_APP)]),
        "app-twice": ("the app was revoked twice", [app_fact(above), app_fact(below)]),
        "app-named-like-user": ("an app whose id is the user's", [app_fact(above, USER)]),
        "key": ("its key was withdrawn by the log", [key_fact(EC.kid)]),
        "key-low": ("a key's withdrawal counts whatever its position", [key_fact(EC.kid, 1)]),
        "key-other": ("another key was withdrawn", [key_fact(EC_NEXT.kid), key_fact(ED.kid, POSITION + 2)]),
        "nothing": ("an empty snapshot", []),
    }
    for name, (what, facts) in made.items():
        yield TokenCase(f"revoked-{name}", what, token, facts)
    for reason in EndReason:
        yield TokenCase(
            f"end-reason-{reason.name.lower()}",
            f"the session ended by {reason.name}",
            token,
            [session_fact(reason=reason)],
        )


def _crowd(count: int) -> list[Fact]:
    return [
        session_fact(encode_id(number.to_bytes(16, "big")), number % HEAD + 1)
        for number in range(1, count + 1)
    ]


def positions() -> Iterator[TokenCase]:
    """Positions are unsigned 64-bit numbers."""
    edges = (
        (0x7FFFFFFFFFFFFFFF, 0x8000000000000000),
        (0x8000000000000000, 0x7FFFFFFFFFFFFFFF),
        (0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF),
        (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF),
        (0, 0xFFFFFFFFFFFFFFFF),
        (0x0020000000000000, 0x0020000000000001),  # beyond the integers of a double
        (0x0020000000000001, 0x0020000000000000),
        (0x00000000FFFFFFFF, 0x0000000100000000),
        (0, 1),
        (0, 0),
    )
    for held, fact in edges:
        token = mint(EC, claims(sp=f"{held:016x}"))
        for kind, facts in (("user", [user_fact(fact)]), ("app", [app_fact(fact)])):
            name = f"position-{kind}-{held:x}-{fact:x}"
            yield TokenCase(name, f"a session at {held:#x}, the {kind} revoked at {fact:#x}", token, facts)


def forms() -> Iterator[TokenCase]:
    """The ways in which a snapshot may say the same."""
    token, through = mint(EC), wire.at(HEAD)
    whole = wire.snapshot(session_fact(), session_fact(OTHER_SESSION), through=through)
    made = {
        "unpacked": ("sessions one by one instead of packed", wire.unpacked(whole)),
        "without-end": ("facts without an end", wire.without_end(whole)),
        "unknown-fields": (
            "fields that the contract does not know",
            wire.with_unknown_fields(wire.snapshot(user_fact(POSITION + 1), through=through)),
        ),
    }
    for name, (what, view) in made.items():
        yield TokenCase(f"snapshot-{name}", what, token, view=view)


def ends() -> Iterator[TokenCase]:
    """Facts past their use."""
    token = mint(EC)
    late_ms = int((UNTIL + timedelta(seconds=1)).timestamp() * 1000)
    what = "a fact past its use, and the token it killed: long expired, whether or not the fact was dropped"
    yield TokenCase("useful-until-passed", what, token, [session_fact()], now_ms=late_ms)
    fresh = mint(EC, claims(iat=NOW_S + 7800, nbf=NOW_S + 7800, exp=NOW_S + 15000, sp=f"{POSITION + 9:016x}"))
    what = "a user's fact past its use, and a session that began later"
    yield TokenCase(
        "useful-until-passed-later-session", what, fresh, [user_fact(POSITION + 1)], now_ms=late_ms
    )
    last_ms = int(UNTIL.timestamp() * 1000) - 600_000
    what = "a fact is kept as long as leeway lets its token live"
    yield TokenCase("useful-until-leeway", what, token, [session_fact()], now_ms=last_ms + 4999)


def freshness() -> Iterator[TokenCase]:
    """How old the knowledge may be, and what needs none."""
    good, dead = mint(EC), [session_fact()]
    for policy in ("unavailable", "accept"):
        for age_ms in (0, 29_000, 30_000, 30_001, 3_600_000):
            name, what = (
                f"age-{age_ms}-{policy}",
                f"told {age_ms} ms after it was confirmed, when stale: {policy}",
            )
            yield TokenCase(name, what, good, age_ms=age_ms, when_stale=policy)
        yield TokenCase(
            f"no-snapshot-{policy}",
            f"before the first snapshot, when stale: {policy}",
            good,
            has_view=False,
            when_stale=policy,
        )
        what = f"stale, revoked, when stale: {policy}: the dead stay dead"
        yield TokenCase(f"stale-revoked-{policy}", what, good, dead, age_ms=60_000, when_stale=policy)
    yield TokenCase("age-bound-1", "the smallest hard bound, reached", good, age_ms=1000, hard_bound_ms=1000)
    yield TokenCase("age-bound-1-passed", "and passed", good, age_ms=1001, hard_bound_ms=1000)
    yield TokenCase(
        "age-bound-300", "the largest hard bound, reached", good, age_ms=300_000, hard_bound_ms=300_000
    )
    expired_ms = (NOW_S + LIFETIME_S) * 1000 + 5000
    stale = 60_000
    for name, what, case in (
        ("malformed", "no news can mend it", TokenCase("", "", "no token", age_ms=stale)),
        ("expired", "no news can mend it", TokenCase("", "", good, age_ms=stale, now_ms=expired_ms)),
        ("withdrawn", "a withdrawal is for good", TokenCase("", "", good, [key_fact(EC.kid)], age_ms=stale)),
        (
            "audience",
            "the audience is judged after freshness",
            TokenCase("", "", good, age_ms=stale, audience="x"),
        ),
        ("scope", "and so are scopes", TokenCase("", "", good, age_ms=stale, scopes=("erase",))),
        ("active", "a good token", TokenCase("", "", good, age_ms=stale)),
    ):
        yield _renamed(case, f"stale-{name}", f"stale: {what}")
    no_view = TokenCase(
        "no-snapshot-expired",
        "before the first snapshot: no news can mend it",
        good,
        has_view=False,
        now_ms=expired_ms,
    )
    yield no_view
    accept = "fail-open still looks at keys"
    yield TokenCase(
        "accept-unknown-key", accept, good, keys="none", key_fetch="fails", age_ms=stale, when_stale="accept"
    )
    yield TokenCase(
        "accept-audience",
        "fail-open still looks at the audience",
        good,
        age_ms=stale,
        when_stale="accept",
        audience="x",
    )


def _renamed(case: TokenCase, name: str, what: str) -> TokenCase:
    return replace(case, id=name, description=what)
