"""
The composition root: settings become running parts, and stop in the order that loses nothing.

The only place that knows which adapter stands behind which port. Starting processes and reading command lines is
the business of `supervisor` and `cli`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import grpc.aio

from authsvc.config import ConfiguredApp, Environment, Settings, is_loopback
from authsvc.domain.apps import AppRegistry
from authsvc.domain.errors import AuthError
from authsvc.edge.app import create_edge
from authsvc.edge.server import EdgeServer
from authsvc.edge.settings import EdgeSettings
from authsvc.keys import DirectoryKeys, MasterRing
from authsvc.ops import Exposition, OpsServer, Probe
from authsvc.ports import Clock, Entropy, Store
from authsvc.rpc import auth_service, key_service, revocation_service, session_service
from authsvc.rpc.convert import Cursors
from authsvc.rpc.principals import LocalAuthenticator
from authsvc.rpc.server import GrpcServer, GrpcSettings
from authsvc.rpc.verdicts import VerdictEncoder
from authsvc.rpc.wrapper import Wrapper
from authsvc.service.issue import TokenIssuer
from authsvc.service.keys import KeyDirectory
from authsvc.service.login import Logins
from authsvc.service.refresh import Refreshes
from authsvc.service.retention import Retention
from authsvc.service.revoke import Revocations
from authsvc.service.sessions import Sessions
from authsvc.service.tail import LogTail
from authsvc.service.verify import TokenVerifier
from authsvc.service.view import RevocationView
from authsvc.service.waiting import Unbroken
from authsvc.service.watch import Watches
from authsvc.storage import open_store
from authsvc.telemetry import Telemetry
from authsvc.wechat import WeChatClient, WeChatSettings

# DESIGN section 3: judgements that several hosts must agree on use the record's clock.
_SKEW_LIMIT = timedelta(seconds=2)
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class World:
    """What every part is given: the clock, the dice, and where to report."""

    clock: Clock
    entropy: Entropy
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Secrets:
    """The key material of one server."""

    master: MasterRing
    signing: DirectoryKeys


class AuthServer:
    """
    The gRPC server with everything behind it. `start` returns its address; `stop` drains.

    With *reuse_port* it is one of several workers on its port, whose supervisor keeps strangers off it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        apps: Sequence[ConfiguredApp],
        secrets: Secrets,
        database: str,
        world: World,
        reuse_port: bool = False,
    ) -> None:
        self._settings = settings
        self._reuse_port = reuse_port
        self._configured = apps
        self._secrets = secrets
        self._database = database
        self._world = world
        self._stack = AsyncExitStack()
        self._grpc: GrpcServer | None = None
        self._tail: LogTail | None = None
        self._store: Store | None = None

    async def start(self) -> str:
        """
        Open the record, load the view, serve; return the address as `host:port`.

        Raises:
            SchemaNotCurrent: the database must be migrated first.
            StoreUnavailable: the record cannot be read.
            PortTaken: the address cannot be bound.

        """
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self, *, siblings: bool = False) -> None:
        """Drain (see GrpcServer.stop) and let go of everything. Idempotent."""
        if siblings and self._grpc is not None:
            await self._grpc.stop(siblings=True)
        await self._stack.aclose()

    def probes(self) -> dict[str, Probe]:
        """Return what `/readyz` asks."""
        return {"grpc": self._probe_grpc, "revocations": self._probe_tail, "store": self._probe_store}

    async def _start(self) -> str:
        settings, world = self._settings, self._world
        clock, entropy, observer = world.clock, world.entropy, world.telemetry
        registry = AppRegistry({app.id: app.policy() for app in self._configured})
        rings = self._secrets.master.rings()

        replica, direct = settings.database_read_url, settings.database_listen_url
        listen_url = self._database if direct is None else direct.get_secret_value()
        store = await open_store(
            self._database,
            clock=clock,
            entropy=entropy,
            observer=observer,
            read_url=None if replica is None else replica.get_secret_value(),
            listen_url=listen_url if settings.database_notifications else None,
            pool_size=settings.database_pool_size,
            answer_within=timedelta(seconds=settings.database_answer_within),
        )
        self._stack.push_async_callback(store.close)
        keys = KeyDirectory(store=store, material=self._secrets.signing, clock=clock)
        await keys.start()
        tail = LogTail(
            log=store,
            view=RevocationView(),
            clock=clock,
            observer=observer,
            hard_bound=timedelta(seconds=settings.hard_bound),
        )
        await tail.start()
        self._stack.push_async_callback(tail.stop)
        retention = Retention(
            store=store,
            clock=clock,
            entropy=entropy,
            observer=observer,
            session_retention=timedelta(days=settings.session_retention),
        )
        retention.start()
        self._stack.push_async_callback(retention.stop)
        wechat = WeChatClient(
            apps={app.id: app.wechat() for app in self._configured},
            clock=clock,
            entropy=entropy,
            observer=observer,
            settings=WeChatSettings(refuse_sandbox=settings.env is Environment.PROD),
        )
        await wechat.start()
        self._stack.push_async_callback(wechat.close)

        unbroken = Unbroken()
        issuer = TokenIssuer(keys=keys, rings=rings, clock=clock, entropy=entropy, issuer=settings.issuer)
        verifier = TokenVerifier(
            keys=keys,
            tail=tail,
            apps=registry,
            clock=clock,
            issuer=settings.issuer,
            cache_size=settings.token_cache_size,
        )
        watches = Watches(log=store, tail=tail, clock=clock, observer=observer)
        cursors = Cursors(rings.cursor)
        auth = auth_service.AuthServicer(
            logins=Logins(
                apps=registry,
                store=store,
                wechat=wechat,
                sealer=self._secrets.master.sealer(entropy),
                rings=rings,
                keys=keys,
                issuer=issuer,
                tail=tail,
                clock=clock,
                entropy=entropy,
                observer=observer,
                unbroken=unbroken,
            ),
            refreshes=Refreshes(
                apps=registry,
                store=store,
                rings=rings,
                keys=keys,
                issuer=issuer,
                tail=tail,
                entropy=entropy,
                observer=observer,
                unbroken=unbroken,
            ),
            verifier=verifier,
            revocations=Revocations(
                apps=registry,
                store=store,
                rings=rings,
                verifier=verifier,
                tail=tail,
                clock=clock,
                observer=observer,
                unbroken=unbroken,
            ),
            verdicts=VerdictEncoder(tail=tail, cursors=cursors),
            cursors=cursors,
            clock=clock,
        )
        sessions = session_service.SessionServicer(
            sessions=Sessions(store=store, verifier=verifier, tail=tail),
            cursors=cursors,
            page_ring=rings.cursor,
            clock=clock,
        )
        jwks = key_service.KeyServicer(
            keys=keys,
            view=tail.view,
            issuer=settings.issuer,
            apps=registry,
        )
        revocations = revocation_service.RevocationServicer(watches=watches, cursors=cursors)
        server = GrpcServer(
            services={
                auth_service.NAME: auth.methods(),
                session_service.NAME: sessions.methods(),
                key_service.NAME: jwks.methods(),
                revocation_service.NAME: revocations.methods(),
            },
            wrapper=Wrapper(
                authenticator=LocalAuthenticator(roles=frozenset(settings.local_roles), apps=registry),
                clock=clock,
                entropy=entropy,
                observer=observer,
            ),
            settings=_grpc_settings(settings, reuse_port=self._reuse_port),
            watches=watches,
            unbroken=unbroken,
            clock=clock,
        )
        address = await server.start()
        self._stack.push_async_callback(server.stop)
        observer.gauge("verified_tokens", lambda: float(verifier.cached))
        self._grpc, self._tail, self._store = server, tail, store
        return address

    async def _probe_grpc(self) -> str:
        return "" if self._grpc is not None and self._grpc.health.serving else "not serving"

    async def _probe_tail(self) -> str:
        return (
            "" if self._tail is not None and self._tail.is_fresh() else "the revocation log is not confirmed"
        )

    async def _probe_store(self) -> str:
        if self._store is None:
            return "not open"
        try:
            ahead = await self._store.ping()
        except AuthError:
            return "the record does not answer"
        if abs(ahead) > _SKEW_LIMIT:
            return f"this host's clock is {ahead.total_seconds():+.1f} s off the record's"
        return ""


