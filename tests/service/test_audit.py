"""What the use cases leave in the audit trail beside their transactions: look-ups, refusals, and the sealer's rounds."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from authsvc.domain import refresh_token
from authsvc.domain.apps import PhonePolicy
from authsvc.domain.audit import AuditRow
from authsvc.domain.errors import (
    LoginCodeInvalid,
    LoginCodeUsed,
    NotFound,
    RefreshTokenInvalid,
    SessionEnded,
    StoreUnavailable,
    UnknownApp,
    UserBlocked,
    WeChatUserBlocked,
)
from authsvc.domain.ids import decode_id
from authsvc.domain.principals import RESERVED_NAMES
from authsvc.domain.sessions import ClientInfo, EndReason
from authsvc.ports import AuditQuery, CallRecord, Origin, Signer, current_origin
from authsvc.service.audit_refusals import FLUSH_EVERY, MAX_KINDS, MINUTE, SAMPLE, Refusals
from authsvc.service.audit_sealing import GRACE, INTERVAL, AuditSealer
from authsvc.service.revoke import RefreshTokenTarget
from authsvc.service.subjects import UserSubject
from tests.support.core import D1, OFF, Core, sandbox_apps

HERE = ClientInfo(ip="203.0.113.7")


async def rows(core: Core, event: str = "") -> list[AuditRow]:
    """Those of the trail but the keys', which every start has."""
    listed = await core.store.real.list_audit(AuditQuery(event=event, limit=1000))
    return [row for row in listed if not row.event.startswith("key.")]


async def flushed(core: Core) -> None:
    """Let the refusals write what they noted."""
    core.refusals.start()
    await core.refusals.stop()


# -- look-ups ----------------------------------------------------------------------------------------------------------


async def test_looking_up_a_phone_number_is_told_with_who_where_and_why(core: Core) -> None:
    """GetUser with the number, FindUser by one, also in vain, and an export; without the number nothing is told."""
    core.apps.replace(sandbox_apps(phone=PhonePolicy.BIND))
    made = await core.login(phone_code=core.sandbox.mint_phone(D1, "alice"))
    user_id = made.opened.user.user_id
    current_origin.set(Origin("support", "request-1", "f" * 32, "ticket 17", lambda: "10.0.0.9"))
    known = await core.people.get(user_id, with_phone=True)
    assert known.phone_number is not None
    await core.people.get(user_id)
    await core.people.find_by_phone(known.phone_number)
    with pytest.raises(NotFound):
        await core.people.find_by_phone("+8613000000000")
    await core.personal_data.hand_out(user_id, by="support")
    told = [row for row in await rows(core) if row.by == "support"]
    assert Counter((row.event, row.user_id) for row in told) == {
        ("user.looked_up", user_id): 1,
        ("user.found_by_phone", user_id): 1,
        ("user.found_by_phone", ""): 1,
        ("user.exported", user_id): 1,
    }
    assert {(row.ip, row.reason, row.request_id, row.trace_id) for row in told} == {
        ("10.0.0.9", "ticket 17", "request-1", "f" * 32)
    }
    assert known.phone_number[-8:] not in str([repr(row) + row.details for row in await rows(core)])


async def test_opening_user_data_is_told(core: Core) -> None:
    """Whose and in which app; what could not be opened was not looked up."""
    made = await core.login()
    subject = UserSubject(made.opened.user.user_id, D1)
    data = core.sandbox.user_data(D1, "alice")
    await core.user_data.decrypt(subject, encrypted_data=data.encrypted_data, iv=data.iv)
    [row] = await rows(core, "user_data.decrypted")
    assert (row.user_id, row.app_id) == (made.opened.user.user_id, D1)


