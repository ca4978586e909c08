"""
The sandbox on a socket: the listener, and the switches that only a server has.

Listens where it is told, loopback by default, and connects to nothing. What it serves is put together in
``application``; who may be answered is judged in ``gate``.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from datetime import timedelta
from typing import Final

from aiohttp import web

from authsvc.deadlines import DEADLINES, Connections, Deadlines
from authsvc.sandbox import gate
from authsvc.sandbox.application import Busy, application
from authsvc.sandbox.arrivals import Arrivals
from authsvc.sandbox.clock import SteeredClock
from authsvc.sandbox.cloud import Cloud
from authsvc.sandbox.faults import Fault, FaultPlan, parse_fault
from authsvc.sandbox.needs import Clock, Entropy
from authsvc.sandbox.parts import Parts
from authsvc.sandbox.people import People
from authsvc.sandbox.port import Port
from authsvc.sandbox.user_data import Kind, UserData, make_user_data
from authsvc.sandbox.vectors import self_check
from authsvc.sandbox.world import World

_KEEP_ALIVE: Final = timedelta(seconds=75)


class SandboxServer:
    """
    One running sandbox.
    """

    def __init__(
        self,
        *,
        world: World,
        clock: Clock,
        entropy: Entropy,
        host: str = "127.0.0.1",
        port: int = 0,
        check_host: bool = True,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        Port 0 takes a free one. ``check_host`` serves only local Host names while bound to loopback. ``tls`` makes it
        speak HTTPS only. ``deadlines`` bound slow peers.
        """
        self.world = world
        self.people = People(world)
        self.cloud = Cloud(world)
        self.faults = FaultPlan()
        self.arrivals = Arrivals(secrets=[app.secret for app in world.apps])
        self.clock = SteeredClock(clock)
        self._entropy = entropy
        self._tls = tls
        self._deadlines = deadlines
        self._port = Port(host, port)
        self._check_host = check_host and gate.is_loopback(host)
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self._listener: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._busy = Busy()

    @property
    def base_url(self) -> str:
        """
        Where it listens, without a slash at the end. The port is known once started.
        """
        return f"{'http' if self._tls is None else 'https'}://{self._port.authority}"

    @property
    def port(self) -> int:
        """
        The port, the chosen one once started.
        """
        return self._port.number

    async def start(self) -> None:
        """
        Connections are served.

        Raises:
            OSError: the address cannot be bound.
            SelfCheckFailed: WeChat's published examples are not reproduced on this machine.
        """
        self_check()
        assert self._runner is None, "a sandbox server is started once at a time"
        runner = web.AppRunner(
            application(
                self._parts(),
                entropy=self._entropy,
                check_host=self._check_host,
                busy=self._busy,
                switchboard=self,
                deadlines=self._deadlines,
            ),
            # A fault's wait ends when its client goes away.
            handler_cancellation=True,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        assert runner.server is not None, "set up makes it"
        self._runner = runner
        # They write no access log: it would hold the query, secret included.
        self._connections = Connections(runner.server, deadlines=self._deadlines, keep_alive=_KEEP_ALIVE)
        try:
            await self._listen(self._port.bind())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """
        Nothing listens, and every connection is gone, whatever it was waiting for. Stopping twice is fine.
        """
        await self._forget_reopening()
        runner, self._runner = self._runner, None
        self._close_listener()
        if self._connections is not None:
            self._connections.stop_looking()
        if self._held is not None:
            self._held.close()
            self._held = None
        if runner is None:
            return
        if runner.server is not None:
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()

    def mint(
        self,
        app_id: str,
        user: str,
        *,
        code: str | None = None,
        fault: str | Fault | None = None,
        fault_times: int | None = 1,
    ) -> str:
        """
        A login code, as ``POST /sandbox/v1/codes`` hands out.

        Raises:
            UnknownApp, BadInput, CodeTaken: as ``World.mint``.
            BadFault: there is no such fault.
        """
        parsed = parse_fault(fault) if isinstance(fault, str) else fault
        minted = self.world.mint(app_id, user=user, now=self.clock.now(), code=code)
        if parsed is not None:
            self.faults.bind(minted, fault=parsed, times=fault_times)
        return minted

    def mint_phone(
        self,
        app_id: str,
        user: str,
        *,
        code: str | None = None,
        fault: str | Fault | None = None,
        fault_times: int | None = 1,
    ) -> str:
        """
        A phone code, as ``POST /sandbox/v1/phone-codes`` hands out. The number behind it is the user's:
        ``world.phones.of(user)``.

        Raises:
            UnknownApp, BadInput, CodeTaken: as ``World.mint``.
            BadFault: there is no such fault.
        """
        parsed = parse_fault(fault) if isinstance(fault, str) else fault
        minted = self.people.mint_phone(app_id, user=user, now=self.clock.now(), code=code)
        if parsed is not None:
            self.faults.bind(minted, fault=parsed, times=fault_times)
        return minted

    def user_data(
        self, app_id: str, user: str, *, kind: Kind = "user", variant: str = "faithful"
    ) -> UserData:
        """
        Encrypted and signed data of the user, or a hostile variant of it: ``user_data.VARIANTS``.

        Raises:
            UnknownApp: no such app.
            BadInput: no such variant, or the user never logged in.
        """
        return make_user_data(self.world, app_id, user=user, now=self.clock.now(), kind=kind, variant=variant)

    def requests_for(self, code: str) -> int:
        """
        How many requests with this code arrived on the wire.
        """
        return self.arrivals.count(code)

    async def refuse(self, duration: timedelta | None = None) -> None:
        """
        New connections are refused and idle ones closed, until ``accept`` or, on the sandbox's clock,
        for ``duration``. The port stays ours.
        """
        await self._forget_reopening()
        if self._listener is not None:
            self._close_listener()
            self.close_idle()
            self._held = await self._port.hold()
        if duration is not None:
            self._reopening = asyncio.create_task(self._accept_after(duration))

    async def accept(self) -> None:
        """
        Connections are served again.
        """
        await self._forget_reopening()
        await self._reopen()

    def close_idle(self) -> int:
        """
        Connections without a request in progress are closed, as a peer may at any time; how many.
        """
        server = self._runner.server if self._runner is not None else None
        idle = [
            connection.transport
            for connection in (server.connections if server is not None else [])
            if connection.transport is not None and connection.transport not in self._busy.transports
        ]
        for transport in idle:
            transport.close()
        return len(idle)

    def _parts(self) -> Parts:
        return Parts(
            world=self.world,
            people=self.people,
            cloud=self.cloud,
            plan=self.faults,
            arrivals=self.arrivals,
            clock=self.clock,
        )

    async def _listen(self, listener: socket.socket) -> None:
        assert self._connections is not None, "listening starts after the runner is set up"
        handshake = self._deadlines.header.total_seconds() if self._tls else None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._connections,
                sock=listener,
                backlog=1024,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
            )
        except BaseException:
            listener.close()
            raise

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def _reopen(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._listen(held)

    async def _accept_after(self, duration: timedelta) -> None:
        await self.clock.sleep(duration)
        self._reopening = None
        await self._reopen()

    async def _forget_reopening(self) -> None:
        task, self._reopening = self._reopening, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
