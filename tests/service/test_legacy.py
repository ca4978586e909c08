"""Tokens of a home-made service: judged by shape and secret, revocable, exchanged once, gone after their date."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.domain.access_token import InactiveReason
from authsvc.domain.errors import (
    AppDisabled,
    LoginCodeInvalid,
    LoginCodeSpent,
    LoginCodeUsed,
    NotFound,
    StoreUnavailable,
    TokenInvalid,
    UnknownApp,
    UserBlocked,
)
from authsvc.domain.legacy_token import LegacySubject
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.domain.users import Block
from authsvc.ports import ByIdentity, ImportedUser
from authsvc.service.login import LoginResult
from authsvc.service.revoke import AccessTokenTarget, AppTarget, UserTarget
from authsvc.service.verify import Demand, Refusal, VerifiedToken
from tests.fakes import FakeClock
from tests.support import legacy
from tests.support.core import D1, D2, OFF, Core, build_core, sandbox_apps

OPENID = "o-alice"
DAY = timedelta(days=1)
START = FakeClock().now()
UNTIL = START + 60 * DAY


def apps(**changes: Any) -> dict[str, Any]:
    known = sandbox_apps()
    known[D1] = legacy.migrating(known[D1], until=UNTIL, **changes)
    return known


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with build_core(tmp_path, apps=apps()) as built:
        await bring_in(built, OPENID)
        await passed(built, DAY)
        yield built


async def passed(core: Core, span: timedelta = timedelta(seconds=6)) -> None:
    """So much later, with the log confirmed again; by default more than the leeway."""
    core.clock.advance(span)
    while not core.tail.is_fresh():
        core.tail.nudge()
        await core.tail.wait_change(limit=timedelta(days=1))


async def bring_in(core: Core, openid: str, *, external_id: str | None = None, app_id: str = D1) -> None:
    record = ImportedUser(app_id, "", openid, None, external_id)
    await core.personal_data.bring_in([record], by="crm")


def token(core: Core, openid: str = OPENID, *, header: object = legacy.HEADER, **changes: Any) -> str:
    return legacy.mint(legacy.said(openid, now=core.clock.now(), **changes), header=header)


async def refusal(core: Core, text: str) -> Refusal:
    verdict = await core.judge(text)
    assert isinstance(verdict, Refusal), verdict
    return verdict


async def reason(core: Core, text: str) -> InactiveReason:
    return (await refusal(core, text)).reason


async def exchange(core: Core, text: str, app_id: str = D1, **client: str) -> LoginResult:
    return await core.legacy_logins.login(app_id=app_id, token=text, client=ClientInfo(**client))


async def user_id(core: Core, openid: str = OPENID) -> str:
    verdict = await core.judge(token(core, openid))
    assert isinstance(verdict, VerifiedToken)
    return verdict.claims.user_id


async def revoke_user(core: Core, user: str, app_id: str = "") -> None:
    await core.revocations.revoke(UserTarget(user, app_id), reason=EndReason.ADMIN, by="operator")


async def test_a_legacy_token_says_whom_the_record_knows(core: Core) -> None:
    """Our user id, the configured scopes and roles, the app's audience; no session and no id of its own."""
    text = token(core)
    verdict = await core.judge(text, D1, scopes=("profile",), roles=("guest",))
    assert isinstance(verdict, VerifiedToken)
    claims = verdict.claims
    assert (claims.app_id, claims.audiences, claims.scopes, claims.roles) == (
        D1,
        (D1,),
        ("profile",),
        ("guest",),
    )
    assert (claims.session_id, claims.token_id, claims.openid) == ("", "", OPENID)
    assert claims.user_id not in {"", OPENID}
    assert claims.issued_at == int(core.clock.now().timestamp())
    assert await core.judge(text, "another audience") == Refusal(InactiveReason.WRONG_AUDIENCE)
    assert await core.judge(text, scopes=("orders",)) == Refusal(InactiveReason.MISSING_SCOPE)
    assert core.verifier.cached == 0