@pytest.mark.parametrize("policy", list(PhonePolicy))
async def test_a_phone_number_is_told_as_bound_or_as_received(core: Core, policy: PhonePolicy) -> None:
    """One row either way, under the user it belongs to."""
    core.apps.replace(sandbox_apps(phone=policy))
    made = await core.login()
    subject = UserSubject(made.opened.user.user_id, D1)
    await core.phones.get(subject, code=core.sandbox.mint_phone(D1, "alice"), by="shop")
    [row] = [row for row in await rows(core) if "phone" in row.event]
    event = "user.phone_bound" if policy is PhonePolicy.BIND else "phone.received"
    assert (row.event, row.by, row.user_id, row.app_id) == (event, "shop", made.opened.user.user_id, D1)


async def test_nobody_is_told_what_could_not_be_recorded(core: Core) -> None:
    """A look-up whose row cannot be written is refused, and so is the data."""
    made = await core.login()
    user_id = made.opened.user.user_id
    data = core.sandbox.user_data(D1, "alice")
    for asked in (
        lambda: core.people.get(user_id, with_phone=True),
        lambda: core.people.find_by_phone("+8613000000000"),
        lambda: core.personal_data.hand_out(user_id, by="op"),
        lambda: core.user_data.decrypt(
            UserSubject(user_id, D1), encrypted_data=data.encrypted_data, iv=data.iv
        ),
    ):
        core.store.fail("record_audit")
        with pytest.raises(StoreUnavailable):
            await asked()


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_refused_logins_are_told_with_app_address_and_kind(core: Core) -> None:
    """Of configured apps by name; an app id that somebody made up is nowhere."""
    used = core.code()
    await core.logins.login(app_id=D1, code=used, client=HERE)
    for app_id, code, refusal in (
        (D1, used, LoginCodeUsed),
        (D1, core.code(fault="errcode;40029"), LoginCodeInvalid),
        (D1, core.code(fault="errcode;40226"), WeChatUserBlocked),
        (OFF, "0123456789abcdef", Exception),
        ("made-up-canary", "0123456789abcdef", UnknownApp),
    ):
        with pytest.raises(refusal):
            await core.logins.login(app_id=app_id, code=code, client=HERE)
    await flushed(core)
    told = await rows(core, "login.refused")
    assert Counter((row.app_id, json.loads(row.details)["refusal"]) for row in told) == {
        (D1, "LoginCodeUsed"): 1,
        (D1, "LoginCodeInvalid"): 1,
        (D1, "WeChatUserBlocked"): 1,
        (OFF, "AppDisabled"): 1,
        ("", "UnknownApp"): 1,
    }
    assert {row.ip for row in told} == {HERE.ip}
    assert used not in str([repr(row) + row.details for row in told])
    assert "canary" not in str(told)


async def test_a_blocked_user_is_told_once_and_counted(core: Core) -> None:
    """The first attempt with its transaction, the others of the minute as few rows and a number; refreshes too."""
    made = await core.login()
    await core.people.block(made.opened.user.user_id, reason="fraud", until=None, by="op")
    for _ in range(SAMPLE + 4):
        with pytest.raises(UserBlocked):
            await core.login(client=HERE)
    with pytest.raises((UserBlocked, SessionEnded)):
        await core.refresh(made.tokens.refresh_token)
    await flushed(core)
    assert len(await rows(core, "login.refused")) == 1 + SAMPLE
    [rest] = await rows(core, "login.refused_often")
    assert json.loads(rest.details) == {"refusal": "UserBlocked", "count": SAMPLE + 3, "told": SAMPLE}


async def test_forged_refresh_tokens_are_told(core: Core) -> None:
    """One of nobody, and one whose MAC holds over a nonce that is not the session's: a MAC key in other hands."""
    made = await core.login()
    with pytest.raises(RefreshTokenInvalid):
        await core.refreshes.refresh("wxr1.forged", client=HERE)
    await core.store.real.end_session(made.opened.session.session_id, reason=EndReason.ADMIN, by="op")
    await flushed(core)
    [row] = await rows(core, "refresh.refused")
    assert (row.ip, json.loads(row.details)) == (HERE.ip, {"refusal": "RefreshTokenInvalid"})


