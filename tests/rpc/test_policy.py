"""The policy table against the contract, and every RPC called as every kind of caller."""

from datetime import timedelta
from typing import Any

import grpc
import pytest

from authsvc.domain.principals import Role
from authsvc.rpc import health, reflection
from authsvc.rpc.policy import POLICIES
from tests.contract import pinned
from tests.rpc.matrix import CALLS, GARBAGE, SERVICES, may_call
from tests.support.server import CALLER, ROLES, Running, refused


def test_every_rpc_of_the_contract_has_a_row() -> None:
    """And every row an RPC: of the contract, of health, or of reflection."""
    contract = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
    others = {
        f"/{health.NAME}/Check",
        f"/{health.NAME}/Watch",
        f"/{reflection.NAME}/ServerReflectionInfo",
    }
    assert set(POLICIES) == contract | others
    assert {path.rsplit("/", 1)[1] for path in contract} == set(pinned.CALLERS)


def test_the_server_registers_what_has_a_row(running: Running) -> None:
    """Nothing more, nothing less."""
    registered = {
        **running.services,
        health.NAME: running.server.health.methods(),
        reflection.NAME: reflection.methods(()),
    }
    paths = {f"/{name}/{method}" for name, methods in registered.items() for method in methods}
    assert paths == set(POLICIES)


def test_rows_say_what_the_contract_says() -> None:
    """Roles, idempotency, and a case for every case of every oneof."""
    for path, name, case, _ in CALLS:
        row = POLICIES[path]
        assert row.roles is not None
        assert {role.value for role in row.roles} == pinned.CALLERS[name]
        assert row.idempotent == (name not in pinned.NOT_IDEMPOTENT)
        assert bool(row.oneof) == bool(case)
        if case:
            assert {role.value for role in row.cases[case]} == {
                role.value for role in Role if may_call(role.value, name, case)
            }
    for path, row in POLICIES.items():
        if row.oneof:
            assert set(row.cases) == {case for found, _, case, _ in CALLS if found == path}
        assert row.deadline is None or timedelta(0) < row.deadline <= timedelta(seconds=30)


async def outcome(running: Running, path: str, request: bytes, **metadata: str) -> str:
    """`OK`, or the reason of the refusal. Streams are read no further than their first message."""
    given = tuple({"x-test-roles": "", **metadata}.items())
    if path.endswith("WatchRevocations"):
        channel = running.channel
        call = channel.unary_stream(path)(request, metadata=given, timeout=20)  # type: ignore[call-arg]
        try:
            await call.read()
        except grpc.aio.AioRpcError:
            return (await refused(_raising(call))).reason
        call.cancel()
        return "OK"
    try:
        await running.raw(path, request, metadata=given)
    except grpc.aio.AioRpcError:
        return (await refused(running.raw(path, request, metadata=given))).reason
    return "OK"


async def _raising(call: grpc.aio.UnaryStreamCall) -> object:  # type: ignore[type-arg]
    return await call.read()


@pytest.mark.parametrize("role", [*(role.value for role in Role), ""])
async def test_every_rpc_as_every_kind_of_caller(running: Running, role: str) -> None:
    """A caller with this role alone (or none): forbidden exactly where the contract does not name it."""
    wrong = []
    for path, name, case, request in CALLS:
        found = await outcome(running, path, request.SerializeToString(), **{ROLES: role})
        if (found == "CALLER_FORBIDDEN") == may_call(role, name, case):
            wrong.append((name, case, found))
    assert wrong == []


async def test_who_says_nothing_is_unauthenticated_everywhere(running: Running) -> None:
    """Before anything is said about the request, which may be garbage."""
    for path in {path for path, *_ in CALLS}:
        assert await outcome(running, path, GARBAGE, **{CALLER: "nobody"}) == "CALLER_UNAUTHENTICATED"


async def test_a_forbidden_caller_learns_nothing_of_its_request(running: Running) -> None:
    """Garbage and a perfect request are the same CALLER_FORBIDDEN."""
    for path, name in {(path, name) for path, name, *_ in CALLS}:
        stranger = next(role.value for role in Role if role.value not in pinned.CALLERS[name])
        assert await outcome(running, path, GARBAGE, **{ROLES: stranger}) == "CALLER_FORBIDDEN"


async def test_garbage_is_a_bad_request_everywhere(running: Running) -> None:
    """INVALID_FIELD for whoever may call, unary and stream."""
    everyone = ",".join(role.value for role in Role)
    for path in {path for path, *_ in CALLS}:
        assert await outcome(running, path, GARBAGE, **{ROLES: everyone}) == "INVALID_FIELD"


async def test_a_missing_case_is_a_bad_request(running: Running) -> None:
    """INVALID_FIELD that names the oneof."""
    everyone = ((ROLES, ",".join(role.value for role in Role)),)
    for path in {path for path, _, case, _ in CALLS if case}:
        told = await refused(running.raw(path, metadata=everyone))
        assert (told.reason, told.fields) == ("INVALID_FIELD", (POLICIES[path].oneof,))


async def test_health_is_anybodys_and_reflection_the_operators(running: Running) -> None:
    """Load balancers have no identity; what a server offers is not for everyone."""
    assert await running.raw(f"/{health.NAME}/Check", metadata=((CALLER, "nobody"),)) is not None
    path = f"/{reflection.NAME}/ServerReflectionInfo"
    channel: Any = running.channel
    for role in Role:
        call = channel.stream_stream(path)(metadata=((ROLES, role.value),), timeout=20)
        if role is Role.OPERATOR:
            await call.write(b"\x3a\x00")
            assert await call.read()
            await call.done_writing()
        else:
            # Nothing is written: a write that meets the refusal fails inside the client's library instead.
            assert (await refused(call.read())).reason == "CALLER_FORBIDDEN"