class Edge:
    """The HTTP edge: a client of the contract, whatever process it lives in."""

    def __init__(self, settings: Settings, *, target: str, world: World) -> None:
        self._settings = settings
        self._target = target
        self._world = world
        self._channel: grpc.aio.Channel | None = None
        self._server: EdgeServer | None = None

    async def start(self) -> str:
        """
        Serve, and return the base URL.

        Raises:
            OSError: the address cannot be bound.

        """
        settings = self._settings
        check_host = settings.env is not Environment.PROD and is_loopback(settings.http_host)
        edge_settings = EdgeSettings(
            default_app=settings.default_app,
            language=settings.language,
            trusted_proxies=settings.trusted_proxies,
            allowed_hosts=_LOCAL_HOSTS if check_host else None,
        )
        self._channel = grpc.aio.insecure_channel(
            self._target,
            options=[
                # Login appears in no retry policy; the channel itself must not retry anything either.
                ("grpc.enable_retries", 0),
                # A restarted server is found again within about a second.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        world = self._world
        app = create_edge(
            channel=self._channel,
            settings=edge_settings,
            observer=world.telemetry,
            clock=world.clock,
            entropy=world.entropy,
        )
        self._server = EdgeServer(
            app, host=settings.http_host, port=settings.http_port, settings=edge_settings
        )
        try:
            return await self._server.start()
        except OSError:
            await self._channel.close(None)
            raise

    async def stop(self) -> None:
        """Answer what is in flight and close. Idempotent."""
        if self._server is not None:
            await self._server.stop(timedelta(seconds=self._settings.stop_grace))
        if self._channel is not None:
            await self._channel.close(None)

    def probes(self) -> dict[str, Probe]:
        """Return what `/readyz` asks."""
        return {"edge": self._probe}

    async def _probe(self) -> str:
        return "" if self._server is not None else "not serving"


def build_ops(
    settings: Settings,
    *,
    world: World,
    probes: Mapping[str, Probe],
    exposition: Exposition | None = None,
    socket: str = "",
) -> OpsServer:
    """
    Return the operations listener, not started.

    *exposition*: where the metrics come from, if not from this process alone. *socket*: the path to listen on, for a
    worker, in place of the configured address.
    """

    async def own() -> tuple[bytes, str]:
        return world.telemetry.exposition(), world.telemetry.content_type

    return OpsServer(
        host=settings.ops_host,
        port=settings.ops_port,
        exposition=exposition or own,
        probes=probes,
        check_host=bool(socket) or is_loopback(settings.ops_host),
        socket=socket,
    )


def _grpc_settings(settings: Settings, *, reuse_port: bool) -> GrpcSettings:
    reflection = settings.grpc_reflection
    return GrpcSettings(
        host=settings.grpc_host,
        port=settings.grpc_port,
        connection_age=timedelta(seconds=settings.connection_age),
        drain_wait=timedelta(seconds=settings.drain_wait),
        stop_grace=timedelta(seconds=settings.stop_grace),
        reflection=settings.env is not Environment.PROD if reflection is None else reflection,
        reuse_port=reuse_port,
    )