async def test_a_flood_costs_few_rows_and_loses_no_count(core: Core) -> None:
    """Ten thousand refusals in a minute: a handful of rows, one that counts the rest, and the next minute begins anew."""
    noted = 10_000
    for number in range(noted):
        core.refusals.note(
            "login.refused", refusal="LoginCodeInvalid", app_id=D1, ip=f"203.0.113.{number % 250}"
        )
    await core.tail.stop()  # else it would sleep on this clock, too
    core.refusals.start()
    for _ in range(int(MINUTE / FLUSH_EVERY) + 1):
        await core.clock.until_sleeping()
        core.clock.advance(FLUSH_EVERY)
    await core.clock.until_sleeping()
    core.refusals.note("login.refused", refusal="LoginCodeInvalid", app_id=D1)
    await core.refusals.stop()
    assert len(await rows(core, "login.refused")) == SAMPLE + 1
    [rest] = await rows(core, "login.refused_often")
    assert (rest.app_id, json.loads(rest.details)["count"]) == (D1, noted)


async def test_made_up_kinds_are_counted_together(core: Core) -> None:
    """However many kinds a minute brings, the rows are bounded, and every refusal is in some count."""
    for number in range(3 * MAX_KINDS):
        core.refusals.note("caller.refused", refusal="CALLER_FORBIDDEN", by=f"caller-{number}")
    await flushed(core)
    told = await rows(core)
    assert len(told) == MAX_KINDS + 1
    [rest] = [row for row in told if row.event == "caller.refused_often"]
    assert json.loads(rest.details)["count"] == 2 * MAX_KINDS


async def test_a_record_that_is_away_costs_no_refusal(core: Core) -> None:
    """What could not be written is written later; that it waits is told without what is in it."""
    core.refusals.note("login.refused", refusal="LoginCodeInvalid", app_id=D1, ip=HERE.ip)
    core.store.fail("record_audit")
    await core.tail.stop()  # else it would sleep on this clock, too
    core.refusals.start()
    await core.clock.until_sleeping()
    core.clock.advance(FLUSH_EVERY)
    await core.clock.until_sleeping()
    [event] = core.observer.named("audit.not_recorded")
    assert dict(event.fields) == {"error": "StoreUnavailable", "rows": 1}
    await core.refusals.stop()
    assert len(await rows(core, "login.refused")) == 1


async def test_refused_callers_are_told_and_answered_ones_are_not(core: Core) -> None:
    """By method, and by name where they had one."""
    core.refusals.note_call(
        CallRecord("/authapi.v1.AuthService/Revoke", "PERMISSION_DENIED", "CALLER_FORBIDDEN", 0.0, "shop")
    )
    core.refusals.note_call(
        CallRecord("/authapi.v1.AuthService/Login", "ABORTED", "LOGIN_CODE_USED", 0.0, "edge")
    )
    await flushed(core)
    [row] = await rows(core)
    assert (row.event, row.by) == ("caller.refused", "shop")
    assert json.loads(row.details) == {"refusal": "CALLER_FORBIDDEN /authapi.v1.AuthService/Revoke"}


async def test_who_was_not_identified_is_nobody_that_we_know(core: Core) -> None:
    """Neither the service itself nor any principal: the name is reserved."""
    core.refusals.note_call(
        CallRecord("/authapi.v1.AuthService/Revoke", "UNAUTHENTICATED", "CALLER_UNAUTHENTICATED", 0.0)
    )
    await flushed(core)
    [row] = await rows(core)
    assert (row.event, row.by) == ("caller.refused", "anonymous")
    assert "anonymous" in RESERVED_NAMES


async def test_stopping_twice_and_unstarted_is_harmless(core: Core) -> None:
    """Nothing is written twice."""
    idle = Refusals(trail=core.store.real, clock=core.clock, observer=core.observer)
    await idle.stop()
    core.refusals.note("login.refused", refusal="LoginCodeInvalid")
    await flushed(core)
    await core.refusals.stop()
    assert len(await rows(core)) == 1


