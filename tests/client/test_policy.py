"""What a verifier does when it cannot know, by each policy, with a server on a real socket."""

import asyncio
from datetime import timedelta

import grpc
import pytest

from authapi import v1 as pb
from authsvc_client import Active, CannotKnow, Cause, Inactive, InactiveReason, Settings, Verifier, WhenStale
from authsvc_client.testing import FakeAuthsvc, FakeClock, TokenMint
from tests.client.conftest import AUDIENCE, Scene, eventually, moved, scene_of

OUTAGE_S = 31.0


async def dead_and_alive(scene: Scene) -> tuple[dict[InactiveReason, str], str]:
    """Tokens that are known to be dead, whatever may have happened since, and one that is not."""
    sid = scene.fake.mint.new_id()
    alive = scene.token()
    await scene.verifier.verify(alive)
    position = scene.fake.revoke_session(sid)
    await eventually(lambda: scene.verifier.position == position, "the fact")
    dead = {
        InactiveReason.MALFORMED: alive[:-1],
        InactiveReason.WRONG_TYPE: scene.fake.mint.sign(
            scene.fake.mint.claims(audience=AUDIENCE), {"typ": "JWT"}
        ),
        InactiveReason.BAD_SIGNATURE: ".".join(
            [*scene.token("a").split(".")[:2], scene.token("b").split(".")[2]]
        ),
        InactiveReason.EXPIRED: scene.token(lifetime=timedelta(seconds=1)),
        InactiveReason.SESSION_REVOKED: scene.token(session_id=sid),
    }
    return dead, alive


async def test_unavailable_says_so_and_keeps_the_dead_dead() -> None:
    """
    With authsvc stopped for longer than the hard bound, `unavailable`: CannotKnow at once, but what is dead is refused.
    """
    async with scene_of(when_stale="unavailable") as scene:
        dead, alive = await dead_and_alive(scene)
        await scene.fake.stop()
        await scene.pass_time(29)
        assert isinstance(await scene.verifier.verify(alive), Active)
        await scene.pass_time(2)

        for reason, token in dead.items():
            assert await scene.verifier.verify(token) == Inactive(
                reason,
                session_end_reason=4 if reason is InactiveReason.SESSION_REVOKED else 0,  # type: ignore[arg-type]
            )
        # Whether its audience is the right one is no matter while it may have been revoked.
        for audience in (AUDIENCE, "another"):
            with pytest.raises(CannotKnow) as unknown:
                await scene.verifier.verify(alive, audience=audience)
            assert (unknown.value.cause, unknown.value.retry_after) == (Cause.STALE, timedelta(seconds=1))
            assert alive not in str(unknown.value)
        assert scene.hooks.unknown == [Cause.STALE, Cause.STALE]
        assert (scene.fake.asked, scene.verifier.is_fresh) == ([], False)


async def test_ask_asks_and_else_cannot_know() -> None:
    """
    Stale by a dead stream, `ask`: the server's answer counts; where the server does not answer either, CannotKnow.
    """
    async with scene_of(when_stale="ask", ask_timeout=timedelta(seconds=20)) as scene:
        _, alive = await dead_and_alive(scene)
        scene.fake.refuse = grpc.StatusCode.UNAVAILABLE
        scene.fake.cut()
        await scene.pass_time(OUTAGE_S)
        assert isinstance(await scene.verifier.verify(alive), Active)
        found = await scene.verifier.verify(alive, scopes=["none"])
        assert isinstance(found, Inactive)
        assert found.reason is InactiveReason.MISSING_SCOPE
        assert {by for _, by in scene.hooks.verdicts[-2:]} == {"server"}
        with pytest.raises(CannotKnow):
            scene.verifier.check(alive)

        scene.fake.age = timedelta(seconds=31)  # beyond the bound: no better than nothing
        with pytest.raises(CannotKnow):
            await scene.verifier.verify(alive)
        scene.fake.age = timedelta(0)
        scene.fake.answer = lambda _: pb.VerifyTokenResponse()
        with pytest.raises(CannotKnow):
            await scene.verifier.verify(alive)
        scene.fake.ask_fails = True
        with pytest.raises(CannotKnow):
            await scene.verifier.verify(alive)
        assert scene.hooks.questions[-1] == (1, False)


