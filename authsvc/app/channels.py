"""
Channels to a gRPC server, with what proves who calls: the client side of TLS, of mTLS and of service keys.

The edge and the commands use them. A service key travels as metadata on plaintext channels too, which gRPC's own call
credentials refuse; that plain text stays on this machine unless an operator says otherwise is judged where a target is
chosen (`require_private`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio

from authsvc.app.certificates import CertificateProblem, read_authorities, read_tls
from authsvc.config import Settings
from authsvc.config.settings import is_local_target

_Options = Sequence[tuple[str, int | str]]
# How long calls that run on a channel whose certificate was exchanged may take.
_OLD_CHANNEL_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a server: files and names of TLS (no `ca`: plain text), and a service key."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    service_key: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Credentials":
        """Return what the settings say."""
        key = settings.service_key
        return cls(
            ca=settings.grpc_ca,
            certificate=settings.grpc_client_certificate,
            key=settings.grpc_client_certificate_key,
            server_name=settings.grpc_server_name,
            service_key="" if key is None else key.get_secret_value(),
        )

    @property
    def files(self) -> list[str]:
        """The files whose change needs a new channel."""
        return [path for path in (self.ca, self.certificate, self.key) if path]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.service_key}"),) if self.service_key else ()

    def transport(self) -> grpc.ChannelCredentials | None:
        """
        Return the channel credentials, None for plain text.

        Raises:
            CertificateProblem: a file cannot be used.

        """
        if not self.ca:
            if self.certificate or self.key:
                raise CertificateProblem(["grpc_ca: is missing; a client certificate needs TLS"])
            return None
        roots = read_authorities(self.ca, "grpc_ca")
        if not (self.certificate or self.key):
            return grpc.ssl_channel_credentials(roots)
        own = read_tls(self.certificate, self.key, prefix="grpc_client")
        return grpc.ssl_channel_credentials(roots, own.key, own.chain)

    def options(self) -> list[tuple[str, int | str]]:
        """Return the channel options that they need."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []

    def require_private(self, target: str) -> None:
        """
        Return if nobody can listen to a service key on its way to *target*.

        Raises:
            CertificateProblem: it would leave this machine in plain text.

        """
        if self.service_key and not self.ca and not is_local_target(target):
            raise CertificateProblem(
                ["grpc_ca: is missing; the service key would leave this machine in plain text"]
            )


def open_channel(
    target: str, credentials: Credentials, *, metadata: Sequence[tuple[str, str]] = ()
) -> grpc.Channel:
    """
    Return a blocking channel; every call carries *metadata* beside the credentials'.

    Raises:
        CertificateProblem: a file cannot be used.

    """
    transport, options = credentials.transport(), credentials.options()
    if transport is None:
        channel = grpc.insecure_channel(target, options=options)
    else:
        channel = grpc.secure_channel(target, transport, options=options)
    added = (*credentials.metadata, *metadata)
    return grpc.intercept_channel(channel, _Adding(added)) if added else channel


class _Adding(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    """Adds metadata to every call."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._with_metadata(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(self._with_metadata(details), request)

    def _with_metadata(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), *self._metadata))


class RenewableChannel(grpc.aio.Channel):
    """
    An asynchronous channel whose certificates can be exchanged: `renew` opens another connection for the calls that come.

    Every call carries the credentials' metadata. By no interceptor, which would make a task of every call.
    """

    def __init__(self, target: str, credentials: Credentials, *, options: _Options) -> None:
        self._target = target
        self._credentials = credentials
        self._options = [*options, *credentials.options()]
        self._channel = self._open()
        self._closing: set[asyncio.Future[None]] = set()

    def renew(self) -> None:
        """
        Read the files again and use them for the calls that come; those that run may go on for 30 s.

        Raises:
            CertificateProblem: a file cannot be used; nothing was changed.

        """
        old, self._channel = self._channel, self._open()
        closing = asyncio.ensure_future(old.close(_OLD_CHANNEL_GRACE_S))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close(None)

    async def close(self, grace: float | None = None) -> None:
        """See grpc.aio.Channel."""
        for closing in tuple(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See grpc.aio.Channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See grpc.aio.Channel."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See grpc.aio.Channel."""
        await self._channel.channel_ready()

    def unary_unary(self, *what: Any, **how: Any) -> Any:
        """See grpc.aio.Channel."""
        return self._calling("unary_unary", what, how)

    def unary_stream(self, *what: Any, **how: Any) -> Any:
        """See grpc.aio.Channel."""
        return self._calling("unary_stream", what, how)

    def stream_unary(self, *what: Any, **how: Any) -> Any:
        """See grpc.aio.Channel."""
        return self._calling("stream_unary", what, how)

    def stream_stream(self, *what: Any, **how: Any) -> Any:
        """See grpc.aio.Channel."""
        return self._calling("stream_stream", what, how)

    def _calling(self, kind: str, what: Sequence[Any], how: Mapping[str, Any]) -> Callable[..., Any]:
        added = self._credentials.metadata
        made_on: grpc.aio.Channel | None = None
        method: Callable[..., Any] | None = None

        def call(*arguments: Any, metadata: Any = None, **options: Any) -> Any:
            nonlocal made_on, method
            if made_on is not self._channel or method is None:
                made_on, method = self._channel, getattr(self._channel, kind)(*what, **how)
            return method(*arguments, metadata=(*(metadata or ()), *added), **options)

        return call

    def _open(self) -> grpc.aio.Channel:
        transport = self._credentials.transport()
        if transport is None:
            return grpc.aio.insecure_channel(self._target, options=self._options)
        return grpc.aio.secure_channel(self._target, transport, options=self._options)