async def test_foreign_nonces_are_told(core: Core) -> None:
    """Refresh and Revoke: a token of ours by its MAC, of another line by its nonce."""
    made = await core.login()
    raw = decode_id(made.opened.session.session_id)
    assert raw is not None
    ring = core.rings.refresh_mac
    forged = refresh_token.spell(
        refresh_token.first_token(raw, nonce=b"n" * 16, key_id=ring.current_id), ring=ring
    )
    with pytest.raises(RefreshTokenInvalid):
        await core.refreshes.refresh(forged, client=HERE)
    await core.revocations.revoke(RefreshTokenTarget(forged), reason=EndReason.LOGOUT, by="edge")
    await flushed(core)
    told = [row for row in await rows(core) if row.event.endswith("foreign_nonce")]
    assert {(row.event, row.session_id) for row in told} == {
        ("refresh.foreign_nonce", made.opened.session.session_id),
        ("revoke.foreign_nonce", made.opened.session.session_id),
    }


# -- the sealer's rounds -------------------------------------------------------------------------------------------------


def sealer(core: Core) -> AuditSealer:
    return AuditSealer(
        trail=core.store.as_store(),
        keys=core.keys,
        clock=core.clock,
        entropy=core.entropy,
        observer=core.observer,
    )


async def next_round(core: Core) -> None:
    """Let the sealer sleep, wake it, and wait until it sleeps again."""
    asked = core.store.calls["read_unsealed"]
    await core.clock.until_sleeping()
    core.clock.advance(2 * INTERVAL)
    while core.store.calls["read_unsealed"] == asked:
        await core.clock.sleep(timedelta(0))
    await core.clock.until_sleeping()


async def test_rows_are_sealed_in_the_background_and_after_a_failure(core: Core) -> None:
    """A round that fails is told by its kind; the next one closes the batch, signed by the active key."""
    await core.tail.stop()
    await core.login()
    core.clock.advance(GRACE)
    sealing = sealer(core)
    core.store.fail("read_unsealed", RuntimeError("scripted"))
    sealing.start()
    await next_round(core)
    await next_round(core)
    await sealing.stop()
    await sealing.stop()
    [failed] = core.observer.named("audit.not_sealed")
    assert dict(failed.fields) == {"error": "RuntimeError"}
    [told] = core.observer.named("audit.checkpoint")
    assert (told.fields["batch"], told.fields["kid"]) == (1, core.signer.header.kid)
    assert [row.batch for row in await rows(core)] == [1]


async def test_a_process_that_starts_tells_the_newest_checkpoint_again(core: Core) -> None:
    """Whoever was killed between the batch and its line is made up for."""
    await core.tail.stop()
    await core.login()
    core.clock.advance(GRACE)
    silent = sealer(core)
    await silent.seal()
    [first] = core.observer.named("audit.checkpoint")
    core.observer.events.clear()
    sealing = sealer(core)
    sealing.start()
    await next_round(core)
    await next_round(core)
    await sealing.stop()
    assert [event.fields for event in core.observer.named("audit.checkpoint")] == [first.fields]


async def test_a_replica_without_the_key_leaves_it_to_others(core: Core) -> None:
    """It cannot sign, so it closes nothing, and says why."""
    await core.login()
    core.clock.advance(GRACE)

    class Keyless:
        async def active_signer(self) -> Signer:
            raise StoreUnavailable("not held here")

    sealing = AuditSealer(
        trail=core.store.real,
        keys=Keyless(),
        clock=core.clock,
        entropy=core.entropy,
        observer=core.observer,
    )
    with pytest.raises(StoreUnavailable):
        await sealing.seal()
    assert await core.store.real.list_checkpoints(after=0, limit=1) == []
