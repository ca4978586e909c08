"""Who may call a server of this process: the authenticator, the callers behind it, and the files that declare them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from authsvc.app.certificates import CertificateProblem, FileWatch, read_tls
from authsvc.app.world import World
from authsvc.config import Settings
from authsvc.config.principals import PrincipalsFileProblem, load_principals
from authsvc.domain.apps import AppRegistry
from authsvc.domain.principals import Declared
from authsvc.ports import CallerStore, Event
from authsvc.rpc.principals import Authenticator, CredentialAuthenticator, LocalAuthenticator
from authsvc.rpc.tls import GrpcTls
from authsvc.rpc.wrapper import Wrapper
from authsvc.service.callers import CallerDirectory
from authsvc.service.tail import LogTail


class Callers:
    """
    The callers and the certificates of one gRPC server.

    *declared* are principals of the process itself (its own edge, say), beside those of the principals file.
    """

    def __init__(self, settings: Settings, *, declared: Sequence[Declared], world: World) -> None:
        self._settings = settings
        self._own = tuple(declared)
        self._world = world
        self._directory: CallerDirectory | None = None
        self._watches: list[FileWatch] = []
        self.tls = self._read_tls()

    def authenticator(self, *, store: CallerStore, tail: LogTail, apps: AppRegistry) -> Authenticator:
        """Return what tells who calls: `local` where nobody is asked."""
        settings, world = self._settings, self._world
        if not settings.asks_callers:
            return LocalAuthenticator(roles=frozenset(settings.local_roles), apps=apps)
        self._directory = CallerDirectory(
            store=store, tail=tail, apps=apps, clock=world.clock, observer=world.telemetry
        )
        return CredentialAuthenticator(
            by_key=self._directory.by_key, by_certificate=self._directory.by_certificate
        )

    async def start(self, wrapper: Wrapper) -> None:
        """
        Know the callers, end the streams of those who may not call any more, and keep up with all files.

        Raises:
            StoreUnavailable: the record cannot be read.
            PrincipalsFileProblem: the principals file cannot be used.

        """
        settings = self._settings
        if self._directory is not None:
            self._directory.declare(self._declared())
            await self._directory.start()
            self._directory.on_change = wrapper.reconsider
            self._watch([settings.principals_file], self._reread_principals)
        if self.tls is not None:
            paths = [settings.grpc_certificate, settings.grpc_certificate_key, settings.grpc_client_ca]
            self._watch(paths, self._reread_tls)

    async def stop(self) -> None:
        """End the keeping up. Idempotent."""
        for watch in self._watches:
            await watch.stop()
        if self._directory is not None:
            await self._directory.stop()

    def reread(self) -> None:
        """Have all files read again, soon."""
        for watch in self._watches:
            watch.ask()

    def _watch(self, paths: list[str], changed: Callable[[], Awaitable[None]]) -> None:
        watch = FileWatch(paths, clock=self._world.clock, changed=changed)
        watch.start()
        self._watches.append(watch)

    def _declared(self) -> tuple[Declared, ...]:
        path = self._settings.principals_file
        return (*self._own, *(load_principals(path) if path else ()))

    def _read_tls(self) -> GrpcTls | None:
        settings = self._settings
        if not (settings.grpc_certificate or settings.grpc_certificate_key or settings.grpc_client_ca):
            return None
        return GrpcTls(
            read_tls(
                settings.grpc_certificate,
                settings.grpc_certificate_key,
                settings.grpc_client_ca,
                prefix="grpc",
            )
        )

    async def _reread_principals(self) -> None:
        assert self._directory is not None
        try:
            declared = await asyncio.to_thread(self._declared)
        except PrincipalsFileProblem as problem:
            error = "; ".join(problem.complaints)
            self._tell(Event("callers.not_reloaded", level="error", fields={"error": error}))
            return
        self._directory.declare(declared)
        self._tell(Event("callers.reloaded", fields={"principals": len(declared) - len(self._own)}))

    async def _reread_tls(self) -> None:
        settings = self._settings
        assert self.tls is not None
        try:
            material = await asyncio.to_thread(
                read_tls,
                settings.grpc_certificate,
                settings.grpc_certificate_key,
                settings.grpc_client_ca,
                prefix="grpc",
            )
        except CertificateProblem as problem:
            tell_certificates(self._world, "grpc", problem)
            return
        self.tls.exchange(material)
        tell_certificates(self._world, "grpc")

    def _tell(self, event: Event) -> None:
        self._world.telemetry.event(event)


def tell_certificates(world: World, listener: str, problem: CertificateProblem | None = None) -> None:
    """Report that a listener's certificate was exchanged, or why it was not."""
    if problem is None:
        world.telemetry.event(Event("certificate.reloaded", fields={"listener": listener}))
        return
    fields = {"listener": listener, "error": "; ".join(problem.complaints)}
    world.telemetry.event(Event("certificate.not_reloaded", level="error", fields=fields))
