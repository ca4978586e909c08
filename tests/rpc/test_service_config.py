"""The service config that clients ship: what it says, and what it is worth in rolling restarts."""

import asyncio
import json
import socket
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import auth_service_pb2_grpc, key_service_pb2, key_service_pb2_grpc
from authsvc.rpc.policy import POLICIES
from tests.e2e.running import PATIENCE_S, Running, wait_until
from tests.e2e.serving import Site, prepare
from tests.support.core import D1
from tests.support.server import Running as Served

FILE = Path(__file__).parents[2] / "clients/service_config.json"
CONFIG: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
# As clients/README.md advises.
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
_CALLERS = 3
_CHECKS = {
    "VerifyToken": pb.VerifyTokenRequest(access_token="junk"),
    "BatchVerifyTokens": pb.BatchVerifyTokensRequest(requests=[pb.VerifyTokenRequest(access_token="junk")]),
}


def paths(entry: dict[str, Any]) -> list[str]:
    return [f"/{name['service']}/{name['method']}" for name in entry["name"]]


def without_retries() -> dict[str, Any]:
    entries = [{key: entry[key] for key in entry if key != "retryPolicy"} for entry in CONFIG["methodConfig"]]
    return {**CONFIG, "methodConfig": entries}


def channel_of(target: str, config: dict[str, Any]) -> grpc.aio.Channel:
    # Of its own, or channels to the same addresses would share connections.
    options = [*OPTIONS, ("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(target, options=options)


def test_exactly_the_idempotent_rpcs_are_retried() -> None:
    """
    Every idempotent RPC of the contract has one retry policy, Login and no other none; each is named by its method.
    """
    listed = Counter(path for entry in CONFIG["methodConfig"] for path in paths(entry))
    retried = {path for entry in CONFIG["methodConfig"] if "retryPolicy" in entry for path in paths(entry)}
    ours = {path: policy for path, policy in POLICIES.items() if path.startswith("/authapi.v1.")}

    assert retried == {path for path, policy in ours.items() if policy.idempotent}
    assert listed == dict.fromkeys(ours, 1)
    assert "/authapi.v1.AuthService/Login" not in retried


def test_retries_are_few_and_of_what_a_stopping_server_says() -> None:
    """
    At most 5 attempts (gRPC's own cap), UNAVAILABLE and CANCELLED only, no hedging; streams have no timeout.
    """
    for entry in CONFIG["methodConfig"]:
        assert "hedgingPolicy" not in entry
        assert ("timeout" in entry) == (paths(entry) != ["/authapi.v1.RevocationService/WatchRevocations"])
        policy = entry.get("retryPolicy")
        if policy is not None:
            assert 2 <= policy["maxAttempts"] <= 5
            assert policy["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]


async def test_grpc_understands_it(running: Served) -> None:
    """
    A channel made with it calls; a refused write is tried again as often as the file says, a login once.
    """
    core = running.core
    async with channel_of(running.server.address, CONFIG) as channel:
        auth: Any = auth_service_pb2_grpc.AuthServiceStub(channel)
        answer = await auth.VerifyToken(pb.VerifyTokenRequest(access_token="junk"), timeout=20)
        assert answer.HasField("inactive")
        core.store.down = True
        attempts = {}
        for name, request in (
            ("Revoke", pb.RevokeRequest(app_id=D1)),
            ("Login", pb.LoginRequest(app_id=D1, mini_program_code=core.code())),
        ):
            before = len(core.observer.calls)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(auth, name)(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            attempts[name] = len(core.observer.calls) - before
    assert attempts == {"Revoke": 4, "Login": 1}


class Load:
    """
    Callers that call one after another over one channel, until told to stop.

    *check* is its own way to verify, so that a server's counts tell whose calls reach it.
    """

    def __init__(self, channel: grpc.aio.Channel, check: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._check = check
        self._auth: Any = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._keys: Any = key_service_pb2_grpc.KeyServiceStub(channel)
        self._stopping = False
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(_CALLERS)]

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int) -> None:
        turn = number
        while not self._stopping:
            turn += 1
            try:
                if turn % 50 == 0:
                    await self._auth.Revoke(pb.RevokeRequest(app_id=D1))
                elif turn % 50 == 25:
                    await self._keys.GetJwks(key_service_pb2.GetJwksRequest())
                else:
                    await getattr(self._auth, self._check)(_CHECKS[self._check])
            except grpc.aio.AioRpcError as error:
                self.outcomes[f"{error.code().name}: {error.details()}"] += 1
            else:
                self.outcomes["OK"] += 1

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "OK"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_called(process: Running) -> bool:
    """Whether the calls of every load reach it."""
    with urllib.request.urlopen(process.addresses()["ops"] + "/metrics", timeout=10) as page:  # noqa: S310 - loopback
        counts = [
            line for line in page.read().decode().splitlines() if line.startswith("authsvc_calls_total{")
        ]
    return all(any(f'/{check}"' in count for count in counts) for check in _CHECKS)


def replica(site: Site, folder: Path, port: int, drain_wait: str) -> Running:
    folder.mkdir(exist_ok=True)
    words = ("serve", "--grpc-port", str(port), "--ops-port", "0")
    return Running(folder, words, env={**site.env, "AUTHSVC_DRAIN_WAIT": drain_wait})


def restart(site: Site, process: Running, port: int, drain_wait: str) -> Running:
    """Stop a replica as an operator does, start it again, and wait until both clients call it."""
    assert process.stop() == 0
    again = replica(site, process.folder, port, drain_wait)
    wait_until(lambda: is_called(again), what="clients call the restarted replica", patience_s=PATIENCE_S)
    return again


def end_all(replicas: Sequence[Running]) -> None:
    for one in replicas:
        one.end()


@pytest.mark.parametrize(
    ("restarts", "drain_wait"),
    [
        pytest.param(5, "1", id="5"),
        pytest.param(20, "1", id="20", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
        pytest.param(6, "0", id="without-a-drain-wait", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)
async def test_rolling_restarts_fail_no_call(tmp_path: Path, restarts: int, drain_wait: str) -> None:
    """
    Two replicas are restarted in turn under load: with the shipped config no RPC fails. What fails without its
    retries is printed.
    """
    site = prepare(tmp_path / "site")
    ports = [free_port(), free_port()]
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        replicas = [replica(site, tmp_path / f"r{n}", port, drain_wait) for n, port in enumerate(ports)]
        stack.callback(end_all, replicas)
        for one in replicas:
            one.addresses()
        async with channel_of(target, CONFIG) as shipped, channel_of(target, without_retries()) as bare:
            loads = [Load(shipped, "VerifyToken"), Load(bare, "BatchVerifyTokens")]
            for turn in range(restarts):
                which = turn % 2
                replicas[which] = await asyncio.to_thread(
                    restart, site, replicas[which], ports[which], drain_wait
                )
            for load in loads:
                await load.stop()
    with_retries, without = loads
    print(  # noqa: T201
        f"\n{restarts} restarts, drain wait {drain_wait} s: {with_retries.outcomes.total()} calls,"
        f" {with_retries.failed or 'none'} failed; with retries off {without.outcomes.total()} calls,"
        f" {without.failed or 'none'} failed"
    )
    assert with_retries.failed == {}
    assert with_retries.outcomes["OK"] > 100
