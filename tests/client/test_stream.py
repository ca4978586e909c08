"""Following the stream of a server on a real socket: what is learnt, resumed, replaced, distrusted."""

import asyncio
from datetime import timedelta

import grpc
import pytest

from authapi import v1 as pb
from authsvc_client import Active, CannotKnow, Cause, Inactive, InactiveReason, Settings, Verifier
from authsvc_client.testing import FakeAuthsvc, FakeClock
from tests.client.conftest import AUDIENCE, Heard, Scene, eventually, moved, scene_of


async def reason(scene: Scene, token: str) -> InactiveReason | None:
    found = await scene.verifier.verify(token)
    return found.reason if isinstance(found, Inactive) else None


async def test_every_kind_of_fact_reaches_the_verdict(scene: Scene) -> None:
    """
    Session, user, user in one app, app and key: from the snapshot or as a change, each with its reason.
    """
    sids = [scene.fake.mint.new_id() for _ in range(2)]
    tokens = {
        "session": scene.token(session_id=sids[0]),
        "user": scene.token("bob", position=1),
        "one app": scene.token("carol", app_id="wx-one", position=1),
        "app": scene.token("dave", app_id="wx-two", position=1),
    }
    spared = [
        scene.token(session_id=sids[1]),
        scene.token("bob", position=2**60),
        scene.token("carol", app_id="wx-three", position=1),
    ]
    for token in (*tokens.values(), *spared):
        assert isinstance(await scene.verifier.verify(token), Active)

    scene.fake.revoke_session(sids[0])
    scene.fake.revoke_user("bob")
    scene.fake.revoke_user("carol", app_id="wx-one")
    position = scene.fake.revoke_app("wx-two")
    assert await _reaches(scene.verifier, position)
    expected = {
        "session": InactiveReason.SESSION_REVOKED,
        "user": InactiveReason.USER_REVOKED,
        "one app": InactiveReason.USER_REVOKED,
        "app": InactiveReason.APP_REVOKED,
    }
    assert {kind: await reason(scene, token) for kind, token in tokens.items()} == expected
    assert [await reason(scene, token) for token in spared] == [None, None, None]

    async with Verifier(scene.fake.target, audience=AUDIENCE, clock=scene.clock) as second:
        assert second.position == position
        for kind, token in tokens.items():
            found = await second.verify(token)
            assert isinstance(found, Inactive)
            assert found.reason is expected[kind]
    assert await _reaches(scene.verifier, scene.fake.withdraw_key(scene.fake.mint.kid))
    assert {await reason(scene, token) for token in spared} == {InactiveReason.KEY_WITHDRAWN}


async def _reaches(verifier: Verifier, position: int) -> bool:
    """Whether a position arrives; time stands still, so the wait has no end but the test's patience."""
    await eventually(lambda: (verifier.position or 0) >= position, "the position")
    return await verifier.wait_for(position.to_bytes(8, "big"), timeout=timedelta(0))


async def test_a_wait_ends_with_its_timeout_or_its_position(scene: Scene) -> None:
    """
    wait_for answers True when the revocation arrives, False when its time on the verifier's clock is over.
    """
    wanted = scene.fake.position + 1
    waiting = asyncio.ensure_future(scene.verifier.wait_for(wanted, timeout=timedelta(seconds=1)))
    vain = asyncio.ensure_future(scene.verifier.wait_for(wanted + 1, timeout=timedelta(seconds=1)))
    await asyncio.sleep(0)  # noqa: TID251 - lets both begin to wait
    scene.fake.revoke_user("x")
    assert await waiting is True
    await eventually(lambda: moved(scene.clock.advance, 0.5) or vain.done(), "the timeout")
    assert await vain is False


async def test_a_cut_stream_resumes_and_misses_nothing(scene: Scene) -> None:
    """
    Ten seconds without a server, a revocation meanwhile: what is known decides, then the rest comes by the last cursor.
    """
    token, victim = scene.token(), scene.token("victim")
    await scene.verifier.verify(token)
    await scene.fake.stop()
    position = scene.fake.revoke_user("victim")
    await scene.pass_time(10)
    assert await reason(scene, token) is None
    age = scene.verifier.age
    assert age is not None
    assert age >= timedelta(seconds=10)

    await scene.fake.start()
    await eventually(
        lambda: moved(scene.clock.advance, 0.25) or scene.verifier.position == position, "the rest"
    )
    assert await reason(scene, victim) is InactiveReason.USER_REVOKED
    assert scene.fake.watched[0] is None
    assert None not in scene.fake.watched[1:]
    age = scene.verifier.age
    assert age is not None
    assert age <= timedelta(seconds=1)