async def test_questions_are_coalesced_and_capped() -> None:
    """
    Two hundred callers with fifty tokens: few calls, each token once; beyond the cap CannotKnow without a call.
    """
    async with scene_of(when_stale="ask", asks_waiting=200, ask_timeout=timedelta(seconds=20)) as scene:
        tokens = [scene.token(f"user-{n}") for n in range(50)]
        scene.fake.refuse = grpc.StatusCode.UNAVAILABLE
        scene.fake.cut()
        await scene.pass_time(OUTAGE_S)
        answers = await asyncio.gather(
            *(scene.verifier.verify(token) for token in tokens * 5), return_exceptions=True
        )

        assert [type(answer) for answer in answers[:200]] == [Active] * 200
        assert [type(answer) for answer in answers[200:]] == [CannotKnow] * 50
        assert [answer.user_id for answer in answers[:50] if isinstance(answer, Active)] == [
            f"user-{n}" for n in range(50)
        ]
        assert sorted(scene.fake.asked) == sorted(tokens)
        assert len(scene.hooks.questions) <= 4


async def test_a_server_that_is_stale_itself_is_not_asked() -> None:
    """
    The stream lives and tells ages beyond the bound: to ask would only add load.
    """
    async with scene_of(when_stale="ask") as scene:
        token = scene.token()
        scene.fake.age = timedelta(seconds=5)
        for second in range(32):
            scene.fake.age = timedelta(seconds=5 + second)
            scene.fake.heartbeat()
            await scene.pass_time(1)
        told = scene.verifier._engine
        assert told is not None
        await eventually(lambda: told._watcher.told_age_s >= 36, "the last heartbeat")
        assert scene.fake.streams == 1
        with pytest.raises(CannotKnow) as unknown:
            await scene.verifier.verify(token)

        assert unknown.value.cause is Cause.STALE
        assert scene.fake.asked == []


async def test_accept_is_open_only_for_what_the_keys_say_is_good() -> None:
    """
    `accept`: a stale verifier lets good tokens pass, marked in the hooks; the dead, and the insufficient, stay refused.
    """
    async with scene_of(when_stale="accept") as scene:
        dead, alive = await dead_and_alive(scene)
        await scene.fake.stop()
        await scene.pass_time(OUTAGE_S)

        assert isinstance(await scene.verifier.verify(alive), Active)
        assert isinstance(scene.verifier.check(alive), Active)
        assert [by for _, by in scene.hooks.verdicts[-2:]] == ["open", "open"]
        for reason, token in dead.items():
            found = await scene.verifier.verify(token)
            assert isinstance(found, Inactive)
            assert found.reason is reason
        found = await scene.verifier.verify(alive, roles=["admin"])
        assert isinstance(found, Inactive)
        assert found.is_insufficient


@pytest.mark.parametrize("policy", ["ask", "unavailable", "accept"])
async def test_without_keys_nothing_is_accepted(policy: WhenStale) -> None:
    """
    Nothing listens and nothing was ever read: malformed is malformed, everything else cannot be known, by any policy.
    """
    clock = FakeClock()
    settings = Settings(
        when_stale=policy, ask_timeout=timedelta(seconds=0.2), fetch_timeout=timedelta(seconds=0.2)
    )
    verifier = Verifier("127.0.0.1:1", audience=AUDIENCE, settings=settings, clock=clock)
    assert await verifier.start(wait=timedelta(0)) is False
    try:
        token = TokenMint(clock=clock).token(audience=AUDIENCE)
        found = await verifier.verify("x" + token)
        assert isinstance(found, Inactive)
        assert found.reason is InactiveReason.MALFORMED
        with pytest.raises(CannotKnow) as unknown:
            await verifier.verify(token)
        assert unknown.value.cause is Cause.UNKNOWN_KEY
    finally:
        await verifier.aclose()
    with pytest.raises(CannotKnow) as closed:
        verifier.check(token)
    assert closed.value.cause is Cause.CLOSED


async def test_start_waits_until_ready_or_for_its_time() -> None:
    """
    True once keys and a complete snapshot are there; False when the wait is over before, and it goes on trying.
    """
    clock = FakeClock()
    async with FakeAuthsvc(heartbeats=None, clock=clock) as fake:
        fake.snapshot_ends = False
        verifier = Verifier(fake.target, audience=AUDIENCE, clock=clock)
        starting = asyncio.ensure_future(verifier.start(wait=timedelta(seconds=2)))
        await eventually(lambda: fake.streams == 1, "the stream")
        clock.advance(2)
        assert await starting is False
        fake.snapshot_ends = True
        fake.cut()
        await eventually(lambda: moved(clock.advance, 0.1) or verifier.is_ready, "readiness")
        assert await verifier.start() is True
        await verifier.aclose()
        await verifier.aclose()
