"""The client library against a spawned `authsvc dev`: its own login, refusal after a logout, and what follows its end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from authapi import v1 as pb
from authsvc_client import (
    Active,
    AuthClient,
    AuthError,
    AuthInterceptor,
    CannotKnow,
    Cause,
    Inactive,
    InactiveReason,
    LibraryError,
    SessionEndReason,
    Settings,
    SyncAuthClient,
    SyncVerifier,
    Verifier,
    WhenStale,
    verdict_of,
)
from tests.client.conftest import Heard, eventually
from tests.client.guarded import ONE, AioGreeter, aio_service, bearer, call, refusal
from tests.e2e.running import Running, dev
from tests.e2e.wire import D1, Service

LONG = timedelta(seconds=30)
POLICIES: tuple[WhenStale, ...] = ("ask", "unavailable", "accept")


@pytest.fixture
def spawned(tmp_path: Path) -> Iterator[tuple[Running, Service]]:
    with dev(tmp_path) as both:
        yield both


@pytest.fixture
async def client(spawned: tuple[Running, Service]) -> AsyncIterator[AuthClient]:
    async with AuthClient(spawned[1].addresses["grpc"]) as one:
        yield one


async def login(client: AuthClient, service: Service, user: str) -> pb.LoginResponse:
    code = await asyncio.to_thread(service.mint, user)
    return await client.login(pb.LoginRequest(app_id=D1, mini_program_code=code))


async def test_login_verify_revoke_refused(spawned: tuple[Running, Service], client: AuthClient) -> None:
    """
    A login by AuthClient is verified here without a call, passes a guarded service, and neither after its revocation;
    the server says the same, and an ended session's refresh says why.
    """
    service = spawned[1]
    async with (
        Verifier(service.addresses["grpc"], audience=D1) as verifier,
        aio_service(AuthInterceptor(verifier), AioGreeter()) as address,
    ):
        response = await login(client, service, "alice")
        token = response.tokens.access_token
        found = await verifier.verify(token)
        assert isinstance(found, Active)
        assert found.user_id == response.user_id
        assert await call(address, ONE, metadata=bearer(token)) == [b"hi:" + response.user_id.encode()]
        remote = await asyncio.gather(
            *(client.verify_token(token, audience=D1, timeout=LONG) for _ in range(50))
        )
        assert {verdict_of(one) for one in remote} == {found}

        revoked = await client.revoke(pb.RevokeRequest(access_token=token))
        assert await verifier.wait_for(revoked.position, timeout=LONG)
        refused = await verifier.verify(token)
        assert refused == Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason.LOGOUT)
        said = await refusal(address, ONE, metadata=bearer(token))
        assert (said.code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        after = await client.verify_token(token, audience=D1, at_least=revoked.cursor, timeout=LONG)
        assert verdict_of(after) == refused
        with pytest.raises(AuthError) as ended:
            await client.refresh(pb.RefreshTokenRequest(refresh_token=response.tokens.refresh_token))
    assert (ended.value.reason, ended.value.metadata) == ("SESSION_ENDED", {"end_reason": "LOGOUT"})


async def test_threads_have_the_same(spawned: tuple[Running, Service]) -> None:
    """
    SyncAuthClient and SyncVerifier: login, verify, revoke, refused.
    """
    service = spawned[1]

    def story() -> tuple[object, object, object]:
        target = service.addresses["grpc"]
        with SyncAuthClient(target) as client, SyncVerifier(target, audience=D1) as verifier:
            code = service.mint("carol")
            token = client.login(pb.LoginRequest(app_id=D1, mini_program_code=code)).tokens.access_token
            before = verifier.verify(token)
            remote = verdict_of(client.verify_token(token, audience=D1, timeout=LONG))
            response = client.revoke(pb.RevokeRequest(access_token=token))
            assert verifier.wait_for(response.position, timeout=LONG)
            return before, remote, verifier.verify(token)

    before, remote, after = await asyncio.to_thread(story)
    assert isinstance(before, Active)
    assert remote == before
    assert after == Inactive(InactiveReason.SESSION_REVOKED, SessionEndReason.LOGOUT)


async def test_beyond_the_hard_bound_the_policy_decides(
    spawned: tuple[Running, Service], client: AuthClient
) -> None:
    """
    Authsvc stopped for longer than the bound: `ask` and `unavailable` cannot know, `accept` lets the good pass and says
    so; what was revoked stays refused by all; calls say UNAVAILABLE.
    """
    process, service = spawned
    good, dead = [(await login(client, service, user)).tokens.access_token for user in ("alice", "bob")]
    async with AsyncExitStack() as stack:
        heard = Heard()
        verifiers = {
            policy: await stack.enter_async_context(
                Verifier(
                    service.addresses["grpc"],
                    audience=D1,
                    settings=Settings(
                        hard_bound=timedelta(seconds=2), when_stale=policy, ask_timeout=timedelta(seconds=1)
                    ),
                    hooks=heard if policy == "accept" else None,
                )
            )
            for policy in POLICIES
        }
        position = (await client.revoke(pb.RevokeRequest(access_token=dead))).position
        for verifier in verifiers.values():
            assert await verifier.wait_for(position, timeout=LONG)
            assert isinstance(await verifier.verify(good), Active)
        await asyncio.to_thread(process.stop)
        await eventually(
            lambda: not any(one.is_fresh for one in verifiers.values()), "the end of the hard bound"
        )

        for policy, verifier in verifiers.items():
            assert await verifier.verify(dead) == Inactive(
                InactiveReason.SESSION_REVOKED, SessionEndReason.LOGOUT
            )
            if policy == "accept":
                assert isinstance(await verifier.verify(good), Active)
                continue
            with pytest.raises(CannotKnow) as unknown:
                await verifier.verify(good)
            assert unknown.value.cause is Cause.STALE
        assert heard.verdicts[-1][1] == "open"
        with pytest.raises(LibraryError) as gone:
            await client.verify_token(good, audience=D1, timeout=LONG)
        assert gone.value.may_pass
