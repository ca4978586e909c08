"""The gRPC server of a process, with everything behind it."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from authsvc.app.auditing import Auditing, CallsWithRefusals
from authsvc.app.callers import Callers
from authsvc.app.limits import ProcessLimits, close_limits, open_limits
from authsvc.app.services import Parts, build_services
from authsvc.app.world import Secrets, World
from authsvc.config import ConfiguredApp, Environment, Settings
from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.errors import AuthError
from authsvc.domain.principals import Declared
from authsvc.ops import Probe
from authsvc.ports import KeyMaterial, Store
from authsvc.rpc.server import GrpcServer, GrpcSettings
from authsvc.rpc.wrapper import Wrapper
from authsvc.service.key_upkeep import KeyUpkeep
from authsvc.service.keys import KeyDirectory
from authsvc.service.legacy import LegacyTokens
from authsvc.service.retention import Retention
from authsvc.service.tail import LogTail
from authsvc.service.verify import TokenVerifier
from authsvc.service.view import RevocationView
from authsvc.service.waiting import Unbroken
from authsvc.service.watch import Watches
from authsvc.storage import open_store
from authsvc.wechat import WeChatClient, WeChatSettings

# DESIGN section 3: judgements that several hosts must agree on use the record's clock.
_SKEW_LIMIT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class AppChanges:
    """What an exchange of the apps did, by app id; `fields` names what is other than before of a changed app."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class AuthServer:
    """
    The gRPC server with everything behind it. `start` returns its address; `stop` drains.

    With *reuse_port* it is one of several workers on its port, whose supervisor keeps strangers off it. *declared* are
    callers of the process itself, beside those that a file declares.
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
        declared: Sequence[Declared] = (),
    ) -> None:
        self._settings = settings
        self._reuse_port = reuse_port
        self._configured = {app.id: app for app in apps}
        self._registry = AppRegistry(_policies(apps))
        self._wechat: WeChatClient | None = None
        self._secrets = secrets
        self._database = database
        self._world = world
        self._stack = AsyncExitStack()
        self._grpc: GrpcServer | None = None
        self._tail: LogTail | None = None
        self._store: Store | None = None
        self._upkeep: KeyUpkeep | None = None
        self._auditing: Auditing | None = None
        self._limits: ProcessLimits | None = None
        self._declared = declared
        self._callers: Callers | None = None

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

    def replace_apps(self, apps: Sequence[ConfiguredApp]) -> AppChanges:
        """
        Serve these apps from now on, and no others; return what that changed.

        Calls under way end as they began. An app that did not change keeps its access_token, its breaker and its
        limits; sessions and tokens of an app that is gone are refused when somebody presents them.
        """
        before, after = self._configured, {app.id: app for app in apps}
        self._configured = after
        self._registry.replace(_policies(apps))
        if self._wechat is not None:
            self._wechat.reconfigure({app.id: app.wechat() for app in apps})
        changed = sorted(i for i in after.keys() & before.keys() if after[i] != before[i])
        return AppChanges(
            added=tuple(sorted(after.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - after.keys())),
            changed=tuple(changed),
            fields={i: _differing(before[i], after[i]) for i in changed},
        )

    async def tell_reload(self, changes: AppChanges, *, needs_restart: Sequence[str]) -> None:
        """Write into the audit trail what an exchange of the apps changed, by name."""
        if self._auditing is not None:
            await self._auditing.tell_configuration(
                "config.reloaded",
                by="process",
                names={
                    "added": changes.added,
                    "removed": changes.removed,
                    "changed": [f"{i}.{name}" for i, names in changes.fields.items() for name in names],
                    "needs_restart": needs_restart,
                },
            )

    @property
    def keys_address(self) -> str:
        """Where callers without a certificate are served, beside a port that requires one; else empty."""
        return "" if self._grpc is None else self._grpc.keys_address

    def reread_callers(self) -> None:
        """Have the principals file and the certificates read again, soon, whether or not they look changed."""
        if self._callers is not None:
            self._callers.reread()

    def probes(self) -> dict[str, Probe]:
        """Return what `/readyz` asks."""
        return {"grpc": self._probe_grpc, "revocations": self._probe_tail, "store": self._probe_store}

    async def _start(self) -> str:
        settings, world = self._settings, self._world
        clock, entropy, observer = world.clock, world.entropy, world.telemetry
        registry = self._registry
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
        view = RevocationView()
        keys = KeyDirectory(
            store=store,
            material=self._secrets.signing,
            clock=clock,
            observer=observer,
            apps=registry,
            view=view,
        )
        await keys.start()
        tail = LogTail(
            log=store,
            view=view,
            clock=clock,
            observer=observer,
            hard_bound=timedelta(seconds=settings.hard_bound),
        )
        await tail.start()
        self._stack.push_async_callback(tail.stop)
        rotation_days = settings.signing_key_rotation_days
        upkeep = KeyUpkeep(
            keys=keys,
            store=store,
            tail=tail,
            clock=clock,
            observer=observer,
            rotate_every=timedelta(days=rotation_days) if rotation_days else None,
        )
        upkeep.start()
        self._stack.push_async_callback(upkeep.stop)
        retention = Retention(
            store=store,
            clock=clock,
            entropy=entropy,
            observer=observer,
            session_retention=timedelta(days=settings.session_retention),
            audit_retention=timedelta(days=settings.audit_retention),
        )
        retention.start()
        self._stack.push_async_callback(retention.stop)
        wechat = WeChatClient(
            apps={app.id: app.wechat() for app in self._configured.values()},
            clock=clock,
            entropy=entropy,
            observer=observer,
            settings=WeChatSettings(refuse_sandbox=settings.env is Environment.PROD),
        )
        await wechat.start()
        self._stack.push_async_callback(wechat.close)

        unbroken = Unbroken()
        legacy = LegacyTokens(apps=registry, store=store, clock=clock, issuer=settings.issuer)
        verifier = TokenVerifier(
            keys=keys,
            tail=tail,
            apps=registry,
            clock=clock,
            issuer=settings.issuer,
            legacy=legacy,
            cache_size=settings.token_cache_size,
        )
        auditing = Auditing(trail=store, keys=keys, world=world)
        auditing.start()
        self._stack.push_async_callback(auditing.stop)
        limits = await open_limits(settings, secrets=self._secrets, world=world)
        self._stack.push_async_callback(close_limits, limits)
        watches = Watches(log=store, tail=tail, clock=clock, observer=observer, settings=limits.watches)
        services = build_services(
            Parts(
                world=world,
                secrets=self._secrets,
                apps=registry,
                issuer=settings.issuer,
                store=store,
                wechat=wechat,
                keys=keys,
                tail=tail,
                verifier=verifier,
                legacy=legacy,
                watches=watches,
                unbroken=unbroken,
                limiter=limits.limiter,
                refusals=auditing.refusals,
            )
        )
        callers = Callers(settings, declared=self._declared, world=world)
        wrapper = Wrapper(
            admission=limits.admission,
            authenticator=callers.authenticator(store=store, tail=tail, apps=registry),
            clock=clock,
            entropy=entropy,
            observer=CallsWithRefusals(observer, auditing.refusals),
        )
        self._stack.push_async_callback(callers.stop)
        await callers.start(wrapper)
        server = GrpcServer(
            services=services,
            wrapper=wrapper,
            settings=_grpc_settings(settings, callers, reuse_port=self._reuse_port),
            watches=watches,
            unbroken=unbroken,
            clock=clock,
        )
        address = await server.start()
        self._stack.push_async_callback(server.stop)
        observer.gauge("verified_tokens", lambda: float(verifier.cached))
        self._grpc, self._tail, self._store, self._wechat = server, tail, store, wechat
        self._upkeep, self._limits, self._callers = upkeep, limits, callers
        self._auditing = auditing
        await auditing.tell_configuration(
            "config.loaded", by="process", names={"apps": sorted(self._configured)}
        )
        return address

    def notices(self) -> dict[str, Probe]:
        """Return what `/readyz` tells beside: what is not done here while the rest is."""
        return {"issuing": self._notice_issuing, "limits": self._notice_limits}

    async def replace_signing_keys(self, signing: KeyMaterial | None) -> None:
        """
        Sign with these keys from now on (see KeyUpkeep.adopt); None: with those that are found where they were read.

        Raises:
            StoreUnavailable: the record does not answer; nothing was changed.

        """
        if self._upkeep is None:
            return
        if signing is None:
            await self._upkeep.look()
        else:
            await self._upkeep.adopt(signing)

    async def _notice_issuing(self) -> str:
        why = "" if self._upkeep is None else self._upkeep.cannot_issue
        return f"{why}: logins and refreshes are refused here" if why else ""

    async def _notice_limits(self) -> str:
        return "" if self._limits is None else await self._limits.notice()

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


def _differing(before: ConfiguredApp, after: ConfiguredApp) -> tuple[str, ...]:
    names = ConfiguredApp.model_fields
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _policies(apps: Sequence[ConfiguredApp]) -> dict[str, App]:
    return {app.id: app.policy() for app in apps}


def _grpc_settings(settings: Settings, callers: Callers, *, reuse_port: bool) -> GrpcSettings:
    reflection = settings.grpc_reflection
    return GrpcSettings(
        host=settings.grpc_host,
        port=settings.grpc_port,
        connection_age=timedelta(seconds=settings.connection_age),
        drain_wait=timedelta(seconds=settings.drain_wait),
        stop_grace=timedelta(seconds=settings.stop_grace),
        reflection=settings.env is not Environment.PROD if reflection is None else reflection,
        reuse_port=reuse_port,
        tls=callers.tls,
        keys_port=settings.grpc_keys_port,
    )
