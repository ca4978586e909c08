"""WatchRevocations over gRPC."""

import asyncio
from datetime import UTC, timedelta
from typing import Any

import grpc

from authapi.v1 import revocation_service_pb2 as pb
from authapi.v1 import types_pb2
from authsvc.domain.cursors import Cursor, position_bytes, seal_cursor
from authsvc.domain.ids import decode_id
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.revoke import AppTarget, SessionTarget, Target, UserTarget
from tests.support.core import D1, D2, Core
from tests.support.database import add_fact
from tests.support.server import Running, read_on, refused, stopped


def watch(running: Running, value: bytes = b"") -> Any:
    return running.revocations.WatchRevocations(
        pb.WatchRevocationsRequest(resume_from=types_pb2.Cursor(value=value)), timeout=20
    )


async def revoke(core: Core, target: Target) -> None:
    result = await core.revocations.revoke(target, reason=EndReason.ADMIN, by="x")
    await core.tail.reach(result.head)


async def next_changes(call: Any) -> pb.WatchRevocationsResponse:
    """The next message that is not a heartbeat."""
    while True:
        message: pb.WatchRevocationsResponse = await call.read()
        if message.WhichOneof("body") != "heartbeat":
            return message


async def test_a_snapshot_packs_sessions(running: Running) -> None:
    """Ids of 16 bytes by reason and minute; users and apps in full; cursor, position and age on the last part."""
    core = running.core
    logins = [await core.login(user) for user in ("a", "b", "c")]
    for login in logins[:2]:
        await revoke(core, SessionTarget(login.opened.session.session_id))
    await revoke(core, UserTarget(logins[2].opened.user.user_id, D1))
    call = watch(running)
    message = await call.read()
    part = message.snapshot_part
    assert part.last
    ids = {decode_id(login.opened.session.session_id) for login in logins[:2]}
    packed = {group.ids[at : at + 16] for group in part.sessions for at in range(0, len(group.ids), 16)}
    assert packed == ids
    for group in part.sessions:
        assert group.reason == types_pb2.SESSION_END_REASON_ADMIN
        until = group.useful_until.ToDatetime(UTC)
        assert (until.second, until.microsecond) == (0, 0)
        assert until >= max(login.tokens.access_expires_at for login in logins[:1])
    (user,) = part.revocations
    assert (user.user_id, user.app_filter, user.reason) == (logins[2].opened.user.user_id, D1, 4)
    assert user.position == position_bytes(3)
    assert core.view.known is not None
    assert message.complete_through.value == seal_cursor(core.view.known, ring=core.rings.cursor)
    assert message.position_through == position_bytes(core.view.known.position)
    assert message.HasField("age")
    call.cancel()


async def test_each_kind_of_change(running: Running) -> None:
    """Session, user, narrowed user, app and key, in order, each with position, reason and use; keys for good."""
    core = running.core
    one, two = await core.login("one"), await core.login("two")
    call = watch(running)
    await call.read()
    assert (await call.read()).WhichOneof("body") == "heartbeat"
    await revoke(core, SessionTarget(one.opened.session.session_id))
    await revoke(core, UserTarget(two.opened.user.user_id, D1))
    await revoke(core, AppTarget(D2))
    kid = core.signer.header.kid
    await core.store.real.write_key_withdrawal(kid, by="x")
    await core.polled()
    found: list[pb.Revocation] = []
    while len(found) < 4:
        message = await next_changes(call)
        assert message.changes.revocations
        found += message.changes.revocations
        assert message.position_through >= found[-1].position
    assert [revocation.WhichOneof("target") for revocation in found] == [
        "session_id",
        "user_id",
        "app_id",
        "key_id",
    ]
    assert found[0].session_id == decode_id(one.opened.session.session_id)
    assert (found[1].user_id, found[1].app_filter) == (two.opened.user.user_id, D1)
    assert found[2].app_id == D2
    assert found[3].key_id == kid
    assert [revocation.position for revocation in found] == [position_bytes(n) for n in (1, 2, 3, 4)]
    assert [revocation.HasField("useful_until") for revocation in found] == [True, True, True, False]
    session = await core.store.real.read_from(1, limit=1)
    assert found[0].useful_until.ToDatetime(UTC) == session[1][0].useful_until
    call.cancel()


