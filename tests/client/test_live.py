"""The verifier against authsvc itself: real logins, real revocations, the server's own log and stream."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from authapi.v1 import RevokeRequest, UserTarget, VerifyTokenResponse
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import EndReason
from authsvc.service.verify import Refusal
from authsvc_client import (
    Active,
    AuthClient,
    AuthError,
    CannotKnow,
    Inactive,
    InactiveReason,
    SessionEndReason,
    Settings,
    Verifier,
)
from tests.client.conftest import eventually, moved
from tests.support.core import D1, D2, Core, build_core
from tests.support.database import add_fact
from tests.support.server import Running, running_server


class CoreClock:
    """Implements the client's Clock over the clock that the server's core runs on."""

    def __init__(self, core: Core) -> None:
        self._clock = core.clock

    def now_s(self) -> float:
        return self._clock.now().timestamp()

    def elapsed_s(self) -> float:
        return self._clock.elapsed()

    def fraction(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(timedelta(seconds=seconds))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with build_core(tmp_path) as core, running_server(core) as served:
        yield served


@pytest.fixture
async def verifier(running: Running) -> AsyncIterator[Verifier]:
    """A ready verifier over the test's own channel."""
    settings = Settings(when_stale="unavailable")
    one = Verifier(running.channel, audience=D1, settings=settings, clock=CoreClock(running.core))
    await one.start(wait=timedelta(0))
    await eventually(lambda: one.is_ready, "readiness")
    yield one
    await one.aclose()


async def _reaches(verifier: Verifier, position: int) -> None:
    await eventually(lambda: (verifier.position or 0) >= position, "the fact")


async def test_it_reads_what_the_server_issued(running: Running, verifier: Verifier) -> None:
    """
    Every claim of a real login arrives; a token of another app is for another audience.
    """
    login = await running.core.login("alice")
    found = await verifier.verify(login.tokens.access_token, scopes=["profile", "orders"])
    assert isinstance(found, Active)
    opened = login.opened
    assert (found.user_id, found.session_id, found.app_id) == (
        opened.user.user_id,
        opened.session.session_id,
        D1,
    )
    assert (found.scopes, found.audiences) == (("profile", "orders"), (D1,))
    assert found.openid
    assert found.expires_at == login.tokens.access_expires_at

    elsewhere = await running.core.login("bob", app_id=D2)
    refused = await verifier.verify(elsewhere.tokens.access_token)
    assert refused == Inactive(InactiveReason.WRONG_AUDIENCE)


async def test_a_revocation_is_known_here_when_it_was_answered_there(
    running: Running, verifier: Verifier
) -> None:
    """
    Logout by token, then every session of a user: after waiting for the returned position the token is refused.
    """
    alice, bob = [await running.core.login(name) for name in ("alice", "bob")]
    for login in (alice, bob):
        assert isinstance(await verifier.verify(login.tokens.access_token), Active)
    requests = {
        alice: RevokeRequest(access_token=alice.tokens.access_token),
        bob: RevokeRequest(user=UserTarget(user_id=bob.opened.user.user_id)),
    }
    reasons = {alice: InactiveReason.SESSION_REVOKED, bob: InactiveReason.USER_REVOKED}
    ends = {alice: SessionEndReason.LOGOUT, bob: SessionEndReason.ADMIN}
    for login, request in requests.items():
        response = await running.auth.Revoke(request)
        wanted = int.from_bytes(response.position, "big")
        await _reaches(verifier, wanted)
        assert await verifier.wait_for(response.position, timeout=timedelta(0))
        found = await verifier.verify(login.tokens.access_token)
        assert isinstance(found, Inactive)
        assert found == Inactive(reasons[login], ends[login])
        again = await running.core.judge(login.tokens.access_token, D1)
        assert isinstance(again, Refusal)
        assert int(again.reason) == int(found.reason)


async def test_a_snapshot_of_the_server_is_read(running: Running, verifier: Verifier) -> None:
    """
    A verifier that starts afterwards refuses the same tokens, packed sessions included.
    """
    logins = [await running.core.login(f"user-{n}") for n in range(20)]
    for login in logins[:10]:
        last = await running.auth.Revoke(RevokeRequest(session_id=login.opened.session.session_id))
    settings = Settings(when_stale="unavailable")
    late = Verifier(running.channel, audience=D1, settings=settings, clock=CoreClock(running.core))
    await late.start(wait=timedelta(0))
    await eventually(lambda: late.is_ready, "readiness")
    # Snapshots are shared for a minute: what happened since comes as changes.
    await _reaches(late, int.from_bytes(last.position, "big"))
    found = [await late.verify(login.tokens.access_token) for login in logins]
    await late.aclose()

    assert found[:10] == [Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason.ADMIN)] * 10
    assert {type(one) for one in found[10:]} == {Active}


async def test_an_outage_beyond_the_hard_bound_and_its_end(running: Running, verifier: Verifier) -> None:
    """
    The log cannot be read: good tokens are unknowable after 30 s, and good again soon after the record is back.
    """
    login = await running.core.login("alice")
    token = login.tokens.access_token
    assert isinstance(await verifier.verify(token), Active)
    running.core.store.down = True
    for _ in range(40):
        running.core.clock.advance(timedelta(seconds=1))
        await eventually(lambda: True, "a turn")
    assert not verifier.is_fresh
    with pytest.raises(CannotKnow):
        await verifier.verify(token)

    running.core.store.down = False
    await eventually(
        lambda: moved(running.core.clock.advance, timedelta(milliseconds=50)) or verifier.is_fresh,
        "freshness",
    )
    assert isinstance(await verifier.verify(token), Active)


async def test_a_fact_of_another_process_is_heard(running: Running, verifier: Verifier) -> None:
    """
    What another process of the service wrote into the record reaches the verifier through this one.
    """
    login = await running.core.login("alice")
    assert isinstance(await verifier.verify(login.tokens.access_token), Active)
    now = running.core.clock.now()
    fact = Fact(
        position=1,
        kind=FactKind.SESSION,
        target=login.opened.session.session_id,
        reason=EndReason.ADMIN,
        useful_until=now + timedelta(hours=1),
        fact_id=b"12345678",
    )
    add_fact(running.core.path, fact, written_at=now)
    await eventually(
        lambda: moved(running.core.clock.advance, timedelta(milliseconds=50)) or (verifier.position or 0) > 0,
        "the fact",
    )
    found = await verifier.verify(login.tokens.access_token)

    assert isinstance(found, Inactive)
    assert found.reason is InactiveReason.SESSION_REVOKED


async def test_one_bad_check_of_many_fails_alone(running: Running) -> None:
    """
    The server answers all of a batch or none. A caller without audiences that asks without one is to blame alone.
    """
    running.authenticator.audiences = frozenset()
    token = (await running.core.login("alice")).tokens.access_token
    async with AuthClient(running.channel) as client:
        outcomes = await asyncio.gather(
            *(client.verify_token(token, audience="" if n in {3, 4} else D1) for n in range(9)),
            return_exceptions=True,
        )

    for n, outcome in enumerate(outcomes):
        if n in {3, 4}:
            assert isinstance(outcome, AuthError)
            assert (outcome.reason, list(outcome.fields)) == ("INVALID_FIELD", ["audience"])
        else:
            assert isinstance(outcome, VerifyTokenResponse)
            assert outcome.HasField("active")
    assert outcomes[3] is not outcomes[4]