async def test_a_server_that_moves_is_followed(scene: Scene) -> None:
    """
    GoAway: the next stream is opened at once, with the last cursor, before the clock moves.
    """
    scene.fake.go_away()
    await eventually(lambda: len(scene.fake.watched) == 2, "the next stream")
    position = scene.fake.revoke_user("victim")
    assert await _reaches(scene.verifier, position)

    assert scene.fake.watched[1] is not None
    assert scene.hooks.ended == ["go_away"]
    assert await reason(scene, scene.token("victim")) is InactiveReason.USER_REVOKED


async def test_servers_that_only_say_go_away_are_not_stormed(scene: Scene) -> None:
    """
    The second GoAway without anything in between is waited over.
    """
    scene.fake.go_away()
    await eventually(lambda: scene.fake.streams == 1 and len(scene.fake.watched) == 2, "the next stream")
    # Of the second stream the first message is the resumption; what counts is that streams without one wait.
    scene.fake.refuse = grpc.StatusCode.UNAVAILABLE
    scene.fake.cut()
    await eventually(lambda: len(scene.hooks.ended) >= 2, "the end")
    ended = len(scene.hooks.ended)
    for _ in range(200):
        await asyncio.sleep(0.0005)  # noqa: TID251 - time that would let a storm rage
    assert len(scene.hooks.ended) == ended
    await eventually(
        lambda: moved(scene.clock.advance, 0.2) or len(scene.hooks.ended) > ended, "the next try"
    )


@pytest.mark.parametrize("forgetting", [False, True])
async def test_another_log_replaces_what_was_known(scene: Scene, *, forgetting: bool) -> None:
    """
    After a restored backup the old cursor is refused: a snapshot is taken, and what it does not hold is forgotten.
    """
    token = scene.token("bob", position=1)
    assert await _reaches(scene.verifier, scene.fake.revoke_user("eve"))
    assert await _reaches(scene.verifier, scene.fake.revoke_user("bob"))
    assert await reason(scene, token) is InactiveReason.USER_REVOKED
    scene.fake.new_incarnation(forgetting=forgetting)
    scene.fake.cut()
    await eventually(
        lambda: moved(scene.clock.advance, 0.1) or scene.verifier.position == scene.fake.position,
        "the new log",
    )

    assert scene.hooks.ended[-1] == "too_old"
    assert scene.fake.watched[-1] is None
    assert await reason(scene, token) is (None if forgetting else InactiveReason.USER_REVOKED)
    assert scene.hooks.snapshots[-1] == (0 if forgetting else 2)


async def test_an_expired_cursor_costs_a_snapshot(scene: Scene) -> None:
    """
    OUT_OF_RANGE: once more without a cursor, at once; what is known decides in between.
    """
    scene.fake.expire_cursors()
    scene.fake.cut()
    await eventually(
        lambda: moved(scene.clock.advance, 0.1) or scene.verifier.position == scene.fake.position,
        "a snapshot",
    )

    assert scene.fake.watched[-1] is None
    assert len(scene.hooks.snapshots) == 2
    assert await reason(scene, scene.token()) is None


async def test_a_snapshot_without_its_end_counts_for_nothing() -> None:
    """
    Parts came and the stream broke: nothing is known, nothing is decided, and the next stream starts over.
    """
    clock = FakeClock()
    async with FakeAuthsvc(heartbeats=None, clock=clock) as fake:
        fake.snapshot_ends = False
        settings = Settings(when_stale="unavailable")
        verifier = Verifier(fake.target, audience=AUDIENCE, settings=settings, clock=clock)
        await verifier.start(wait=timedelta(0))
        try:
            await eventually(lambda: fake.streams == 1 and fake.key_reads == 1, "a stream")
            await eventually(
                lambda: verifier._engine is not None and verifier._engine.keys.current is not None, "keys"
            )
            with pytest.raises(CannotKnow) as unknown:
                await verifier.verify(fake.mint.token(audience=AUDIENCE))
            assert unknown.value.cause is Cause.NO_SNAPSHOT
            assert (verifier.age, verifier.position, verifier.is_ready) == (None, None, False)
            fake.snapshot_ends = True
            fake.cut()
            await eventually(lambda: moved(clock.advance, 0.1) or verifier.is_ready, "readiness")
            assert fake.watched == [None, None]
        finally:
            await verifier.aclose()