@pytest.mark.parametrize("subject", [LegacySubject.EXTERNAL_ID, LegacySubject.USER_ID])
async def test_the_user_claim_may_be_another_id(tmp_path: Path, subject: LegacySubject) -> None:
    """An external id (a number is read in decimal) or our own user id names the same user as the openid."""
    async with build_core(tmp_path, apps=apps(subject=subject)) as core:
        await bring_in(core, OPENID, external_id="42")
        [owner] = await core.store.real.find_users(ByIdentity(D1, OPENID))
        named: object = 42 if subject is LegacySubject.EXTERNAL_ID else owner
        text = legacy.mint({**legacy.said("", now=core.clock.now()), "openid": named})
        verdict = await core.judge(text)
        assert isinstance(verdict, VerifiedToken)
        assert (verdict.claims.user_id, verdict.claims.external_id) == (owner, "42")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"alg": "none", "typ": "JWT"}, InactiveReason.MALFORMED),
        ({"alg": "HS512", "typ": "JWT"}, InactiveReason.MALFORMED),
        ({"alg": "hs256", "typ": "JWT"}, InactiveReason.MALFORMED),
        ({"alg": "HS256"}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "jwt"}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "JWT", "kid": ""}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "JWT", "kid": "1"}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "at+jwt", "kid": "1"}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "at+jwt"}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "JWT", "crit": []}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "JWT", "jwk": {}}, InactiveReason.MALFORMED),
        ({"alg": "HS256", "typ": "JWT", "x": 1}, InactiveReason.MALFORMED),
    ],
)
async def test_only_the_configured_header_is_legacy(
    core: Core, header: object, expected: InactiveReason
) -> None:
    """Any other header, a kid above all, leaves the token to the rules for ours; the legacy secret opens nothing."""
    assert await reason(core, token(core, header=header)) == expected


async def test_the_public_key_is_no_secret(core: Core) -> None:
    """HS256 over our own public key, in any of its texts, with the legacy header or ours, is refused."""
    [record] = await core.store.real.list_signing_keys()
    jwk = json.loads(record.public_jwk)
    texts = [
        record.public_jwk.encode(),
        core.keys.jwks_json.encode(),
        base64.urlsafe_b64decode(jwk["x"] + "=="),
    ]
    payload = legacy.said(OPENID, now=core.clock.now())
    for secret in texts:
        assert await reason(core, legacy.mint(payload, secret=secret)) == InactiveReason.BAD_SIGNATURE
        ours = {"alg": "HS256", "typ": "at+jwt", "kid": record.kid}
        assert (
            await reason(core, legacy.mint(payload, secret=secret, header=ours)) != InactiveReason.UNSPECIFIED
        )


async def test_our_claims_under_the_legacy_secret_are_refused(core: Core) -> None:
    """A whole payload of ours, signed by the legacy secret under our header or the legacy one, opens nothing."""
    good = (await core.login()).tokens.access_token
    head, payload, _ = good.split(".")
    raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    ours = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert await reason(core, legacy.mint(raw, header=ours)) == InactiveReason.BAD_SIGNATURE
    assert (
        await reason(core, legacy.mint(raw, header={**ours, "alg": "HS256"})) == InactiveReason.BAD_SIGNATURE
    )
    assert await reason(core, legacy.mint(raw)) == InactiveReason.MALFORMED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": None}, InactiveReason.MALFORMED),
        ({"iat": None}, InactiveReason.MALFORMED),
        ({"purpose": "reset"}, InactiveReason.MALFORMED),
        ({"aud": "x"}, InactiveReason.MALFORMED),
        ({"exp": "1800000000"}, InactiveReason.MALFORMED),
        ({"exp": True}, InactiveReason.MALFORMED),
        ({"exp": 2**60}, InactiveReason.MALFORMED),
        ({"openid": ""}, InactiveReason.MALFORMED),
        ({"openid": ["o"]}, InactiveReason.MALFORMED),
        ({"openid": "a\0b"}, InactiveReason.MALFORMED),
        ({"openid": "x" * 256}, InactiveReason.MALFORMED),
        ({"openid": "o-nobody"}, InactiveReason.USER_REVOKED),
    ],
)
async def test_a_token_must_say_exactly_what_is_configured(
    core: Core, changes: dict[str, Any], expected: InactiveReason
) -> None:
    """Names, types, and a user of the record: a token for another purpose with the same secret is none."""
    assert await reason(core, token(core, **changes)) == expected


