"""VerifyToken: every reason, their order, what is remembered of a token and what never is."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations, count
from pathlib import Path
from typing import Any

import pytest

from authsvc.domain.access_token import Claims, Header, InactiveReason
from authsvc.domain.cursors import Cursor
from authsvc.domain.errors import CursorExpired, NotFresh, StoreUnavailable, TokenInvalid
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.ports import VerificationKey
from authsvc.service.revoke import AppTarget, SessionTarget, Target, UserTarget
from authsvc.service.verify import Demand, Refusal, VerifiedToken
from tests.support.core import D1, D2, HARD_BOUND, ISSUER, Core, build_core
from tests.support.tokens import claims_of, graft, resign, sign, stranger, twin

HOUR = 3600
TICK = timedelta(milliseconds=1)
# CONTRACT.md, "Which reason, when several hold", word for word.
ORDER = (
    "MALFORMED",
    "WRONG_TYPE",
    "KEY_WITHDRAWN",
    "UNKNOWN_KEY",
    "BAD_SIGNATURE",
    "WRONG_ISSUER",
    "LIFETIME_TOO_LONG",
    "NOT_YET_VALID",
    "EXPIRED",
    "SESSION_REVOKED",
    "USER_REVOKED",
    "APP_REVOKED",
    "WRONG_AUDIENCE",
    "MISSING_SCOPE",
    "MISSING_ROLE",
)
_numbers = count()


@dataclass
class Case:
    """A token with the faults that were asked for, and the demand that finds the rest."""

    token: str
    demand: Demand
    facts: list[Fact] = field(default_factory=list)


async def build(core: Core, *faults: str) -> Case:
    """A token of its own session, user and app; nothing of it was ever in the store."""
    number, now = next(_numbers), int(core.clock.now().timestamp())
    claims = Claims(
        issuer=ISSUER,
        user_id=f"user{number}",
        audiences=("aud",),
        app_id=f"app{number}",
        expires_at=now + HOUR,
        issued_at=now,
        not_before=now,
        token_id="jti",
        session_id=f"sid{number}",
        position=1,
        scopes=("read",),
        roles=("staff",),
    )
    changes: dict[str, Any] = {}
    header: dict[str, Any] = {}
    if "WRONG_ISSUER" in faults:
        changes["issuer"] = "elsewhere"
    if "LIFETIME_TOO_LONG" in faults:
        changes["issued_at"] = now - 4 * HOUR
    if "NOT_YET_VALID" in faults:
        changes["not_before"] = now + 6
    if "EXPIRED" in faults:
        changes["expires_at"] = now - 5
    if "WRONG_TYPE" in faults:
        header["typ"] = "JWT"
    if "UNKNOWN_KEY" in faults:
        header["kid"] = "nobody's"
    if "KEY_WITHDRAWN" in faults:
        header["kid"] = "withdrawn"
    token = await sign(replace(claims, **changes), signer=core.signer, **header)
    if "BAD_SIGNATURE" in faults:
        token = graft(token, await sign(replace(claims, token_id="x"), signer=core.signer, **header))
    if "MALFORMED" in faults:
        token += "="
    targets = {
        "KEY_WITHDRAWN": (FactKind.KEY, "withdrawn"),
        "SESSION_REVOKED": (FactKind.SESSION, claims.session_id),
        "USER_REVOKED": (FactKind.USER, claims.user_id),
        "APP_REVOKED": (FactKind.APP, claims.app_id),
    }
    return Case(
        token,
        Demand(
            audiences=frozenset({"other" if "WRONG_AUDIENCE" in faults else "aud"}),
            scopes=("write",) if "MISSING_SCOPE" in faults else ("read",),
            roles=("chief",) if "MISSING_ROLE" in faults else ("staff",),
        ),
        [Fact(2, *targets[fault], EndReason.ADMIN, None) for fault in faults if fault in targets],
    )


async def judged(core: Core, case: Case) -> str:
    core.view.apply(case.facts)
    verdict = await core.verifier.judge(case.token, case.demand)
    return verdict.reason.name if isinstance(verdict, Refusal) else "ACTIVE"


async def test_nothing_wrong_is_active(core: Core) -> None:
    """The case the faults are planted in is a good token."""
    assert await judged(core, await build(core)) == "ACTIVE"


@pytest.mark.parametrize("reason", ORDER)
async def test_every_reason_is_given(core: Core, reason: str) -> None:
    """One fault alone is named by its reason; the list names every reason of the contract."""
    assert await judged(core, await build(core, reason)) == reason
    assert set(ORDER) == {member.name for member in InactiveReason} - {"UNSPECIFIED"}


async def test_of_two_faults_the_first_of_the_contract_is_told(core: Core) -> None:
    """Over all pairs; a key cannot be both withdrawn and unknown, withdrawn is what is known of it."""
    wrong = {}
    for first, second in combinations(ORDER, 2):
        found = await judged(core, await build(core, first, second))
        if found != first:
            wrong[first, second] = found
    assert wrong == {}


async def malformed(core: Core) -> list[str]:
    good = (await build(core)).token
    head, payload, tail = good.split(".")
    signer, claims = core.signer, claims_of(good)
    bad = [
        "",
        ".",
        "..",
        "a.b.c",
        "junk",
        good[:-1],
        good[1:],
        f"{good}.",
        f".{good}",
        f"{good}.{tail}.{tail}",
    ]
    bad += [f"{good}\n", f" {good}", f"{head}.{payload}.{tail}==", good.replace(".", "\u3002"), good + "é"]
    bad += [f"{head}.{payload}=.{tail}", f"{head}=.{payload}.{tail}", "x" * 9000, f"{good}{'A' * 9000}"]
    for member in ("jku", "x5u", "jwk", "crit"):
        bad.append(await sign(claims, signer=signer, **{member: "x"}))
    for alg in ("none", "None", "NONE"):
        bad.append(await sign(claims, signer=signer, alg=alg))
    bad.append(await sign(claims, signer=signer, kid=None))
    bad.append(await sign(claims, signer=signer, kid=7))
    return bad


async def test_malformed_in_every_way(core: Core) -> None:
    """Junk, truncation, other spellings, five parts, forbidden headers, alg none, no kid, and far too long."""
    accepted = {}
    for token in await malformed(core):
        verdict = await core.judge(token, "aud")
        if verdict != Refusal(InactiveReason.MALFORMED):
            accepted[token] = verdict
    assert accepted == {}
    assert core.verifier.cached == 0


@pytest.mark.parametrize("alg", ["HS256", "RS256", "EdDSA", "es256", "ES384"])
async def test_another_algorithm_than_the_keys_is_a_bad_signature(core: Core, alg: str) -> None:
    """One key has one algorithm, whatever the header says."""
    token = await resign((await build(core)).token, signer=core.signer, header={"alg": alg})
    assert await core.judge(token, "aud") == Refusal(InactiveReason.BAD_SIGNATURE)


async def test_leeway_is_five_seconds(core: Core) -> None:
    """Accepted 4.999 s after `exp` and 5 s before `nbf`; refused from there on."""
    token, now = (await build(core)).token, int(core.clock.now().timestamp())
    early = await resign(token, signer=core.signer, not_before=now + 5)
    late = await resign(token, signer=core.signer, expires_at=now - 4)
    assert isinstance(await core.judge(early, "aud"), VerifiedToken)
    assert isinstance(await core.judge(late, "aud"), VerifiedToken)
    core.clock.advance(timedelta(seconds=1))
    assert await core.judge(late, "aud") == Refusal(InactiveReason.EXPIRED)
    iat = await resign(token, signer=core.signer, issued_at=now + 7)
    assert await core.judge(iat, "aud") == Refusal(InactiveReason.NOT_YET_VALID)


async def test_the_largest_lifetime_is_the_apps_own(core: Core) -> None:
    """d2's tokens live an hour at most: 61 minutes are too long there and fine for d1."""
    token, now = (await build(core)).token, int(core.clock.now().timestamp())
    for app_id, expected in ((D2, Refusal), (D1, VerifiedToken), ("unknown", VerifiedToken)):
        long = await resign(token, signer=core.signer, app_id=app_id, expires_at=now + 3660)
        assert isinstance(await core.judge(long, "aud"), expected)