async def test_silence_closes_a_stream(scene: Scene) -> None:
    """
    Three seconds without a message: the stream counts as dead and the next one resumes.
    """
    await scene.pass_time(2.75)
    assert scene.hooks.ended == []
    await eventually(
        lambda: moved(scene.clock.advance, 0.25) or len(scene.fake.watched) == 2, "the next stream"
    )

    assert scene.hooks.ended[0] == "silent"
    assert scene.fake.watched[1] is not None


async def test_facts_may_come_twice(scene: Scene) -> None:
    """
    A change repeated, alone and with others, changes nothing.
    """
    sid = scene.fake.mint.new_id()
    token = scene.token(session_id=sid)
    scene.fake.revoke_session(sid)
    fact = pb.Revocation()
    fact.CopyFrom(scene.fake._facts[-1])
    for _ in range(3):
        scene.fake.send(pb.WatchRevocationsResponse(changes=pb.Changes(revocations=[fact, fact])))
    assert await _reaches(scene.verifier, scene.fake.revoke_user("x"))

    assert await reason(scene, token) is InactiveReason.SESSION_REVOKED
    assert await reason(scene, scene.token()) is None


async def test_young_ages_in_the_buffer_of_a_sleeper_are_not_believed(scene: Scene) -> None:
    """
    A minute asleep with heartbeats buffered from before: nothing is decided until a new stream has confirmed.
    """
    token = scene.token()
    assert await reason(scene, token) is None
    scene.fake.heartbeat()
    scene.clock.advance(60)
    scene.fake.expire_cursors()  # the next stream brings no confirmation by itself before a snapshot
    scene.fake.snapshot_ends = False
    await eventually(
        lambda: (
            moved(scene.clock.advance, 0.05)
            or (scene.fake.watched[-1] is None and len(scene.fake.watched) > 1)
        ),
        "the next stream",
    )

    assert not scene.verifier.is_fresh
    with pytest.raises(CannotKnow) as unknown:
        await scene.verifier.verify(token)
    assert unknown.value.cause is Cause.STALE
    assert "stalled" in scene.hooks.ended


async def test_an_old_confirmation_does_not_make_anything_younger(scene: Scene) -> None:
    """
    The age is that of the youngest confirmation: an older one later on changes nothing.
    """
    await scene.pass_time(1)
    before = scene.verifier.age
    assert before == timedelta(seconds=1)
    scene.fake.age = timedelta(seconds=20)
    position = scene.fake.revoke_user("x")
    assert await _reaches(scene.verifier, position)

    assert scene.verifier.age == before


async def test_a_revocation_of_an_unknown_kind_ends_deciding(scene: Scene) -> None:
    """
    A newer server revokes something this release does not know: only dead tokens are judged from then on.
    """
    sid = scene.fake.mint.new_id()
    assert await _reaches(scene.verifier, scene.fake.revoke_session(sid))
    assert await _reaches(scene.verifier, scene.fake._write(pb.Revocation()))

    assert await reason(scene, scene.token(session_id=sid)) is InactiveReason.SESSION_REVOKED
    with pytest.raises(CannotKnow) as unknown:
        await scene.verifier.verify(scene.token())
    assert unknown.value.cause is Cause.UNKNOWN_FACT


async def test_a_body_of_an_unknown_kind_is_passed_over(scene: Scene) -> None:
    """
    A message without a body we know still confirms.
    """
    await scene.pass_time(2)
    scene.fake.send(pb.WatchRevocationsResponse())
    await eventually(lambda: scene.verifier.age == timedelta(0), "the confirmation")

    assert scene.hooks.ended == []


async def test_a_server_that_breaks_the_contract_is_left() -> None:
    """
    A completion without a position: the stream is dropped, nothing of it decides, and the next one is tried.
    """
    async with scene_of(when_stale="unavailable") as scene:
        position = scene.verifier.position
        scene.fake.send(
            pb.WatchRevocationsResponse(heartbeat=pb.Heartbeat(), complete_through=pb.Cursor(value=b"x")),
            complete=False,
        )
        await eventually(lambda: scene.hooks.ended == ["broken"], "the end")
        assert scene.verifier.position == position
        await eventually(
            lambda: moved(scene.clock.advance, 0.1) or scene.fake.streams == 1, "the next stream"
        )
        assert isinstance(scene.hooks, Heard)
