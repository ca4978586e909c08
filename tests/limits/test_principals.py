"""What holds for a calling service: over a real socket, per principal and without I/O."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import revocation_service_pb2 as watch_pb
from authapi.v1 import types_pb2
from authsvc.domain.limits import Rate
from authsvc.domain.principals import Principal, Role
from authsvc.domain.sessions import ClientInfo
from authsvc.ports import SessionQuery
from authsvc.rpc.auth_service import _told_by
from authsvc.rpc.policy import POLICIES
from authsvc.rpc.urgency import _URGENCY
from authsvc.rpc.wrapper import Call
from authsvc.service.limits import LimitRules
from authsvc.service.watch import WatchSettings
from tests.support.core import D1, build_core
from tests.support.server import CALLER, ROLES, Running, read_refusal, running_server

LOUD, QUIET = ((CALLER, "loud"),), ((CALLER, "quiet"),)


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    rules = LimitRules.default(
        principal_checks=Rate(per_second=1, burst=10),
        principal_calls=Rate(per_second=1, burst=3),
        principal_watches=Rate(per_second=1, burst=4),
    )
    async with build_core(tmp_path, rules=rules) as core, running_server(core) as running:
        yield running


async def outcome(call: Any) -> str:
    """OK, or the reason of the refusal, which says how long to wait."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        told = read_refusal(error)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told.retry is not None
        return told.reason
    return "OK"


def check(running: Running, metadata: Any) -> Any:
    return running.auth.VerifyToken(pb.VerifyTokenRequest(access_token="x", audience="a"), metadata=metadata)


async def test_checks_are_counted_per_principal_and_cost_no_io(running: Running) -> None:
    """
    The loud one is refused, the quiet one is not, and the record was not asked for any of it.
    """
    before = running.core.store.calls.copy()
    outcomes = [await outcome(check(running, LOUD)) for _ in range(12)]
    assert outcomes == ["OK"] * 10 + ["RATE_LIMITED"] * 2
    assert await outcome(check(running, QUIET)) == "OK"
    assert running.core.store.calls == before


async def test_a_batch_counts_every_token_in_it(running: Running) -> None:
    """
    Or batches would be a way around.
    """
    one = pb.VerifyTokenRequest(access_token="x", audience="a")

    def batch(count: int) -> Any:
        request = pb.BatchVerifyTokensRequest(requests=[one] * count)
        return running.auth.BatchVerifyTokens(request, metadata=LOUD)

    assert [await outcome(batch(count)) for count in (6, 6, 4, 1)] == [
        "OK",
        "RATE_LIMITED",
        "OK",
        "RATE_LIMITED",
    ]


async def test_other_calls_are_counted_before_they_are_read(running: Running) -> None:
    """
    Not even bad bytes come further than the limit.
    """
    path = "/authapi.v1.AuthService/Revoke"
    outcomes = []
    for _ in range(5):
        try:
            await running.raw(path, b"\xff", metadata=LOUD)
        except grpc.aio.AioRpcError as error:
            outcomes.append(read_refusal(error).reason)
    assert outcomes == ["INVALID_FIELD"] * 3 + ["RATE_LIMITED"] * 2


async def test_streams_are_capped_per_principal_and_over_all(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One principal cannot take the places of all; a place that is left is there again.
    """
    monkeypatch.setattr(running.core.watches, "settings", WatchSettings(watchers=3, per_principal=2))

    def watch(metadata: Any) -> Any:
        return running.revocations.WatchRevocations(watch_pb.WatchRevocationsRequest(), metadata=metadata)

    streams = [watch(LOUD), watch(LOUD)]
    for stream in streams:
        await stream.read()
    assert await outcome(watch(LOUD).read()) == "RATE_LIMITED"
    streams.append(watch(QUIET))
    await streams[-1].read()
    assert await outcome(watch(((CALLER, "third"),)).read()) == "RATE_LIMITED"
    streams[0].cancel()
    async with asyncio.timeout(60):
        while running.core.watches._by_principal["loud"] == 2:  # noqa: ASYNC110
            await asyncio.sleep(0)  # noqa: TID251 - lets the server notice
    stream = watch(LOUD)
    await stream.read()
    assert await outcome(watch(LOUD).read()) == "RATE_LIMITED"  # now for beginning too many
    for open_stream in (*streams[1:], stream):
        open_stream.cancel()


async def test_an_address_is_believed_of_an_edge_only(running: Running) -> None:
    """
    Limits hang on it, so what anybody else says of it counts as nothing; an edge's word is kept with the session.
    """
    core = running.core
    told = types_pb2.ClientInfo(ip="203.0.113.7", device_name="phone")
    request = pb.LoginRequest(app_id=D1, mini_program_code=core.code(), client=told)
    response = await running.auth.Login(request, metadata=((ROLES, "edge"),))
    assert _told_by(call("edge"), told).ip == "203.0.113.7"
    assert _told_by(call("operator"), told) == ClientInfo(device_name="phone")
    listed = await core.store.real.list_sessions(SessionQuery(user_id=response.user_id))
    assert [session.client.ip for session in listed] == ["203.0.113.7"]


def call(role: str) -> Call:
    return Call(Principal("p", frozenset({Role(role)}), frozenset()), "", "")


async def test_overload_is_refused_with_all_that_clients_need(running: Running) -> None:
    """
    RATE_LIMITED with RetryInfo, of our own making; health is asked all the while.
    """
    core = running.core
    core.admission._places = dict.fromkeys(core.admission._places, 0.0)
    core.admission._places[min(core.admission._places)] = float("inf")
    assert await outcome(check(running, LOUD)) == "RATE_LIMITED"
    assert await running.raw("/grpc.health.v1.Health/Check") == b"\x08\x01"
    assert core.admission._in_flight == 0


async def test_every_place_is_given_back_whatever_became_of_the_call(running: Running) -> None:
    """
    Answered, refused, cancelled or failed.
    """
    core = running.core
    await outcome(check(running, LOUD))
    gate = core.store.hold("claim_code")
    login = running.auth.Login(pb.LoginRequest(app_id=D1, mini_program_code=core.code()), metadata=QUIET)
    waiting = asyncio.ensure_future(outcome(login))
    await gate.reached.wait()
    assert core.admission._in_flight == 1
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60):
        while core.admission._in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0)  # noqa: TID251 - lets the server notice
    gate.open()


def test_every_urgent_method_is_one_of_the_contract() -> None:
    """
    A misspelt path would silently be an ordinary call.
    """
    assert set(_URGENCY) <= set(POLICIES)
