"""The gRPC server: options, start, and a stop that loses nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import grpc.aio

from authsvc.ports import Clock
from authsvc.rpc import health as health_service
from authsvc.rpc import reflection as reflection_service
from authsvc.rpc.health import Health
from authsvc.rpc.tls import GrpcTls
from authsvc.rpc.wrapper import Service, Wrapper
from authsvc.service.waiting import Unbroken
from authsvc.service.watch import Watches

# Until clients have read that the connection goes: who hears NOT_SERVING on it before would wait for us.
_GOING = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """
    Where to listen and within what bounds.

    `drain_wait` is how long NOT_SERVING is announced before new calls are refused; `stop_grace` how long running
    calls may then take. A batch of 1,000 tokens is about 1 MiB. With `reuse_port` other processes may serve the
    same port; without it a second start there fails.

    With `tls` both ports speak TLS 1.2 or newer. `keys_port`, beside a client CA, is one that asks for no client
    certificate: for callers with service keys.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    max_message_bytes: int = 4 * 1024 * 1024
    max_metadata_bytes: int = 16 * 1024
    max_concurrent_streams: int = 1000
    connection_age: timedelta = timedelta(minutes=30)
    drain_wait: timedelta = timedelta(seconds=1)
    stop_grace: timedelta = timedelta(seconds=10)
    reflection: bool = True
    reuse_port: bool = False
    tls: GrpcTls | None = None
    keys_port: int | None = None

    def options(self) -> list[tuple[str, int]]:
        """Return the channel options of the server."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            # Clients may ping an idle connection every 10 s; the default tolerates one in 5 minutes and then says
            # GOAWAY too_many_pings (pitfalls page, gRPC).
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # HTTP/2 clients hold few connections for long: ageing them spreads load over replicas again.
            ("grpc.max_connection_age_ms", int(self.connection_age.total_seconds() * 1000)),
            ("grpc.max_connection_age_grace_ms", int(self.stop_grace.total_seconds() * 1000)),
            # Not shared by accident: a second start on the same port must fail loudly.
            ("grpc.so_reuseport", int(self.reuse_port)),
        ]


class PortTaken(Exception):
    """The address could not be bound."""


class GrpcServer:
    """Binds, serves, drains."""

    def __init__(
        self,
        *,
        services: Mapping[str, Service],
        wrapper: Wrapper,
        settings: GrpcSettings,
        watches: Watches,
        unbroken: Unbroken,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._watches = watches
        self._unbroken = unbroken
        self._clock = clock
        self._services = services
        self._wrapper = wrapper
        self.health = Health(services)
        self._server: grpc.aio.Server | None = None
        self.address = ""
        self.keys_address = ""

    async def start(self) -> str:
        """
        Bind, serve, say SERVING, and return the address as `host:port`.

        Raises:
            PortTaken: the address is in use or not ours to bind.

        """
        settings = self._settings
        server = grpc.aio.server(options=settings.options())
        registered = {**self._services, health_service.NAME: self.health.methods()}
        if settings.reflection:
            names = (*registered, reflection_service.NAME)
            registered[reflection_service.NAME] = reflection_service.methods(names)
        server.add_generic_rpc_handlers(
            (
                *(self._wrapper.service(name, methods) for name, methods in registered.items()),
                self._wrapper.unmatched(),
            )
        )
        address = _bind(server, settings, settings.port, ask_clients=True)
        if settings.keys_port is not None:
            self.keys_address = _bind(server, settings, settings.keys_port, ask_clients=False)
        await server.start()
        self._server = server
        await self.health.set_serving(serving=True)
        self.address = address
        return self.address

    async def stop(self, *, siblings: bool = False) -> None:
        """
        Drain: NOT_SERVING, wait for clients to notice, end the streams, let running calls finish, finish writes.

        With *siblings*, others serve the same port: connections are told to go away at once, and find one of them.
        NOT_SERVING would keep a client that has this one address waiting for the very process that leaves.

        Idempotent. Cancelling it stops at once.
        """
        server, self._server = self._server, None
        if server is None:
            return
        grace = self._settings.stop_grace.total_seconds()
        try:
            if siblings:
                going = asyncio.ensure_future(server.stop(grace))
                await self._clock.sleep(_GOING)
                await self.health.drain()
                self._watches.drain()
                await going
            else:
                await self.health.drain()
                await self._clock.sleep(self._settings.drain_wait)
                self._watches.drain()
                await server.stop(grace)
        except asyncio.CancelledError:
            await server.stop(None)
            raise
        await self._unbroken.drained()


def _bind(server: grpc.aio.Server, settings: GrpcSettings, port: int, *, ask_clients: bool) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    wanted, tls = f"{host}:{port}", settings.tls
    try:
        if tls is None:
            bound = server.add_insecure_port(wanted)
        else:
            ask = ask_clients and tls.asks_clients
            bound = server.add_secure_port(wanted, tls.credentials(ask_clients=ask))
    except RuntimeError:
        bound = 0
    if not bound:
        raise PortTaken(f"cannot bind {wanted}")
    return f"{host}:{bound}"
