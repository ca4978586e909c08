"""
The server as the edge sees it: stubs, deadlines, and the proof that a login was not sent.

Whoever makes the channel sets `grpc.enable_retries` to 0 and gives Login no retry policy. With that option C-core makes
no transparent retries either; those would be harmless (they happen only where the server provably did not see the
call), but then "at most one Login leaves the edge per request" holds without reading C-core. `grpc.max_reconnect_backoff_ms` of a second or two lets the edge find a
restarted server soon; C-core's own default grows to two minutes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authapi.v1 import (
    AuthServiceAsyncStub,
    AuthServiceStub,
    EraseUserRequest,
    EraseUserResponse,
    KeyServiceAsyncStub,
    KeyServiceStub,
    LoginRequest,
    LoginResponse,
    SessionServiceAsyncStub,
    SessionServiceStub,
    UserServiceAsyncStub,
    UserServiceStub,
    WeChatServiceAsyncStub,
    WeChatServiceStub,
)
from authsvc.edge.backpressure import Backpressure
from authsvc.edge.congestion import Congestion
from authsvc.edge.correlation import Correlation
from authsvc.edge.failures import from_login, tells_overload, unavailable
from authsvc.edge.settings import EdgeSettings
from authsvc.ports import Clock

Answer = TypeVar("Answer", bound=Message)


class Backend:
    """The stubs over one channel."""

    def __init__(
        self, channel: grpc.aio.Channel, settings: EdgeSettings, backpressure: Backpressure, *, clock: Clock
    ) -> None:
        self._backpressure = backpressure
        self._congestion = Congestion(backpressure.room, probe=self.is_serving, clock=clock)
        self._channel = channel
        self._settings = settings
        self._connecting: asyncio.Task[None] | None = None
        self.auth: AuthServiceAsyncStub = AuthServiceStub(channel)
        self.sessions: SessionServiceAsyncStub = SessionServiceStub(channel)
        self.keys: KeyServiceAsyncStub = KeyServiceStub(channel)
        self.wechat: WeChatServiceAsyncStub = WeChatServiceStub(channel)
        self.users: UserServiceAsyncStub = UserServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self.timeout = settings.call_deadline.total_seconds()

    async def login(self, request: LoginRequest, correlation: Correlation) -> LoginResponse:
        """Call Login, once; see `_with_code`."""
        return await self._with_code(self.auth.Login, request, correlation)

    async def erase(self, request: EraseUserRequest, correlation: Correlation) -> EraseUserResponse:
        """Call EraseUser with a login code, once; see `_with_code`."""
        return await self._with_code(self.users.EraseUser, request, correlation)

    async def _with_code(
        self, method: Callable[..., Awaitable[Answer]], request: Message, correlation: Correlation
    ) -> Answer:
        """
        Call a method whose request carries a login code, once.

        Before anything is handed to the channel, the channel must be connected: while it is not, the code provably
        stays here and may be tried again. After that a call without a typed answer has to count as sent.

        Raises:
            Refused: STORE_UNAVAILABLE (not sent), RATE_LIMITED (not sent, the server has too much to do), else what `failures.from_login` makes of the error.

        """
        self._backpressure.admit()
        try:
            self._congestion.watch(self._backpressure.count)
            await self._connected()
            answer = await method(
                request,
                metadata=correlation.metadata,
                timeout=self._settings.login_deadline.total_seconds(),
            )
            self._backpressure.taken()
        except grpc.aio.AioRpcError as error:
            if tells_overload(error):
                self._backpressure.refused()
            else:
                self._backpressure.taken()
            raise from_login(error) from None
        finally:
            self._backpressure.left()
        return answer

    async def is_serving(self) -> bool:
        """Tell whether the server's health service says SERVING (grpc.health.v1, the whole server)."""
        try:
            response = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def aclose(self) -> None:
        """Stop waiting for a connection; the channel itself is its maker's."""
        await self._congestion.aclose()
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting

    async def _connected(self) -> None:
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        if self._connecting is None or self._connecting.done():
            # One watcher for all waiting logins: a cancelled watcher would live on in C-core until the next change.
            self._connecting = asyncio.create_task(self._channel.channel_ready())
        done, _ = await asyncio.wait(
            {self._connecting}, timeout=self._settings.connect_deadline.total_seconds()
        )
        if not done:
            raise unavailable("no connection to the server: login not sent")
