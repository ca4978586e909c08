"""`authsvc serve --workers N` beside a sandbox, with many connections, so that every worker is spoken to."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, Self

import grpc
from prometheus_client.parser import text_string_to_metric_families

from authapi.v1 import auth_service_pb2 as pb
from authapi.v1 import types_pb2
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.e2e.running import Running, running, wait_until
from tests.e2e.serving import SERVE_PORTS, Site, prepare, sandbox
from tests.e2e.wire import D1, TIMEOUT_S, Service, http_call, refusal

VERIFY = "/authapi.v1.AuthService/VerifyToken"


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return state != "Z"


class Connection:
    """One connection of its own: it shares no subchannel, so a worker of its own is picked for it."""

    def __init__(self, target: str, *options: tuple[str, int | str]) -> None:
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                *(options or (("grpc.enable_retries", 0),)),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self.auth = AuthServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def verdict(self, access_token: str, *, at_least: types_pb2.Cursor | None = None) -> str:
        """Return `active`, why not, or the reason of the refusal (its code where the library made it)."""
        request = pb.VerifyTokenRequest(access_token=access_token, audience=D1, at_least=at_least)
        try:
            response = self.auth.VerifyToken(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            refused = refusal(error)
            return refused.reason or refused.code
        if response.HasField("active"):
            return "active"
        return types_pb2.InactiveReason.Name(response.inactive.reason).removeprefix("INACTIVE_REASON_")

    def login(self, code: str) -> str:
        """Return the session's id, or the reason of the refusal."""
        try:
            request = pb.LoginRequest(app_id=D1, mini_program_code=code)
            response = self.auth.Login(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return refusal(error).reason
        return str(response.session_id)


class Steady:
    """
    A client with one connection that verifies a token all the time, with what a sensible client has: round_robin, health
    checks, retries of UNAVAILABLE and CANCELLED.
    """

    CONFIG: Final = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }

    def __init__(self, target: str, token: str) -> None:
        self.outcomes: list[str] = []
        self._over = Event()
        self._client = Connection(
            target, ("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(self.CONFIG))
        )
        self._thread = Thread(target=self._run, args=(token,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _run(self, token: str) -> None:
        while not self._over.wait(0.005):
            self.outcomes.append(self._client.verdict(token))


class Fleet:
    """A running supervisor with its workers."""

    def __init__(self, process: Running, site: Site, *, wechat: str) -> None:
        self.process = process
        self.site = site
        self.addresses = process.addresses()
        self.service = Service({**self.addresses, "sandbox": wechat})
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        self.service.channel.close()

    @property
    def pids(self) -> list[int]:
        """The workers' process ids, as the ready file tells them now."""
        pids: list[int] = json.loads(self.process.ready_file.read_text("utf-8"))["workers"]
        return pids

    def connect(self) -> Connection:
        connection = Connection(self.addresses["grpc"])
        self._connections.append(connection)
        return connection

    def login(self, user: str = "alice") -> pb.LoginResponse:
        request = pb.LoginRequest(app_id=D1, mini_program_code=self.service.mint(user))
        response: pb.LoginResponse = self.service.auth.Login(request, timeout=TIMEOUT_S)
        return response

    def reach_all(self) -> list[Connection]:
        """
        Return connections among which there is one to every worker.

        Each worker remembers a token it has verified, so the sum of what is remembered tells how many have seen it.
        """
        token = self.login("reach").tokens.access_token
        before = self.metric("authsvc_verified_tokens")
        found: list[Connection] = []

        def reached() -> bool:
            for _ in range(8):
                found.append(self.connect())
                assert found[-1].verdict(token) == "active"
            return self.metric("authsvc_verified_tokens") - before == len(self.pids)

        wait_until(reached, what="a connection to every worker")
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of this name that have these labels."""
        answer = http_call("GET", f"{self.addresses['ops']}/metrics")
        assert answer.status == 200, answer.body
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def missing(self) -> dict[str, str]:
        """Return what `/readyz` says is not ready."""
        answer = http_call("GET", f"{self.addresses['ops']}/readyz")
        assert (answer.status == 200) == ("missing" not in answer.json)
        return dict(answer.json.get("missing", {}))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of this event."""
        lines = [line for line in self.process.stderr.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]


@dataclass(frozen=True, slots=True)
class Ground:
    """What every fleet starts from: a sandbox that runs, and a site that was set up once, to be copied."""

    wechat: str
    site: Site

    def copy(self, folder: Path) -> Site:
        """Return a site of one's own with the same keys and apps and an empty database."""
        shutil.copytree(self.site.folder, folder)
        return Site(folder)


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Start the sandbox and set the site up; end the sandbox."""
    with sandbox(folder / "sandbox") as (_, wechat):
        yield Ground(wechat, prepare(folder / "site", wechat_url=wechat))


@contextmanager
def fleet(folder: Path, base: Ground, *more: str, workers: int = 2) -> Iterator[Fleet]:
    """Start a supervisor and its workers on free ports; end them all."""
    site = base.copy(folder / "site")
    words = ("serve", *SERVE_PORTS, "--workers", str(workers), *more)
    with (
        running(site.folder, *words, env=site.env) as process,
        Fleet(process, site, wechat=base.wechat) as one,
    ):
        yield one