async def test_times_are_judged(core: Core) -> None:
    """Expired, not yet valid, or living longer than configured; five seconds of leeway, as for ours."""
    now = int(core.clock.now().timestamp())
    assert await reason(core, token(core, iat=now - 99, exp=now - 5)) == InactiveReason.EXPIRED
    assert isinstance(await core.judge(token(core, iat=now - 99, exp=now - 4)), VerifiedToken)
    assert await reason(core, token(core, iat=now + 6)) == InactiveReason.NOT_YET_VALID
    assert isinstance(await core.judge(token(core, iat=now + 5)), VerifiedToken)
    assert await reason(core, token(core, exp=now + 30 * 86400 + 1)) == InactiveReason.LIFETIME_TOO_LONG
    assert isinstance(await core.judge(token(core, iat=now + 0.5, exp=now + 99.9)), VerifiedToken)


async def test_the_date_ends_them(core: Core) -> None:
    """From legacy_until on nobody looks at them, and no verdict says that they last longer than that."""
    await passed(core, UNTIL - core.clock.now() - timedelta(seconds=1))
    text = token(core)
    verdict = await core.judge(text)
    assert isinstance(verdict, VerifiedToken)
    assert verdict.claims.expires_at == int(UNTIL.timestamp())
    core.clock.advance(timedelta(seconds=1))
    assert await reason(core, text) == InactiveReason.MALFORMED
    with pytest.raises(LoginCodeInvalid):
        await exchange(core, text)


async def test_without_a_policy_nothing_is_legacy(core: Core) -> None:
    """An app that is not migrated, or no longer, knows none: the table taken away ends them at once."""
    text = token(core)
    assert isinstance(await core.judge(text), VerifiedToken)
    core.apps.replace(sandbox_apps())
    assert await reason(core, text) == InactiveReason.MALFORMED


async def test_revoking_a_user_ends_what_was_issued_before(core: Core) -> None:
    """Though the user has no session and the log no fact; what the old service issues later is good again."""
    before = token(core)
    user = await user_id(core)
    await revoke_user(core, user)
    assert await refusal(core, before) == Refusal(InactiveReason.USER_REVOKED)
    assert await reason(core, token(core)) == InactiveReason.USER_REVOKED
    await passed(core)
    assert isinstance(await core.judge(token(core)), VerifiedToken)
    assert await reason(core, before) == InactiveReason.USER_REVOKED


async def test_revoking_a_user_with_sessions_ends_them_too(core: Core) -> None:
    """The fact that ends the sessions of a user does not hide what the record says of their legacy tokens."""
    before = token(core)
    result = await exchange(core, before)
    await revoke_user(core, result.opened.user.user_id)
    assert await reason(core, before) == InactiveReason.USER_REVOKED
    assert await reason(core, result.tokens.access_token) == InactiveReason.USER_REVOKED
    await passed(core)
    assert isinstance(await core.judge(token(core)), VerifiedToken)


async def test_revoking_a_user_in_one_app_ends_the_tokens_of_that_app(core: Core) -> None:
    """Narrowed to another app it ends none; narrowed to theirs it ends them all."""
    text, user = token(core), await user_id(core)
    await revoke_user(core, user, D2)
    assert isinstance(await core.judge(text), VerifiedToken)
    await revoke_user(core, user, D1)
    assert await reason(core, text) == InactiveReason.USER_REVOKED


async def test_revoking_the_app_ends_what_was_issued_before(core: Core) -> None:
    """App by app; what is issued later is good."""
    text = token(core)
    await core.revocations.revoke(AppTarget(D2), reason=EndReason.ADMIN, by="operator")
    assert isinstance(await core.judge(text), VerifiedToken)
    await core.revocations.revoke(AppTarget(D1), reason=EndReason.ADMIN, by="operator")
    assert await reason(core, text) == InactiveReason.APP_REVOKED
    await passed(core)
    assert isinstance(await core.judge(token(core)), VerifiedToken)


