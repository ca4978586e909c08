"""
The sandbox in a thread of its own: for tests of any SDK, synchronous or not, that talks to WeChat by a base URL.

``with SandboxThread(clock=…, entropy=…) as wechat:`` serves on a free port until the block ends. A ready-made pytest
fixture over the machine's clock is in ``authsvc.cli.sandbox_fixture``. Every method may be called from any thread.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

from authsvc.sandbox.apps import SANDBOX_APPS, SandboxApp
from authsvc.sandbox.arrivals import Arrival
from authsvc.sandbox.faults import parse_fault
from authsvc.sandbox.needs import Clock, Entropy
from authsvc.sandbox.server import SandboxServer
from authsvc.sandbox.user_data import Kind, UserData
from authsvc.sandbox.world import World

T = TypeVar("T")


class SandboxThread:
    """
    One running sandbox. Where an ``app_id`` is left out, the first app is meant.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        entropy: Entropy,
        apps: Iterable[SandboxApp] = SANDBOX_APPS,
        allow_real: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Raises:
            ValueError: the list of apps is malformed.
            RealLookingCredential: it holds what looks like a real app, and ``allow_real`` is off.
        """
        world = World(apps, entropy=entropy, allow_real=allow_real)
        self._server = SandboxServer(world=world, clock=clock, entropy=entropy, tls=tls)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """
        What stands for ``https://api.weixin.qq.com``, without a slash at the end.
        """
        return self._server.base_url

    @property
    def app(self) -> SandboxApp:
        """
        The first app, with its present secret.
        """
        return self.apps[0]

    @property
    def apps(self) -> tuple[SandboxApp, ...]:
        """
        Every app, with its present secret.
        """
        return self.run(lambda server: server.world.apps)

    def start(self) -> None:
        """
        Connections are served.

        Raises:
            OSError: no port could be bound.
            SelfCheckFailed: WeChat's published examples are not reproduced on this machine.
        """
        assert self._thread is None, "a sandbox thread is started once at a time"
        started: Future[None] = Future()
        thread = threading.Thread(target=self._main, args=(started,), name="wechat-sandbox", daemon=True)
        thread.start()
        self._thread = thread
        try:
            started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """
        Nothing listens, and the thread has ended. Stopping twice is fine.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # the loop has ended by itself: it could not start
                self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    def run(self, function: Callable[[SandboxServer], T]) -> T:
        """
        What the function returns or raises, called in the sandbox's thread: the way to everything that has no
        method here, such as ``lambda server: server.world.switches``.
        """
        loop = self._loop
        if loop is None or self._thread is None or threading.current_thread() is self._thread:
            return function(self._server)
        outcome: Future[T] = Future()

        def call() -> None:
            try:
                outcome.set_result(function(self._server))
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                outcome.set_exception(error)

        loop.call_soon_threadsafe(call)
        return outcome.result()

    def mint(
        self,
        user: str = "alice",
        *,
        app_id: str | None = None,
        code: str | None = None,
        fault: str | None = None,
        fault_times: int | None = 1,
    ) -> str:
        """
        A login code, as ``wx.login`` hands out; see ``SandboxServer.mint``.
        """
        return self.run(
            lambda server: server.mint(
                app_id or _first(server), user, code=code, fault=fault, fault_times=fault_times
            )
        )

    def mint_phone(
        self,
        user: str = "alice",
        *,
        app_id: str | None = None,
        code: str | None = None,
        fault: str | None = None,
        fault_times: int | None = 1,
    ) -> str:
        """
        A phone code, as the ``getPhoneNumber`` button hands out; see ``SandboxServer.mint_phone``.
        """
        return self.run(
            lambda server: server.mint_phone(
                app_id or _first(server), user, code=code, fault=fault, fault_times=fault_times
            )
        )

    def phone_of(self, user: str = "alice") -> str:
        """
        The user's phone number without its country code.
        """
        return self.run(lambda server: server.world.phones.of(user).pure)

    def openid_of(self, user: str = "alice", *, app_id: str | None = None) -> str:
        """
        The user's openid in the app.
        """
        return self.run(lambda server: server.world.identity(app_id or _first(server), user=user).openid)

    def user_data(
        self,
        user: str = "alice",
        *,
        app_id: str | None = None,
        kind: Kind = "user",
        variant: str = "faithful",
    ) -> UserData:
        """
        Encrypted and signed data, or a hostile variant; see ``SandboxServer.user_data``.
        """
        return self.run(
            lambda server: server.user_data(app_id or _first(server), user, kind=kind, variant=variant)
        )

    def fail(
        self, fault: str, *, app_id: str | None = None, path: str | None = None, times: int | None = None
    ) -> None:
        """
        The fault strikes the requests of an app, or of every app, to a path, or to every path, that many times, or
        until ``heal``.

        Raises:
            BadFault: there is no such fault.
        """
        parsed = parse_fault(fault)
        self.run(lambda server: server.faults.put(parsed, app_id=app_id, path=path, times=times))

    def heal(self) -> None:
        """
        No fault waits any more.
        """
        self.run(lambda server: server.faults.clear())

    def advance(self, duration: timedelta) -> None:
        """
        It is that much later at WeChat.
        """
        self.run(lambda server: server.clock.advance(duration))

    def change_secret(self, secret: str, *, app_id: str | None = None) -> None:
        """
        The app's old secret is refused with 40125, this one works.

        Raises:
            RealLookingCredential: it looks real, and real ones are not allowed.
        """

        def change(server: SandboxServer) -> None:
            server.world.book.change_secret(app_id or _first(server), secret)
            server.arrivals.hide(secret)

        self.run(change)

    def revoke_tokens(self, *, app_id: str | None = None) -> int:
        """
        Every live access token of the app is worth 40001 from now on; how many those were.
        """
        return self.run(
            lambda server: server.world.tokens.revoke(app_id or _first(server), now=server.clock.now())
        )

    def requests(self, *, code: str | None = None) -> list[Arrival]:
        """
        What arrived, oldest first; with ``code`` only what carried it. Secrets and tokens are masked.
        """
        return self.run(lambda server: server.arrivals.select(code=code))

    def _main(self, started: "Future[None]") -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: "Future[None]") -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            await self._server.start()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            await self._stopping.wait()
        finally:
            self._loop = None
            await self._server.stop()


def _first(server: SandboxServer) -> str:
    return server.world.apps[0].app_id
