"""Clients that verify and refresh all the time while signing keys change, over real connections, and what they met."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from authapi.v1 import GetJwksRequest, GetJwksResponse, types_pb2
from authapi.v1 import auth_service_pb2 as pb
from authapi.v1.auth_service_pb2_grpc import AuthServiceStub
from authapi.v1.key_service_pb2_grpc import KeyServiceStub
from authsvc.system import SystemClock
from authsvc_client import Active, Inactive, Settings, Verifier
from tests.e2e.wire import D1, TIMEOUT_S, Service

if TYPE_CHECKING:  # a name of the type stubs only
    from authapi.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
# Between two rounds of one client, so that all of them together leave the machine some air.
_PAUSE = timedelta(milliseconds=5)


def kid_of(token: str) -> str:
    """The id of the key that signed a token."""
    head = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def jwks(target: str) -> GetJwksResponse:
    """What a server publishes."""
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        response: GetJwksResponse = KeyServiceStub(channel).GetJwks(GetJwksRequest(), timeout=TIMEOUT_S)
        return response


def published(target: str) -> set[str]:
    """The ids of the keys in the published set."""
    return {str(key["kid"]) for key in json.loads(jwks(target).jwks_json)["keys"]}


@dataclass(frozen=True, slots=True)
class Seen:
    """One verdict: when it was asked for (elapsed clock), who gave it, on a token of which key, and what it was."""

    at: float
    door: str
    kid: str
    outcome: str


@dataclass(slots=True)
class Client:
    """One session, its newest tokens, and what became of its refreshes."""

    session_id: str
    access: str
    refresh: str
    doors: int
    refusals: list[str] = field(default_factory=list)


class Load:
    """*clients* sessions over every server of *targets*, each beside a live verifier of the client library."""

    def __init__(self, targets: Sequence[str], *, connections: int) -> None:
        self.seen: list[Seen] = []
        self.clients: list[Client] = []
        self.clock = SystemClock()
        self.refreshing = False
        self._targets = targets
        self._connections = connections
        self._stubs: list[tuple[str, AuthServiceAsyncStub]] = []
        self._verifiers: list[tuple[str, Verifier]] = []
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self, service: Service, *, clients: int) -> AsyncIterator["Load"]:
        """Log the clients in, and let them verify until the block ends."""
        async with AsyncExitStack() as stack:
            for number, target in enumerate(self._targets):
                for _ in range(self._connections):
                    channel = await stack.enter_async_context(
                        grpc.aio.insecure_channel(target, options=_OPTIONS)
                    )
                    self._stubs.append((f"server-{number}-{len(self._stubs)}", AuthServiceStub(channel)))
                settings = Settings(when_stale="unavailable")
                verifier = Verifier(target, audience=D1, settings=settings)
                await verifier.start()
                stack.push_async_callback(verifier.aclose)
                self._verifiers.append((f"verifier-{number}", verifier))
            for number in range(clients):
                code = await asyncio.to_thread(service.mint, f"user-{number}")
                _, stub = self._stubs[number % len(self._stubs)]
                login = await stub.Login(
                    pb.LoginRequest(app_id=D1, mini_program_code=code), timeout=TIMEOUT_S
                )
                tokens = login.tokens
                self.clients.append(
                    Client(login.session_id, tokens.access_token, tokens.refresh_token, doors=number)
                )
            self._tasks = [asyncio.create_task(self._live(client)) for client in self.clients]
            try:
                yield self
            finally:
                self._stop.set()
                await asyncio.gather(*self._tasks)

    async def more(self, verdicts: int) -> None:
        """Return when so many more verdicts have been given."""
        wanted = len(self.seen) + verdicts
        while len(self.seen) < wanted:
            self._raise_early()
            await self.clock.sleep(_PAUSE)

    async def until_all_use(self, kid: str) -> None:
        """Return when every client has a token of this key."""
        while any(kid_of(client.access) != kid for client in self.clients):
            self._raise_early()
            await self.clock.sleep(_PAUSE)

    def _raise_early(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def _live(self, client: Client) -> None:
        turn = client.doors
        while not self._stop.is_set():
            turn += 1
            token, kid = client.access, kid_of(client.access)
            outcomes = [
                await self._ask(self._stubs[turn % len(self._stubs)], token, kid),
                await self._judge(self._verifiers[turn % len(self._verifiers)], token, kid),
            ]
            if "KEY_WITHDRAWN" in outcomes or (self.refreshing and turn % 8 == 0):
                await self._refresh(client, self._stubs[(turn + 1) % len(self._stubs)][1])
            await self.clock.sleep(_PAUSE)

    async def _ask(self, door: "tuple[str, AuthServiceAsyncStub]", token: str, kid: str) -> str:
        asked_at = self.clock.elapsed()
        try:
            response = await door[1].VerifyToken(
                pb.VerifyTokenRequest(access_token=token, audience=D1), timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        else:
            inactive = types_pb2.InactiveReason.Name(response.inactive.reason)
            outcome = "active" if response.HasField("active") else inactive.removeprefix("INACTIVE_REASON_")
        self.seen.append(Seen(asked_at, door[0], kid, outcome))
        return outcome

    async def _judge(self, door: tuple[str, Verifier], token: str, kid: str) -> str:
        asked_at = self.clock.elapsed()
        verdict = await door[1].verify(token)
        match verdict:
            case Active():
                outcome = "active"
            case Inactive(reason=reason):
                outcome = reason.name
            case _:
                outcome = f"cannot know: {verdict.cause.name}"
        self.seen.append(Seen(asked_at, door[0], kid, outcome))
        return outcome

    async def _refresh(self, client: Client, stub: "AuthServiceAsyncStub") -> None:
        request = pb.RefreshTokenRequest(refresh_token=client.refresh)
        try:
            answer = await stub.RefreshToken(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            client.refusals.append(error.code().name)
            return
        if answer.session_id != client.session_id:
            client.refusals.append("another session")
        client.access, client.refresh = answer.tokens.access_token, answer.tokens.refresh_token
