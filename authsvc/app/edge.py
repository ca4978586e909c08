"""The HTTP edge of a process."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import grpc.aio

from authsvc.app.callers import tell_certificates
from authsvc.app.certificates import CertificateProblem, EdgeTls, FileWatch
from authsvc.app.channels import Credentials, RenewableChannel
from authsvc.app.world import World
from authsvc.config import Environment, Settings, is_loopback
from authsvc.edge.app import create_edge
from authsvc.edge.server import EdgeServer
from authsvc.edge.settings import EdgeSettings
from authsvc.ops import Probe
from authsvc_client import Settings as VerifierSettings
from authsvc_client import Verifier

# No token is meant for it: without audiences of its own an edge asks the server where a request names none.
_NO_AUDIENCE = "-"
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Edge:
    """
    The HTTP edge: a client of the contract, whatever process it lives in.

    *audiences* are its own where no setting names them: of whoever knows the apps. *credentials* are those with which it
    calls, by default those of the settings. Certificates are read again when their files change.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        target: str,
        world: World,
        audiences: Sequence[str] = (),
        credentials: Credentials | None = None,
    ) -> None:
        self._settings = settings
        self._audiences = tuple(settings.edge_audiences or audiences)
        self._target = target
        self._world = world
        self._credentials = credentials or Credentials.of(settings)
        self._channel: grpc.aio.Channel | None = None
        self._verifier: Verifier | None = None
        self._server: EdgeServer | None = None
        self._tls: EdgeTls | None = None
        self._watches: list[FileWatch] = []

    async def start(self) -> str:
        """
        Serve, and return the base URL.

        Raises:
            OSError: the address cannot be bound.
            CertificateProblem: a certificate cannot be used.

        """
        settings = self._settings
        if settings.http_certificate or settings.http_certificate_key:
            self._tls = EdgeTls(settings.http_certificate, settings.http_certificate_key)
        check_host = settings.env is not Environment.PROD and is_loopback(settings.http_host)
        edge_settings = EdgeSettings(
            default_app=settings.default_app,
            audiences=self._audiences,
            language=settings.language,
            trusted_proxies=settings.trusted_proxies,
            allowed_hosts=_LOCAL_HOSTS if check_host else None,
            origins=frozenset(settings.http_origins),
            is_https=self._tls is not None,
            forged_tokens=settings.rate("limit_forged_ip", wide=settings.env is Environment.DEV),
        )
        self._channel = self._open_channel()
        world = self._world
        # Whatever an audience is asked for, it is named per call; the edge's own stand in its settings.
        self._verifier = Verifier(
            self._channel,
            audience=next(iter(self._audiences), _NO_AUDIENCE),
            settings=VerifierSettings(hard_bound=timedelta(seconds=settings.hard_bound)),
        )
        await self._verifier.start(wait=timedelta(0))
        app = create_edge(
            channel=self._channel,
            settings=edge_settings,
            observer=world.telemetry,
            clock=world.clock,
            entropy=world.entropy,
            verifier=self._verifier,
        )
        self._server = EdgeServer(
            app,
            host=settings.http_host,
            port=settings.http_port,
            settings=edge_settings,
            tls=None if self._tls is None else self._tls.context,
        )
        try:
            address = await self._server.start()
        except OSError:
            await self.stop()
            raise
        self._watch([settings.http_certificate, settings.http_certificate_key], self._renew_tls)
        self._watch(self._credentials.files, self._renew_channel)
        return address

    async def stop(self) -> None:
        """Answer what is in flight and close. Idempotent."""
        for watch in self._watches:
            await watch.stop()
        if self._server is not None:
            await self._server.stop(timedelta(seconds=self._settings.stop_grace))
        if self._verifier is not None:
            await self._verifier.aclose()
        if self._channel is not None:
            await self._channel.close(None)

    def _open_channel(self) -> grpc.aio.Channel:
        options = [
            # Login appears in no retry policy; the channel itself must not retry anything either.
            ("grpc.enable_retries", 0),
            # A restarted server is found again within about a second.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        credentials = self._credentials
        if not (credentials.files or credentials.metadata):
            return grpc.aio.insecure_channel(self._target, options=options)
        return RenewableChannel(self._target, credentials, options=options)

    def _watch(self, paths: list[str], changed: Callable[[], Awaitable[None]]) -> None:
        watch = FileWatch(paths, clock=self._world.clock, changed=changed)
        watch.start()
        self._watches.append(watch)

    async def _renew_tls(self) -> None:
        assert self._tls is not None
        settings = self._settings
        try:
            self._tls.exchange(settings.http_certificate, settings.http_certificate_key)
        except CertificateProblem as problem:
            tell_certificates(self._world, "http", problem)
        else:
            tell_certificates(self._world, "http")

    async def _renew_channel(self) -> None:
        assert isinstance(self._channel, RenewableChannel)
        try:
            self._channel.renew()
        except CertificateProblem as problem:
            tell_certificates(self._world, "grpc_client", problem)
        else:
            tell_certificates(self._world, "grpc_client")

    def probes(self) -> dict[str, Probe]:
        """Return what `/readyz` asks."""
        return {"edge": self._probe}

    async def _probe(self) -> str:
        return "" if self._server is not None else "not serving"