async def test_a_blocked_user_stays_out(core: Core) -> None:
    """While blocked no token is good and none is exchanged; after it the old ones stay dead."""
    text, user = token(core), await user_id(core)
    block = Block(reason="abuse", by="operator", at=core.clock.now())
    await core.store.real.block_user(user, block=block)
    await passed(core)
    fresh = token(core)
    assert await refusal(core, fresh) == Refusal(InactiveReason.USER_REVOKED, EndReason.BLOCKED)
    with pytest.raises(UserBlocked):
        await exchange(core, fresh)
    await core.store.real.unblock_user(user, by="operator")
    assert await reason(core, text) == InactiveReason.USER_REVOKED


async def test_a_merge_and_an_erasure_end_them(core: Core) -> None:
    """Of both who became one the tokens issued before are dead; of an erased person all are."""
    await bring_in(core, "o-bob")
    alice, bob = token(core), token(core, "o-bob")
    one, other = await user_id(core), await user_id(core, "o-bob")
    await core.store.real.merge_users(one, other, by="operator", reason="")
    assert [await reason(core, text) for text in (alice, bob)] == [InactiveReason.USER_REVOKED] * 2
    await passed(core)
    assert await user_id(core, "o-bob") == one
    await core.personal_data.erase(one, by="operator")
    await passed(core)
    assert await reason(core, token(core)) == InactiveReason.USER_REVOKED


async def test_a_logout_ends_the_token_itself(core: Core) -> None:
    """Revoke with the token: it is dead, its exchange too, other tokens of its user are not; `everything` ends those."""
    now = int(core.clock.now().timestamp())
    text, other = token(core), token(core, iat=now - 1)
    for _ in range(2):
        result = await core.revocations.revoke(AccessTokenTarget(text), reason=EndReason.LOGOUT, by="user")
        assert result.ended_sessions == 0
    assert await refusal(core, text) == Refusal(InactiveReason.SESSION_REVOKED, EndReason.LOGOUT)
    with pytest.raises(LoginCodeInvalid):
        await exchange(core, text)
    assert isinstance(await core.judge(other), VerifiedToken)
    session = await exchange(core, other)
    result = await core.revocations.revoke(AccessTokenTarget(other, True), reason=EndReason.LOGOUT, by="user")
    assert result.ended_sessions == 1
    assert await reason(core, session.tokens.access_token) == InactiveReason.USER_REVOKED


async def test_a_forged_token_revokes_nothing(core: Core) -> None:
    """Success with nothing written, as for ours."""
    text = token(core)
    forged = legacy.mint(legacy.said(OPENID, now=core.clock.now()), secret=b"x" * 32)
    result = await core.revocations.revoke(
        AccessTokenTarget(forged, True), reason=EndReason.LOGOUT, by="user"
    )
    assert result.ended_sessions == 0
    assert isinstance(await core.judge(text), VerifiedToken)


async def test_each_token_becomes_one_session(core: Core) -> None:
    """The session is an ordinary one of the very user; the second exchange is refused; the token itself goes on."""
    text = token(core)
    result = await exchange(core, text, device_id="phone")
    assert result.opened.user.user_id == await user_id(core)
    assert (result.openid, result.opened.is_new_user) == (OPENID, False)
    assert isinstance(await core.judge(result.tokens.access_token), VerifiedToken)
    refreshed = await core.refresh(result.tokens.refresh_token)
    assert isinstance(await core.judge(refreshed.tokens.access_token), VerifiedToken)
    with pytest.raises(LoginCodeUsed):
        await exchange(core, text)
    assert isinstance(await core.judge(text), VerifiedToken)


async def test_of_parallel_exchanges_one_wins(core: Core) -> None:
    """However many come at once."""
    text = token(core)
    outcomes = await asyncio.gather(*(exchange(core, text) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, LoginResult) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, LoginCodeUsed) for outcome in outcomes) == 19


async def test_the_session_key_of_the_last_login_stays(core: Core) -> None:
    """An exchange brings no session_key and takes none away."""
    code = await core.login("alice")
    before = await core.store.real.find_identities(code.opened.user.user_id, app_id=D1)
    await exchange(core, token(core, code.openid))
    assert await core.store.real.find_identities(code.opened.user.user_id, app_id=D1) == before


