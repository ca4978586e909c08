"""AuthClient and SyncAuthClient over real sockets: coalesced checks, deadlines, and errors that say why."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2

import authsvc_client
from authapi import v1 as pb
from authsvc_client import (
    Active,
    AuthClient,
    AuthError,
    CallFailed,
    Inactive,
    InactiveReason,
    LibraryError,
    SyncAuthClient,
    verdict_of,
)
from authsvc_client.errors import failure_of
from authsvc_client.rpc_details import DETAILS_KEY
from authsvc_client.testing import FakeAuthsvc
from tests.client.conftest import AUDIENCE, eventually
from tests.client.scripted import LONG, Scripted, error_info, refusing, scripted_service


@pytest.fixture
async def served() -> AsyncIterator[tuple[Scripted, str]]:
    async with scripted_service() as both:
        yield both


async def test_checks_share_calls_and_a_lone_one_is_unbatched(served: tuple[Scripted, str]) -> None:
    """
    Against a real server: one call for one, few for many; each answer belongs to its token.
    """
    scripted, address = served
    async with AuthClient(address, metadata=[("x-service-key", "k")]) as client:
        lone = await client.verify_token("alone", audience=AUDIENCE, timeout=LONG)
        assert (lone.active.user_id, scripted.calls) == ("user of alone", ["VerifyToken"])
        many = await asyncio.gather(
            *(
                client.verify_token(f"t{n}", audience=AUDIENCE, scopes=[f"s{n}"], timeout=LONG)
                for n in range(500)
            )
        )

    assert [one.active.user_id for one in many] == [f"user of t{n}" for n in range(500)]
    assert [one.active.scopes[0] for one in many] == [f"s{n}" for n in range(500)]
    # The first of the crowd goes at once, and takes nobody along.
    assert scripted.calls[:2] == ["VerifyToken"] * 2
    assert set(scripted.calls[2:]) == {"BatchVerifyTokens"}
    assert len(scripted.calls) <= 6
    assert {one["x-service-key"] for one in scripted.metadata} == {"k"}


async def test_read_your_writes_goes_alone(served: tuple[Scripted, str]) -> None:
    """
    A check with `at_least` may have to wait at the server: nobody else is made to wait with it.
    """
    scripted, address = served
    async with AuthClient(address) as client:
        await asyncio.gather(
            *(
                client.verify_token(f"t{n}", at_least=pb.Cursor(value=b"c"), audience=AUDIENCE, timeout=LONG)
                for n in range(3)
            )
        )
    assert scripted.calls == ["VerifyToken"] * 3


async def test_every_error_says_why(served: tuple[Scripted, str]) -> None:
    """
    Reason, metadata, retry_after and fields of a refusal; a reason of a newer server by its code; a status without
    our ErrorInfo is a library's; the exception's text has nothing of what was sent.
    """
    scripted, address = served
    retry, bad = any_pb2.Any(), any_pb2.Any()
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)))
    violation = error_details_pb2.BadRequest.FieldViolation(field="app_id", description="is required")
    bad.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    code = grpc.StatusCode
    async with AuthClient(address) as client:

        async def fails(fail: tuple[grpc.StatusCode, str, Any]) -> CallFailed:
            scripted.fail = fail
            with pytest.raises(CallFailed) as failed:
                await client.login(pb.LoginRequest(app_id="a", mini_program_code="secret"))
            assert "secret" not in str(failed.value)
            assert "said" not in str(failed.value)
            return failed.value

        ended = await fails(refusing(code.UNAUTHENTICATED, error_info("SESSION_ENDED", end_reason="ADMIN")))
        limited = await fails(refusing(code.RESOURCE_EXHAUSTED, error_info("RATE_LIMITED"), retry))
        field = await fails(refusing(code.INVALID_ARGUMENT, bad, error_info("INVALID_FIELD")))
        newer = await fails(refusing(code.UNAVAILABLE, error_info("OF_TOMORROW"), retry))
        proxy = await fails((code.UNAVAILABLE, "said by a proxy", ()))
        foreign = await fails(
            refusing(code.PERMISSION_DENIED, error_info("RATE_LIMITED", domain="googleapis.com"))
        )
        broken = await fails((code.INTERNAL, "said", ((DETAILS_KEY, b"\xff\xff"),)))

    assert isinstance(ended, AuthError)
    assert (ended.code, ended.reason, ended.metadata) == (
        code.UNAUTHENTICATED,
        "SESSION_ENDED",
        {"end_reason": "ADMIN"},
    )
    assert (ended.is_known, ended.may_pass, ended.retry_after, ended.text) == (True, False, None, "said")
    assert isinstance(limited, AuthError)
    assert (limited.reason, limited.retry_after, limited.may_pass) == (
        "RATE_LIMITED",
        timedelta(seconds=2.5),
        True,
    )
    assert isinstance(field, AuthError)
    assert (field.reason, field.fields) == ("INVALID_FIELD", {"app_id": "is required"})
    assert isinstance(newer, AuthError)
    assert (newer.is_known, newer.may_pass, newer.code) == (False, True, code.UNAVAILABLE)
    assert [type(one) for one in (proxy, foreign, broken)] == [LibraryError] * 3
    # Six were refused and one was cut off: no login was sent a second time.
    assert scripted.calls == ["Login"] * 7


async def test_what_may_be_retried_is_retried(served: tuple[Scripted, str]) -> None:
    """
    The shipped service config is in force: a refresh is repeated on UNAVAILABLE, up to four times.
    """
    scripted, address = served
    scripted.fail = (grpc.StatusCode.UNAVAILABLE, "said", ())
    async with AuthClient(address) as client:
        with pytest.raises(LibraryError):
            await client.refresh(pb.RefreshTokenRequest(refresh_token="r"))
    assert scripted.calls == ["RefreshToken"] * 4


async def test_a_failing_batch_fails_each_of_its_callers_by_itself(served: tuple[Scripted, str]) -> None:
    """
    Every caller has an exception of its own with what the server said.
    """
    scripted, address = served
    scripted.fail = refusing(grpc.StatusCode.FAILED_PRECONDITION, error_info("UNKNOWN_APP"))
    async with AuthClient(address) as client:
        outcomes = await asyncio.gather(
            *(client.verify_token(f"t{n}", audience=AUDIENCE, timeout=LONG) for n in range(20)),
            return_exceptions=True,
        )

    assert [one.reason for one in outcomes if isinstance(one, AuthError)] == ["UNKNOWN_APP"] * 20
    assert len({id(one) for one in outcomes}) == 20


async def test_closing_ends_what_waits_and_cancelling_is_cancelling(served: tuple[Scripted, str]) -> None:
    """
    A closed client's callers get LibraryError CANCELLED, batched or not; a caller that is cancelled gets CancelledError.
    """
    scripted, address = served
    scripted.hold.clear()
    client = AuthClient(address)
    lone = asyncio.ensure_future(client.verify_token("lone", audience=AUDIENCE, timeout=LONG))
    await eventually(lambda: scripted.reached == 1, "the lone call")
    others = [
        asyncio.ensure_future(client.verify_token(f"t{n}", audience=AUDIENCE, timeout=LONG)) for n in range(3)
    ]
    await eventually(lambda: scripted.reached == 2, "the batch")
    others[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await others[0]
    await client.aclose()
    outcomes = await asyncio.gather(lone, *others[1:], return_exceptions=True)
    await client.aclose()

    assert [one.code for one in outcomes if isinstance(one, LibraryError)] == [grpc.StatusCode.CANCELLED] * 3


async def test_a_deadline_is_the_callers_own(served: tuple[Scripted, str]) -> None:
    """
    Of two that wait for a batch the impatient one is told DEADLINE_EXCEEDED while the other still waits, and is answered.
    """
    scripted, address = served
    scripted.hold.clear()
    async with AuthClient(address) as client:
        first, patient, impatient = (
            asyncio.ensure_future(client.verify_token(token, audience=AUDIENCE, timeout=timeout))
            for token, timeout in (("first", LONG), ("patient", LONG), ("impatient", timedelta(seconds=0.2)))
        )
        with pytest.raises(LibraryError) as late:
            await impatient
        assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not patient.done()
        scripted.hold.set()
        assert (await patient).active.user_id == "user of patient"
        assert (await first).active.user_id == "user of first"
    assert scripted.calls == ["VerifyToken", "BatchVerifyTokens"]


def test_both_clients_have_every_call_of_the_contract() -> None:
    """
    Every unary RPC but those of the verifier's own stream is a method of both, with the same signature; its request
    and response are the contract's.
    """
    named = {"refresh_token": "refresh"}
    services = [
        file.services_by_name
        for file in {
            module.DESCRIPTOR.file
            for module in (
                pb.LoginRequest,
                pb.GetSessionRequest,
                pb.GetJwksRequest,
                pb.GetUserRequest,
                pb.CheckSessionKeyRequest,
            )
        }
    ]
    methods = [method for one in services for service in one.values() for method in service.methods]
    assert len(methods) == 25
    for method in methods:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in method.name).lstrip("_")
        signatures = [
            inspect.signature(getattr(kind, named.get(snake, snake))) for kind in (AuthClient, SyncAuthClient)
        ]
        assert signatures[0] == signatures[1]
        assert signatures[0].return_annotation is getattr(pb, method.output_type.name)
        if method.name != "VerifyToken":
            assert signatures[0].parameters["request"].annotation is getattr(pb, method.input_type.name)


async def test_a_response_reads_as_a_verdict() -> None:
    """
    Against the fake authsvc: Active and Inactive as the verifier has them; no outcome is none.
    """
    async with FakeAuthsvc() as fake, AuthClient(fake.target) as client:
        token = fake.mint.token("bob", audience=AUDIENCE, scopes=["a"])
        good = verdict_of(await client.verify_token(token, audience=AUDIENCE, timeout=LONG))
        poor = verdict_of(await client.verify_token(token, audience=AUDIENCE, roles=["x"], timeout=LONG))

    assert isinstance(good, Active)
    assert (good.user_id, good.scopes) == ("bob", ("a",))
    assert poor == Inactive(InactiveReason.MISSING_ROLE)
    assert verdict_of(pb.VerifyTokenResponse()) is None


async def test_a_status_of_no_server_is_a_librarys() -> None:
    """
    Nobody listens: LibraryError UNAVAILABLE, from either client.
    """
    async with AuthClient("127.0.0.1:1") as client:
        with pytest.raises(LibraryError) as refused:
            await client.login(pb.LoginRequest())
    assert (refused.value.code, refused.value.may_pass) == (grpc.StatusCode.UNAVAILABLE, True)

    def threaded() -> None:
        with SyncAuthClient("127.0.0.1:1") as blocking:
            blocking.login(pb.LoginRequest())

    with pytest.raises(LibraryError):
        await asyncio.to_thread(threaded)
    no_trailers: Any = grpc.aio.AioRpcError
    no_trailers = no_trailers(grpc.StatusCode.ABORTED, (), ())
    assert failure_of(no_trailers).code is grpc.StatusCode.ABORTED


def test_a_verifier_pays_for_nothing_else() -> None:
    """
    Importing it loads neither aiohttp nor any of the guards and clients; every exported name is there when asked for.
    """
    code = (
        "import sys, authsvc_client, authsvc_client.verifier\n"
        "late = [m for m in sys.modules if m == 'aiohttp' or m.split('.')[-1] in "
        "('asgi', 'client', 'blocking_client', 'aiohttp_guard', 'grpc_aio', 'grpc_sync', 'requiring') "
        "and m.startswith(('authsvc_client', 'aiohttp'))]\n"
        "assert not late, late\n"
        "from authsvc_client import AuthMiddleware, AuthClient, AuthInterceptor\n"
        "assert 'aiohttp' not in sys.modules\n"
        "assert all(getattr(authsvc_client, name) for name in authsvc_client.__all__)\n"
        "assert 'aiohttp' in sys.modules\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError):
        authsvc_client.nothing  # type: ignore[attr-defined]  # noqa: B018 - reading it is the test