async def test_what_a_call_asks_is_never_remembered(core: Core) -> None:
    """The same cached token is refused for one audience, scope or role and good for the next, in any order."""
    token = (await build(core)).token
    both = frozenset({"aud", "other"})
    good = Demand(both, ("read",), ("staff",))
    asked = [
        (good, None),
        (Demand(frozenset({"other"}), ("read",), ("staff",)), InactiveReason.WRONG_AUDIENCE),
        (Demand(frozenset(), ("read",), ("staff",)), InactiveReason.WRONG_AUDIENCE),
        (good, None),
        (Demand(both, ("read", "write"), ("staff",)), InactiveReason.MISSING_SCOPE),
        (Demand(both, ("read",), ("staff", "chief")), InactiveReason.MISSING_ROLE),
        (good, None),
    ]
    for demand, reason in asked:
        verdict = await core.verifier.judge(token, demand)
        assert (verdict.reason if isinstance(verdict, Refusal) else None) == reason
    assert core.verifier.cached == 1


class CountingKey:
    """A key that counts its checks."""

    def __init__(self, real: VerificationKey) -> None:
        self._real, self.header, self.checks = real, real.header, 0

    header: Header

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        self.checks += 1
        return self._real.verify(signing_input, signature)


def counting(core: Core) -> CountingKey:
    kid = core.signer.header.kid
    real = core.keys.find(kid)
    assert real is not None
    counter = CountingKey(real)
    core.keys._by_kid[kid] = counter
    return counter


