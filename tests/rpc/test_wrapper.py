"""The wrapper's steps: observe outermost, then failures, then guard; parse; bound; never leak."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import grpc
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authsvc.domain.errors import LoginCodeSpent, NotFound
from authsvc.rpc.policy import POLICIES, Policy
from authsvc.rpc.wrapper import Call, ServerStream, Unary
from tests.contract import pinned
from tests.support.core import D1, Core
from tests.support.server import CALLER, ROLES, Running, refused, running_server

CANARY = "canary-5f1e9c"
SERVICE = "test.v1.Odd"
ROWS = {
    "Fail": Policy(None),
    "FailStream": Policy(None, None),
    "Slow": Policy(None, timedelta(milliseconds=20)),
    "SlowOnce": Policy(None, timedelta(milliseconds=20), idempotent=False, cut_off=LoginCodeSpent),
    "OwnTimeout": Policy(None),
    "Known": Policy(None),
    "Echo": Policy(None),
    "Hang": Policy(None, None),
}


class Canary(Exception):
    """An exception that carries a secret in every place an exception can."""

    def __init__(self) -> None:
        super().__init__(CANARY, {"secret": CANARY})
        self.secret = CANARY
        self.add_note(CANARY)

    def __str__(self) -> str:
        return CANARY

    __repr__ = __str__


async def fail(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        raise Canary from error


async def fail_stream(request: pb.LoginRequest, call: Call) -> AsyncIterator[pb.LoginResponse]:
    yield pb.LoginResponse(user_id="first")
    await fail(request, call)


async def slow(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    await asyncio.Event().wait()
    raise AssertionError


hanging: list[str] = []


async def hang(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    hanging.append(call.request_id)
    return await slow(request, call)


async def own_timeout(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    raise TimeoutError(CANARY)


async def known(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    raise NotFound("thing") from ValueError(CANARY)


async def echo(request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
    return pb.LoginResponse(user_id=call.request_id, session_id=call.trace_id, openid=call.principal.name)


METHODS: Mapping[str, Unary[pb.LoginRequest] | ServerStream[pb.LoginRequest]] = {
    "Fail": Unary(pb.LoginRequest, fail),
    "FailStream": ServerStream(pb.LoginRequest, fail_stream),
    "Slow": Unary(pb.LoginRequest, slow),
    "SlowOnce": Unary(pb.LoginRequest, slow),
    "OwnTimeout": Unary(pb.LoginRequest, own_timeout),
    "Known": Unary(pb.LoginRequest, known),
    "Echo": Unary(pb.LoginRequest, echo),
    "Hang": Unary(pb.LoginRequest, hang),
    "Unlisted": Unary(pb.LoginRequest, echo),
    "UnlistedStream": ServerStream(pb.LoginRequest, fail_stream),
}


@pytest.fixture
async def odd(core: Core, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A server with methods that misbehave, and rows for all but two of them."""
    rows = {**POLICIES, **{f"/{SERVICE}/{name}": row for name, row in ROWS.items()}}
    monkeypatch.setattr("authsvc.rpc.wrapper.POLICIES", MappingProxyType(rows))
    async with running_server(core, more={SERVICE: METHODS}) as served:
        yield served


def path(name: str) -> str:
    return f"/{SERVICE}/{name}"


@pytest.mark.parametrize("name", ["Fail", "FailStream", "OwnTimeout"])
async def test_nothing_of_an_unexpected_exception_leaves(odd: Running, name: str) -> None:
    """INTERNAL, the fixed text, one ErrorInfo; no trace of the exception in anything that is sent or recorded."""
    call = odd.raw_stream(path(name)) if name.endswith("Stream") else odd.raw(path(name))
    told = await refused(call)
    assert (told.code, told.reason, told.metadata, told.retry, told.fields) == (
        grpc.StatusCode.INTERNAL,
        "INTERNAL",
        {},
        None,
        (),
    )
    assert told.text == "Something went wrong on our side."
    assert CANARY.encode() not in told.raw
    assert b"Canary" not in told.raw
    (record,) = odd.core.observer.calls
    assert (record.code, record.reason) == ("INTERNAL", "INTERNAL")
    assert CANARY not in repr(record) + repr(odd.core.observer.events)
    assert record.error.startswith(("Canary at test_wrapper.py", "TimeoutError at test_wrapper.py"))


async def test_a_known_refusal_takes_its_cause_nowhere(odd: Running) -> None:
    """The row's text, whatever it was raised from."""
    told = await refused(odd.raw(path("Known")))
    assert (told.reason, told.metadata) == ("NOT_FOUND", {"what": "thing"})
    assert CANARY.encode() not in told.raw
    assert CANARY not in repr(odd.core.observer.calls)


async def test_a_stream_that_breaks_delivered_what_came_before(odd: Running) -> None:
    """The messages, then the status."""
    channel: Any = odd.channel
    call = channel.unary_stream(path("FailStream"))(b"", timeout=20)
    assert pb.LoginResponse.FromString(await call.read()).user_id == "first"
    assert (await refused(call.read())).reason == "INTERNAL"


@pytest.mark.parametrize("name", ["Unlisted", "UnlistedStream"])
async def test_no_row_is_refused(odd: Running, name: str) -> None:
    """A method that nobody placed in the table is nobody's, even the operator's; and the refusal is observed."""
    call = odd.raw_stream(path(name)) if name.endswith("Stream") else odd.raw(path(name))
    assert (await refused(call)).reason == "CALLER_FORBIDDEN"
    (record,) = odd.core.observer.calls
    assert (record.method, record.code, record.reason) == (
        path(name),
        "PERMISSION_DENIED",
        "CALLER_FORBIDDEN",
    )