async def test_an_exchange_is_of_its_own_app(core: Core) -> None:
    """Named for another app, an unknown or a disabled one, or of nobody, it is refused, and not used up."""
    text = token(core)
    for app_id, error in ((D2, LoginCodeInvalid), ("wx?", UnknownApp), (OFF, AppDisabled)):
        with pytest.raises(error):
            await exchange(core, text, app_id)
    for bad in ("", "a.b.c", text + "A", token(core, "o-nobody")):
        with pytest.raises(LoginCodeInvalid):
            await exchange(core, bad)
    assert isinstance(await exchange(core, text), LoginResult)


async def test_a_failing_record_is_no_verdict(core: Core) -> None:
    """Unreachable before anything happened: again with the same token. Lost afterwards: spent."""
    text = token(core)
    core.store.fail("find_legacy_holder")
    with pytest.raises(StoreUnavailable):
        await core.judge(text)
    core.store.fail("claim_code")
    with pytest.raises(StoreUnavailable):
        await exchange(core, text)
    gate = core.store.hold("claim_code", after=True)
    trying = asyncio.ensure_future(exchange(core, text))
    await gate.reached.wait()
    core.store.fail("find_legacy_holder")
    gate.open()
    with pytest.raises(StoreUnavailable):
        await trying
    core.store.fail("open_vouched_session", after=True)
    with pytest.raises(LoginCodeSpent):
        await exchange(core, text)
    with pytest.raises(LoginCodeUsed):
        await exchange(core, text)


async def test_a_revocation_in_the_middle_of_an_exchange_wins(core: Core) -> None:
    """Revoked after it was judged and before the session is written: no session."""
    text, user = token(core), await user_id(core)
    gate = core.store.hold("open_vouched_session")
    trying = asyncio.ensure_future(exchange(core, text))
    await gate.reached.wait()
    await revoke_user(core, user)
    gate.open()
    with pytest.raises(LoginCodeInvalid):
        await trying


async def test_a_legacy_token_is_no_subject(core: Core) -> None:
    """It names nobody to the RPCs that take a user's token: those are for sessions."""
    with pytest.raises(TokenInvalid):
        await core.verifier.require_active(token(core), Demand(core.audiences))


async def test_two_apps_with_one_shape_are_told_apart_by_their_secret(tmp_path: Path) -> None:
    """Whose secret signed it, of that app it is."""
    known = apps()
    known[D2] = legacy.migrating(known[D2], until=UNTIL, secret=b"another service's secret, as long")
    async with build_core(tmp_path, apps=known) as core:
        await bring_in(core, OPENID, app_id=D2)
        text = legacy.mint(legacy.said(OPENID, now=core.clock.now()), secret=known[D2].legacy.secret)
        verdict = await core.judge(text)
        assert isinstance(verdict, VerifiedToken)
        assert verdict.claims.app_id == D2


async def test_a_token_that_does_not_say_when_it_was_made(tmp_path: Path) -> None:
    """Configured so, it is good; any revocation of its user ends it, now or earlier."""
    timeless = {"issued_claim": "", "claims": frozenset({"openid", "exp"})}
    async with build_core(tmp_path, apps=apps(**timeless)) as core:
        await bring_in(core, OPENID)
        text = token(core, iat=None)
        verdict = await core.judge(text)
        assert isinstance(verdict, VerifiedToken)
        await revoke_user(core, verdict.claims.user_id)
        await passed(core, DAY)
        assert await reason(core, token(core, iat=None)) == InactiveReason.USER_REVOKED


async def test_nothing_of_it_is_told(core: Core) -> None:
    """The secret appears in no repr, and neither token nor openid in an event."""
    text = token(core)
    await exchange(core, text)
    with pytest.raises(NotFound):
        await core.revocations.revoke(UserTarget("nobody"), reason=EndReason.ADMIN, by="operator")
    told = repr(core.apps.apps) + repr(core.observer.events)
    assert legacy.SECRET.decode() not in told
    assert OPENID not in told
    assert text.split(".")[2] not in told