async def test_a_signature_is_checked_once(core: Core) -> None:
    """A token seen before costs no signature check and no I/O."""
    key, token = counting(core), (await build(core)).token
    await core.judge(token, "aud")
    before = core.store.calls.total()
    for _ in range(10):
        assert isinstance(await core.judge(token, "aud"), VerifiedToken)
    assert key.checks == 1
    assert core.store.calls.total() == before


async def test_refusals_are_not_remembered(core: Core) -> None:
    """A stranger's junk takes no room, and a token that is not valid yet becomes good."""
    case = await build(core, "NOT_YET_VALID")
    assert await judged(core, case) == "NOT_YET_VALID"
    core.clock.advance(timedelta(seconds=2))
    assert await judged(core, case) == "ACTIVE"
    for _ in range(3):
        await judged(core, await build(core, "BAD_SIGNATURE"))
    assert core.verifier.cached == 1


async def test_the_cache_is_bounded(tmp_path: Path) -> None:
    """The oldest entry goes; what went is checked again and still good."""
    async with build_core(tmp_path, cache_size=3) as core:
        key = counting(core)
        tokens = [(await build(core)).token for _ in range(5)]
        for token in tokens:
            await core.judge(token, "aud")
            assert core.verifier.cached <= 3
        await core.judge(tokens[-1], "aud")
        assert key.checks == 5
        assert isinstance(await core.judge(tokens[0], "aud"), VerifiedToken)
        assert key.checks == 6


async def test_a_stolen_signature_never_hits(core: Core) -> None:
    """Another payload under a cached token's header and signature is a bad signature."""
    mine, theirs = (await build(core)).token, (await build(core)).token
    assert isinstance(await core.judge(mine, "aud"), VerifiedToken)
    assert await core.judge(graft(theirs, mine), "aud") == Refusal(InactiveReason.BAD_SIGNATURE)


