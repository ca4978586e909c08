"""What is measured: the bare servers, and the service as three processes (sandbox, server, edge) as deployed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from authapi.v1 import auth_service_pb2 as pb
from authsvc.domain import access_token
from authsvc.domain.access_token import Claims
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.keys import DirectoryKeys, MasterRing, generate_signing_key, write_new
from authsvc.rpc.server import GrpcSettings
from authsvc.sandbox import SANDBOX_APPS
from authsvc.system import SystemClock, SystemEntropy
from bench import echo_grpc
from bench.load import GrpcClient, H2load, HttpClient
from bench.processes import Cores, Process

VERIFY = "/authapi.v1.AuthService/VerifyToken"
ECHO, CHECKED_ECHO = echo_grpc.METHOD, echo_grpc.CHECKED
APP = SANDBOX_APPS[0].app_id
HANGING_APP = SANDBOX_APPS[1].app_id
_AUTHSVC = (sys.executable, "-m", "authsvc")
ACTIVE = b"\x0a"  # the tag of VerifyTokenResponse.active, field 1
_MINT = "POST /sandbox/v1/codes"
_LOGIN = "POST /api/v1/login"
_MINT_CALLERS = 4
# More than all logins of a run: who gave up stays in the queue until somebody accepts.
_DEAF_BACKLOG = 4096


class Stage:
    """
    Every process and client of a run.

    After `start` and `open` all serve, and `token` is a live access token. The WeChat of HANGING_APP takes connections
    and never answers.
    """

    def __init__(self, directory: Path, *, cores: Cores, h2load: str | None) -> None:
        self.token = ""
        self.h2load = H2load(h2load, directory=directory) if h2load else None
        self._directory = directory
        self.cores = cores
        self._stack = ExitStack()
        self._entropy = SystemEntropy()
        self._users = 0

    def start(self) -> None:
        """
        Start the service's processes, one after the other.

        Raises:
            NotStarted: a process did not get ready.

        """
        environment = self._environment = self._configure()
        self.sandbox = self._service("sandbox", "--sandbox-port", "0")
        self._sandbox_url = _announced(self.sandbox.start(), "sandbox")
        _write_apps(self._directory / "apps.toml", self._sandbox_url, hanging_url=self._deaf_listener())
        subprocess.run(  # noqa: S603
            [*_AUTHSVC, "migrate"], check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        self.server = self._service("serve", "--grpc-port", "0", environment=environment)
        ready = self.server.start()
        self.target, self._server_ops = _announced(ready, "grpc"), _announced(ready, "ops")
        options = ("--grpc-target", self.target, "--http-port", "0")
        self.edge = self._service("edge", *options, environment=environment)
        self.edge_url = _announced(self.edge.start(), "http")
        self.bare = self._bare("echo_http")
        self._bare_url = self.bare.start()

    async def open(self) -> None:
        """
        Log one user in, and start the bare echo with answers as long as the server's.

        Raises:
            NotStarted: the echo did not get ready.
            CallsFailed: the login or its first check went wrong.

        """
        self.grpc, self.http = GrpcClient(self.target), HttpClient(self.edge_url)
        self._codes, self.bare_http = HttpClient(self._sandbox_url), HttpClient(self._bare_url)
        await self.http.run(await self.logins(1), callers=1)
        self.token = json.loads(self.http.bodies[0])["access_token"]
        reply = await self.grpc.call(VERIFY, self.request())
        self.echo_options = (
            "--options",
            json.dumps(GrpcSettings().options()),
            "--reply-bytes",
            str(len(reply)),
        )
        self.echo = self._bare("echo_grpc", *self.echo_options)
        self.echo_target = self.echo.start()
        self.echo_grpc = GrpcClient(self.echo_target)

    async def close(self) -> None:
        """Stop everything. Idempotent."""
        for name in ("grpc", "http", "_codes", "echo_grpc", "bare_http"):
            client = getattr(self, name, None)
            if client is not None:
                await client.close()
        self._stack.close()

    def processes(self) -> tuple[Process, ...]:
        """Return every server process."""
        return (self.echo, self.server, self.bare, self.edge, self.sandbox)

    def request(self) -> bytes:
        """Return a VerifyToken request with the token that every server knows by now."""
        return pb.VerifyTokenRequest(access_token=self.token, audience=APP).SerializeToString()

    async def unseen(self, count: int) -> list[bytes]:
        """Return VerifyToken requests with the tokens of `tokens`."""
        return [
            pb.VerifyTokenRequest(access_token=token, audience=APP).SerializeToString()
            for token in await self.tokens(count)
        ]

    async def tokens(self, count: int) -> list[str]:
        """Return good tokens that nobody has seen: they differ in their `jti`, and the server's own key signs them."""
        header, payload, _ = self.token.split(".")
        parsed = access_token.parse(self.token, known_headers={})
        assert parsed is not None, payload
        signer = DirectoryKeys.load(self._directory / "signing").signer(parsed.header.kid)
        assert signer is not None
        tokens: list[str] = []
        for _ in range(count):
            claims: Claims = replace(parsed.claims, token_id=encode_id(self._entropy.token_bytes(ID_BYTES)))
            signed = access_token.signing_input(claims, header=header)
            tokens.append(access_token.join(signed, await signer.sign(signed)))
        return tokens

    async def logins(self, count: int) -> list[bytes]:
        """
        Return requests that log in *count* users, never seen before, with a fresh code each.

        A user of their own each, because the sandbox, like WeChat, throttles one user beyond 100 calls a minute.
        """
        codes = [json.loads(body)["code"] for body in await self.codes(count)]
        return [
            self.http.request(_LOGIN, body=json.dumps({"app_id": APP, "code": code}).encode())
            for code in codes
        ]

    async def codes(self, count: int) -> list[bytes]:
        """Return the sandbox's answers with a fresh code of a new user each."""
        mints = []
        for _ in range(count):
            self._users += 1
            body = json.dumps({"app_id": APP, "user": f"bench-{self._users}"}).encode()
            mints.append(self._codes.request(_MINT, body=body))
        await self._codes.run(mints, callers=_MINT_CALLERS)
        return list(self._codes.bodies)

    def verify_calls(self) -> int:
        """Return the server's own count of VerifyToken calls that ended OK."""
        with urllib.request.urlopen(f"{self._server_ops}/metrics", timeout=10) as page:  # noqa: S310 - loopback
            lines = page.read().decode().splitlines()
        counts = [line for line in lines if line.startswith("authsvc_calls_total{") and f'"{VERIFY}"' in line]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts if 'code="OK"' in line)

    def _configure(self) -> dict[str, str]:
        clock = SystemClock()
        for _ in range(2):
            write_new(self._directory / "signing", generate_signing_key(), created_at=clock.now())
        return {
            "AUTHSVC_ENV": "test",
            "AUTHSVC_MASTER_KEYS": MasterRing.generate(self._entropy),
            "AUTHSVC_SIGNING_KEYS_DIR": str(self._directory / "signing"),
            "AUTHSVC_APPS_FILE": str(self._directory / "apps.toml"),
            "AUTHSVC_DATABASE_URL": f"sqlite:///{self._directory / 'authsvc.db'}",
            "AUTHSVC_DEFAULT_APP": APP,
            "AUTHSVC_OPS_PORT": "0",
            "AUTHSVC_LOG_FORMAT": "json",
            # A few users on one address, as fast as they can.
            "AUTHSVC_LIMITS_WIDE": "true",
            # What protects a process from itself stands in every measurement.
            "AUTHSVC_CALLS_IN_FLIGHT": "1000",
        }

    def _service(self, name: str, *options: str, environment: dict[str, str] | None = None) -> Process:
        return self._process(name, (*_AUTHSVC, name, *options), environment)

    def guarded_echo(self) -> Process:
        """Return the echo with the client library's interceptor in front, to be started; it stops with the stage."""
        return self._bare("guarded_grpc", "--target", self.target, "--audience", APP, *self.echo_options)

    def server_over(self, database: Path) -> Process:
        """Return another server over a database of its own, to be started; it stops with the stage."""
        environment = {**self._environment, "AUTHSVC_DATABASE_URL": f"sqlite:///{database}"}
        return self._process("serve_facts", (*_AUTHSVC, "serve", "--grpc-port", "0"), environment)

    def _deaf_listener(self) -> str:
        """Return the URL of a listener that nobody ever accepts from."""
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_DEAF_BACKLOG))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def _bare(self, name: str, *options: str) -> Process:
        return self._process(name, (sys.executable, "-m", f"bench.{name}", *options), None)

    def _process(self, name: str, command: tuple[str, ...], environment: dict[str, str] | None) -> Process:
        process = Process(name, command, cores=self.cores, directory=self._directory, environment=environment)
        self._stack.callback(process.stop)
        return process