async def test_resuming_and_refusals(running: Running) -> None:
    """The last complete_through continues; junk is INVALID_FIELD; another incarnation ends with CURSOR_EXPIRED."""
    core = running.core
    call = watch(running)
    cursor = (await call.read()).complete_through.value
    call.cancel()
    login = await core.login()
    await revoke(core, SessionTarget(login.opened.session.session_id))
    call = watch(running, cursor)
    message = await next_changes(call)
    assert message.changes.revocations[0].session_id == decode_id(login.opened.session.session_id)
    call.cancel()
    told = await refused(watch(running, b"junk").read())
    assert (told.reason, told.fields) == ("INVALID_FIELD", ("resume_from",))
    other = seal_cursor(Cursor(b"12345678", 0), ring=core.rings.cursor)
    told = await refused(watch(running, other).read())
    assert (told.code, told.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED")


async def test_heartbeats_come_by_the_clock(running: Running) -> None:
    """The clock goes on by whole seconds, and the next message is there; while it stands still none comes."""
    core = running.core
    call = watch(running)
    await call.read()
    await call.read()
    for _ in range(3):
        asked = asyncio.ensure_future(call.read())
        # Who sleeps when is nobody's business here: a second that found the stream awake is followed by another.
        while not (await asyncio.wait({asked}, timeout=0.05))[0]:
            core.clock.advance(timedelta(seconds=1))
        message = await asked
        assert message.WhichOneof("body") == "heartbeat"
        assert message.HasField("complete_through")
    call.cancel()


async def test_a_drain_says_go_away_and_ends_with_ok(running: Running) -> None:
    """The last message is GoAway with a cursor; the status is OK; resuming elsewhere would miss nothing."""
    core = running.core
    call = watch(running)
    await call.read()
    reading = asyncio.create_task(read_on(call))
    await stopped(running.server, core)
    messages = await reading
    assert messages[-1].WhichOneof("body") == "go_away"
    assert messages[-1].complete_through.value
    record = [one for one in core.observer.calls if one.method.endswith("WatchRevocations")]
    assert [one.code for one in record] == ["OK"]


async def test_principal_facts_never_leave(running: Running) -> None:
    """Not in the snapshot, not as a change: a heartbeat passes over them."""
    core = running.core
    for position in (1, 2):
        fact = Fact(position, FactKind.PRINCIPAL, "canary", EndReason.ADMIN, None, fact_id=b"%08d" % position)
        call = watch(running)
        await call.read()
        await call.read()
        add_fact(core.path, fact, written_at=core.clock.now())
        await core.polled()
        while True:
            message = await call.read()
            assert message.WhichOneof("body") == "heartbeat"
            assert b"canary" not in message.SerializeToString()
            if message.position_through == position_bytes(position):
                break
        call.cancel()
    call = watch(running)
    snapshot = await call.read()
    assert b"canary" not in snapshot.SerializeToString()
    assert not snapshot.snapshot_part.revocations
    call.cancel()


async def test_a_client_that_leaves_leaks_nothing(running: Running) -> None:
    """After thirty readers came and went there are no more sleepers than before, and each was observed."""
    core = running.core
    await core.clock.until_sleeping()
    before = core.clock.sleeping
    for _ in range(30):
        call = watch(running)
        await call.read()
        await call.read()
        call.cancel()
    while len(core.observer.calls) < 30 or core.clock.sleeping > before:
        await core.clock.sleep(timedelta(0))
    assert {record.code for record in core.observer.calls} == {"CANCELLED"}