@pytest.mark.parametrize("kind", ["session", "user", "app", "key"])
async def test_a_cached_token_dies_with_what_it_hangs_on(core: Core, kind: str) -> None:
    """Session, user, app or key: revoked after the token was cached, refused on the next call, with the reason why."""
    login = await core.login()
    token, session = login.tokens.access_token, login.opened.session
    assert isinstance(await core.judge(token), VerifiedToken)
    if kind == "key":
        await core.store.real.write_key_withdrawal(core.signer.header.kid, by="operator")
        await core.polled()
        assert await core.judge(token) == Refusal(InactiveReason.KEY_WITHDRAWN)
        return
    targets: dict[str, Target] = {
        "session": SessionTarget(session.session_id),
        "user": UserTarget(session.user_id),
        "app": AppTarget(D1),
    }
    await core.revocations.revoke(targets[kind], reason=EndReason.ADMIN, by="operator")
    assert await core.judge(token) == Refusal(InactiveReason[f"{kind.upper()}_REVOKED"], EndReason.ADMIN)
    assert isinstance(await core.judge((await core.login()).tokens.access_token), VerifiedToken)


async def test_a_cached_token_expires(core: Core) -> None:
    """Time is judged on every call."""
    token = (await build(core)).token
    assert isinstance(await core.judge(token, "aud"), VerifiedToken)
    core.clock.advance(timedelta(hours=1, seconds=5))
    await core.tail.poll()
    assert await core.judge(token, "aud") == Refusal(InactiveReason.EXPIRED)


async def test_the_twin_signature_dies_with_the_session(core: Core) -> None:
    """(r, n - s) is a second text of one token; both die, since state hangs on the session, not on the text."""
    login = await core.login()
    token = login.tokens.access_token
    other = twin(token)
    assert other != token
    assert isinstance(await core.judge(other), VerifiedToken)
    await core.revocations.revoke(
        SessionTarget(login.opened.session.session_id), reason=EndReason.ADMIN, by="operator"
    )
    for text in (token, other, twin(other)):
        assert await core.judge(text) == Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)


async def grow_stale(core: Core) -> None:
    core.store.down = True
    core.clock.advance(HARD_BOUND + TICK)


@pytest.mark.parametrize("reason", [reason for reason in ORDER[:12] if reason != "UNKNOWN_KEY"])
async def test_what_no_revocation_can_change_is_decided_also_when_stale(core: Core, reason: str) -> None:
    """A token that is bad or known to be dead needs no fresh log."""
    await grow_stale(core)
    assert await judged(core, await build(core, reason)) == reason


@pytest.mark.parametrize("reason", ["", "WRONG_AUDIENCE", "MISSING_SCOPE", "MISSING_ROLE"])
async def test_stale_knowledge_is_never_a_verdict(core: Core, reason: str) -> None:
    """Beyond the hard bound neither yes nor the no of this call's wishes is said; also for a cached token."""
    case = await build(core, reason)
    assert await judged(core, case) == (reason or "ACTIVE")
    await grow_stale(core)
    for again in (case, await build(core, reason)):
        with pytest.raises(NotFresh):
            await judged(core, again)
    core.store.down = False
    await core.tail.poll()
    assert await judged(core, replace(case, token=(await build(core)).token)) == (reason or "ACTIVE")


async def test_before_the_first_snapshot_nobody_is_active(tmp_path: Path) -> None:
    """Keys alone decide nothing but what is bad anyway."""
    async with build_core(tmp_path, start=False) as core:
        await core.keys.start()
        with pytest.raises(NotFresh):
            await judged(core, await build(core))
        assert await judged(core, await build(core, "EXPIRED")) == "EXPIRED"


