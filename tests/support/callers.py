"""A core served over real TLS to callers who prove who they are: certificates, service keys, and bad ones of both."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from authsvc.app.certificates import read_tls
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.principals import Declared, Role
from authsvc.domain.service_keys import SECRET_BYTES, KeyRecord, hash_secret, make_key
from authsvc.rpc.convert import Cursors
from authsvc.rpc.principals import CredentialAuthenticator
from authsvc.rpc.server import GrpcServer, GrpcSettings
from authsvc.rpc.tls import GrpcTls
from authsvc.rpc.wrapper import Wrapper
from authsvc.service.callers import CallerDirectory
from tests.support.certificates import Authority, Files
from tests.support.core import D1, Core
from tests.support.server import PATIENCE_S, services_of, stopped

EVERY_ROLE = frozenset(Role)


@dataclass(slots=True)
class Guarded:
    """The served core; `mtls` is where certificates are required, `keys` where only keys count."""

    core: Core
    wrapper: Wrapper
    callers: CallerDirectory
    tls: GrpcTls
    authority: Authority
    mtls: str
    keys: str
    _channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(
        self, *, certificate: Files | None = None, to: str = "", trust: Authority | None = None
    ) -> grpc.aio.Channel:
        """A connection to the port of the keys, or with a certificate to the other one."""
        roots = (trust or self.authority).file.read_bytes()
        if certificate is None:
            credentials = grpc.ssl_channel_credentials(roots)
        else:
            credentials = grpc.ssl_channel_credentials(
                roots, certificate.key.read_bytes(), certificate.certificate.read_bytes()
            )
        target = to or (self.keys if certificate is None else self.mtls)
        channel = grpc.aio.secure_channel(target, credentials)
        self._channels.append(channel)
        return channel

    async def new_key(
        self,
        name: str,
        *roles: Role,
        audiences: Iterable[str] = (),
        apps: Iterable[str] = (),
        lasts: timedelta | None = None,
    ) -> str:
        """A service key of the record for a principal that it makes, as this process already knows it."""
        text, record = self.fresh_key(name)
        if lasts is not None:
            record = replace(record, expires_at=self.core.clock.now() + lasts)
        principal = Declared(name, frozenset(roles), frozenset(audiences), frozenset(apps)) if roles else None
        await self.core.store.real.add_service_key(record, principal=principal, by="test")
        await self.caught_up(lambda: record.key_id in self.callers.key_ids)
        return text

    def fresh_key(self, name: str) -> tuple[str, KeyRecord]:
        """A key that nobody knows yet."""
        entropy = self.core.entropy
        key_id, secret = encode_id(entropy.token_bytes(ID_BYTES)), entropy.token_bytes(SECRET_BYTES)
        return make_key(key_id, secret), KeyRecord(key_id, name, hash_secret(secret))

    async def caught_up(self, knows: Any) -> None:
        """Return when this process knows: each look at the log is asked for, and waited for."""
        while not knows():
            self.core.tail.nudge()
            await self.core.tail.wait_change(limit=timedelta(days=1))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata that presents a service key."""
    return (("authorization", f"Bearer {key}"),)


def spiffe(role: Role) -> str:
    return f"spiffe://example.org/{role.value}"


def by_file() -> tuple[Declared, ...]:
    """A principal for each role, one with every role, and one with every role and one app: as a file declares them."""
    return (
        *(Declared(role.value, frozenset({role}), frozenset({D1}), spiffe=(spiffe(role),)) for role in Role),
        Declared("everything", EVERY_ROLE, frozenset({D1}), dns=("everything.internal",)),
        Declared(
            "limited", EVERY_ROLE, frozenset({D1}), frozenset({D1}), spiffe=("spiffe://example.org/limited",)
        ),
    )


@asynccontextmanager
async def guarded_server(core: Core, folder: Path) -> AsyncIterator[Guarded]:
    """A server for *core* on two free ports, with the principals of `by_file`. Stopped afterwards at once."""
    authority = Authority(folder)
    own = authority.server()
    tls = GrpcTls(
        read_tls(str(own.certificate), str(own.key), str(authority.file), prefix="grpc"),
    )
    callers = CallerDirectory(
        store=core.store.as_store(),
        tail=core.tail,
        apps=core.apps,
        clock=core.clock,
        observer=core.observer,
    )
    wrapper = Wrapper(
        authenticator=CredentialAuthenticator(by_key=callers.by_key, by_certificate=callers.by_certificate),
        admission=core.admission,
        clock=core.clock,
        entropy=core.entropy,
        observer=core.observer,
    )
    callers.declare(by_file())
    await callers.start()
    callers.on_change = wrapper.reconsider
    server = GrpcServer(
        services=services_of(core, Cursors(core.rings.cursor)),
        wrapper=wrapper,
        settings=GrpcSettings(port=0, keys_port=0, tls=tls, stop_grace=timedelta(seconds=PATIENCE_S)),
        watches=core.watches,
        unbroken=core.unbroken,
        clock=core.clock,
    )
    address = await server.start()
    guarded = Guarded(core, wrapper, callers, tls, authority, address, server.keys_address)
    try:
        yield guarded
    finally:
        core.store.let_through()
        await guarded.close()
        await stopped(server, core)
        await callers.stop()