@asynccontextmanager
async def opened_stage(directory: Path) -> AsyncIterator[Stage]:
    """
    Start and open a stage, with this process on the core that makes the load; stop it afterwards.

    Raises:
        NotStarted: a process did not get ready.
        CallsFailed: the first login went wrong.

    """
    cores = Cores.of_this_machine()
    stage = Stage(directory, cores=cores, h2load=None)
    try:
        stage.start()
        await stage.open()
        cores.take_load_core()
        yield stage
    finally:
        await stage.close()


def dev_ready_s(directory: Path, *, cores: Cores, starts: int) -> list[float]:
    """Return how long each start of `authsvc dev` took until everything served; the first makes keys and database."""
    ports = [word for part in ("grpc", "http", "sandbox", "ops") for word in (f"--{part}-port", "0")]
    data = directory / "dev"
    seconds = []
    for _ in range(starts):
        command = [*_AUTHSVC, "dev", *ports, "--data-dir", str(data), "--quiet"]
        process = Process("dev", command, cores=cores, directory=directory)
        process.start()
        seconds.append(process.ready_s)
        process.stop()
    shutil.rmtree(data)
    return seconds


def _announced(ready: str, part: str) -> str:
    return str(json.loads(ready)[part])


def _write_apps(path: Path, sandbox_url: str, *, hanging_url: str) -> None:
    tables = [
        "\n".join(
            (
                "[[apps]]",
                f'id = "{app.app_id}"',
                f'secret = "{app.secret}"',
                'scopes = ["profile"]',
                f'wechat_url = "{hanging_url if app.app_id == HANGING_APP else sandbox_url}"',
            )
        )
        for app in SANDBOX_APPS
    ]
    path.write_text("\n".join(tables) + "\n", encoding="utf-8")
    path.chmod(0o600)