@pytest.mark.parametrize(
    ("metadata", "request_", "reason"),
    [
        ({CALLER: "nobody"}, b"", "CALLER_UNAUTHENTICATED"),
        ({ROLES: ""}, b"", "CALLER_FORBIDDEN"),
        ({}, b"\xff", "INVALID_FIELD"),
    ],
)
@pytest.mark.parametrize(
    "method", ["/authapi.v1.KeyService/GetJwks", "/authapi.v1.RevocationService/WatchRevocations"]
)
async def test_every_refusal_is_observed_with_its_status(
    running: Running, method: str, metadata: dict[str, str], request_: bytes, reason: str
) -> None:
    """Unary and stream, at each step that can refuse; once per call, with who called and under which id."""
    given = {"x-request-id": "id-1", CALLER: "svc", **metadata}
    call = running.raw_stream if method.endswith("WatchRevocations") else running.raw
    told = await refused(call(method, request_, metadata=given.items()))
    code = pinned.REASONS[reason][0]
    assert (told.code.name, told.reason) == (code, reason)
    (record,) = running.core.observer.calls
    assert (record.method, record.code, record.reason, record.request_id) == (method, code, reason, "id-1")
    assert record.principal == ("" if metadata.get(CALLER) else "svc")


async def test_success_is_observed(running: Running) -> None:
    """Once, as OK, without a reason."""
    await running.raw("/authapi.v1.KeyService/GetJwks")
    (record,) = running.core.observer.calls
    assert (record.code, record.reason, record.error, record.principal) == ("OK", "", "", "tester")


@pytest.mark.parametrize("given", ["abc", "A.b:c_d-9", "x" * 64])
async def test_a_request_id_is_kept(odd: Running, given: str) -> None:
    """What the caller calls its request is what the handler and the observer see."""
    answer = await odd.raw(path("Echo"), metadata=(("x-request-id", given),))
    assert pb.LoginResponse.FromString(answer).user_id == given
    assert odd.core.observer.calls[0].request_id == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "a,b", "{}"])
async def test_a_request_id_that_could_spoil_a_log_is_replaced(odd: Running, given: str) -> None:
    """Ours is 22 characters and new for every call."""
    seen = set()
    for _ in range(2):
        answer = await odd.raw(path("Echo"), metadata=(("x-request-id", given),))
        seen.add(pb.LoginResponse.FromString(answer).user_id)
    assert len(seen) == 2
    assert all(len(one) == 22 and one != given for one in seen)


@pytest.mark.parametrize(
    ("given", "trace_id"),
    [
        (f"00-{'a1' * 16}-{'b2' * 8}-01", "a1" * 16),
        (f"00-{'A1' * 16}-{'b2' * 8}-01", ""),
        ("junk", ""),
        (f"00-{'a1' * 16}-{'b2' * 8}-01-more", ""),
    ],
)
async def test_trace_context(odd: Running, given: str, trace_id: str) -> None:
    """W3C traceparent, or nothing."""
    answer = await odd.raw(path("Echo"), metadata=(("traceparent", given),))
    assert pb.LoginResponse.FromString(answer).session_id == trace_id
    assert odd.core.observer.calls[0].trace_id == trace_id


@pytest.mark.parametrize(
    ("name", "reason"), [("Slow", "STORE_UNAVAILABLE"), ("SlowOnce", "LOGIN_CODE_SPENT")]
)
async def test_the_deadline_cap(odd: Running, name: str, reason: str) -> None:
    """A call that hangs is ended: try again where that is safe, a new code where it is not."""
    assert (await refused(odd.raw(path(name)))).reason == reason


async def until_observed(core: Core, count: int = 1) -> None:
    """Return once that many calls have been reported."""
    while len(core.observer.calls) < count:
        await core.clock.sleep(timedelta(0))


async def test_a_caller_that_leaves_is_observed(odd: Running) -> None:
    """CANCELLED, unary and stream."""
    hanging.clear()
    call = asyncio.create_task(odd.raw(path("Hang")))
    while not hanging:
        await odd.core.clock.sleep(timedelta(0))
    call.cancel()
    await until_observed(odd.core)
    channel: Any = odd.channel
    watch = channel.unary_stream("/authapi.v1.RevocationService/WatchRevocations")(b"")
    await watch.read()
    watch.cancel()
    await until_observed(odd.core, 2)
    assert [record.code for record in odd.core.observer.calls] == ["CANCELLED", "CANCELLED"]


async def test_a_client_deadline_does_not_cut_a_commit(running: Running) -> None:
    """The caller is gone while its rotation is being written: it is rotated, and the retry gets the successor."""
    core = running.core
    login = await core.login()
    gate = core.store.hold("rotate")
    request = pb.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await running.auth.RefreshToken(request, timeout=0.1)
    assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_observed(core)
    assert core.observer.calls[0].code == "CANCELLED"
    gate.open()
    await core.unbroken.drained()
    session = await core.store.real.get_session(login.opened.session.session_id)
    assert session is not None
    assert session.counter == 1
    again = await running.auth.RefreshToken(request)
    assert again.session_id == session.session_id


async def test_unknown_fields_are_ignored(running: Running) -> None:
    """A newer client's fields do no harm; text that is not UTF-8 is a bad request."""
    code = running.core.code()
    request = pb.LoginRequest(app_id=D1, mini_program_code=code).SerializeToString()
    answer = await running.raw("/authapi.v1.AuthService/Login", request + b"\xfa\x07\x03abc")
    assert pb.LoginResponse.FromString(answer).user_id
    told = await refused(running.raw("/authapi.v1.AuthService/Login", b"\x0a\x02\xff\xfe"))
    assert (told.reason, told.fields) == ("INVALID_FIELD", ("request",))