async def test_an_unknown_key_is_a_verdict_only_after_a_fresh_read(core: Core) -> None:
    """Store down: no verdict. A key added meanwhile is found, however long ago the keys were read."""
    record, _ = stranger(core.clock)
    case = await build(core, "UNKNOWN_KEY")
    core.clock.advance(timedelta(seconds=1))
    core.store.down = True
    with pytest.raises(StoreUnavailable):
        await judged(core, case)
    core.store.down = False
    assert await judged(core, case) == "UNKNOWN_KEY"
    await core.store.real.add_signing_key(record)
    core.clock.advance(timedelta(seconds=1))
    known_now = await resign((await build(core)).token, signer=core.signer, header={"kid": record.kid})
    assert await core.judge(known_now, "aud") == Refusal(InactiveReason.BAD_SIGNATURE)


async def test_many_unknown_keys_share_one_read(core: Core) -> None:
    """Fifty tokens with unknown keys at once: one read."""
    core.clock.advance(timedelta(seconds=1))
    before = core.store.calls["list_signing_keys"]
    cases = [await build(core, "UNKNOWN_KEY") for _ in range(50)]
    assert set(await asyncio.gather(*(judged(core, case) for case in cases))) == {"UNKNOWN_KEY"}
    assert core.store.calls["list_signing_keys"] == before + 1


async def test_at_least_after_an_own_revoke_is_reached_at_once(core: Core) -> None:
    """No time passes on the clock: the tail is asked to look now."""
    login = await core.login()
    result = await core.revocations.revoke(
        SessionTarget(login.opened.session.session_id), reason=EndReason.ADMIN, by="operator"
    )
    verdict = await core.verifier.judge(
        login.tokens.access_token, Demand(core.audiences), at_least=result.head
    )
    assert verdict == Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)
    assert core.view.known is not None
    assert core.view.known.position >= result.head.position


async def test_at_least_holds_for_a_cached_token(tmp_path: Path, core: Core) -> None:
    """Read your writes over replicas: revoked there, asked here with the cursor, refused here."""
    async with build_core(tmp_path, clock=core.clock, seed=2) as other:
        login = await core.login()
        token = login.tokens.access_token
        assert isinstance(await other.judge(token), VerifiedToken)
        result = await core.revocations.revoke(
            SessionTarget(login.opened.session.session_id), reason=EndReason.ADMIN, by="operator"
        )
        verdict = await other.verifier.judge(token, Demand(core.audiences), at_least=result.head)
        assert verdict == Refusal(InactiveReason.SESSION_REVOKED, EndReason.ADMIN)


async def test_at_least_that_cannot_be_reached_is_no_verdict(core: Core) -> None:
    """Even a malformed token is not answered from knowledge older than was asked for."""
    assert core.view.known is not None
    ahead = Cursor(core.view.known.incarnation, core.view.known.position + 1)
    asking = asyncio.create_task(core.verifier.judge("junk", Demand(core.audiences), at_least=ahead))
    await core.clock.until_sleeping(2)
    core.clock.advance(timedelta(milliseconds=500))
    with pytest.raises(NotFresh):
        await asking
    with pytest.raises(CursorExpired):
        await core.verifier.judge("junk", Demand(core.audiences), at_least=Cursor(b"12345678", 0))


async def test_a_subject_must_be_active(core: Core) -> None:
    """As the subject of another call a bad token is TokenInvalid, whatever the reason."""
    case = await build(core)
    assert (await core.verifier.require_active(case.token, case.demand)).session_id.startswith("sid")
    for fault in ("EXPIRED", "WRONG_AUDIENCE", "MALFORMED"):
        case = await build(core, fault)
        with pytest.raises(TokenInvalid):
            await core.verifier.require_active(case.token, case.demand)


@pytest.mark.parametrize("fault", ORDER)
async def test_what_counts_as_verified_for_a_revocation(core: Core, fault: str) -> None:
    """Signature, type and issuer; neither time nor death nor what a call would ask."""
    refused = {"MALFORMED", "WRONG_TYPE", "KEY_WITHDRAWN", "UNKNOWN_KEY", "BAD_SIGNATURE", "WRONG_ISSUER"}
    case = await build(core, fault)
    core.view.apply(case.facts)
    claims = await core.verifier.claims_to_revoke(case.token)
    assert (claims is None) == (fault in refused)
