"""The use cases over real parts: SQLite, keys, the sandbox over real sockets; only time, dice and faults are fake."""

import functools
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest import mock

from authsvc.domain.apps import App, AppRegistry
from authsvc.domain.blind_index import BlindIndex
from authsvc.domain.limits import Rate
from authsvc.domain.sessions import ClientInfo
from authsvc.keys import DirectoryKeys, MasterRing, generate_signing_key, write_new
from authsvc.ports import Rings, Sealer, Signer
from authsvc.sandbox import SANDBOX_APPS, SandboxServer, World
from authsvc.service.admission import Admission
from authsvc.service.audit_refusals import Refusals
from authsvc.service.buckets import Buckets, LocalLimits
from authsvc.service.code_exchange import CodeExchange
from authsvc.service.issue import TokenIssuer
from authsvc.service.keys import KeyDirectory
from authsvc.service.legacy import LegacyTokens
from authsvc.service.legacy_login import LegacyLogins
from authsvc.service.limits import DEFAULT_RATES, WIDE, Limiter, LimitRules
from authsvc.service.login import LoginResult, Logins
from authsvc.service.people import People
from authsvc.service.personal_data import PersonalData
from authsvc.service.phone import Phones
from authsvc.service.refresh import Refreshes, RefreshResult
from authsvc.service.revoke import Revocations
from authsvc.service.session_keys import SessionKeys
from authsvc.service.sessions import Sessions
from authsvc.service.subjects import Subjects
from authsvc.service.tail import LogTail
from authsvc.service.throttling import Throttling
from authsvc.service.user_data import UserDataKeys
from authsvc.service.verify import Demand, TokenVerifier, Verdict
from authsvc.service.view import RevocationView
from authsvc.service.waiting import Unbroken
from authsvc.service.watch import Watches
from authsvc.storage import SqliteStore
from authsvc.wechat import WeChatApp, WeChatClient, WeChatSettings, decrypt_user_data
from tests.fakes import FakeClock, RecordingObserver, SeededEntropy
from tests.fakes.faulty_store import FaultyStore
from tests.support.database import fresh_database

ISSUER = "authsvc"
D1, D2, D3 = (app.app_id for app in SANDBOX_APPS)
OFF = "wx00000000000000d0"  # configured and switched off
HARD_BOUND = timedelta(seconds=30)
# Sockets can only be waited on in real time; a passing test never uses this patience up.
_PATIENCE = timedelta(seconds=30)


_trust = functools.cache(ssl.create_default_context)


def sandbox_apps(**changes: object) -> dict[str, App]:
    """Policies for the sandbox's apps (d1 and d2 share a platform) and one that is off; *changes* apply to d1."""
    options: dict[str, object] = {"scopes": ("profile", "orders"), "platform_group": "op1", **changes}
    return {
        D1: App(D1, (D1,), **options),  # type: ignore[arg-type]
        D2: App(D2, (D2, "shop"), platform_group="op1", access_lifetime=timedelta(hours=1)),
        D3: App(D3, (D3,), openid_in_token=False),
        OFF: App(OFF, (OFF,), enabled=False),
    }


@dataclass(slots=True)
class Core:
    """Everything a process serves, started; `store` is the scripted one, `path` its database file."""

    path: Path
    clock: FakeClock
    entropy: SeededEntropy
    observer: RecordingObserver
    sandbox: SandboxServer
    wechat: WeChatClient
    store: FaultyStore
    material: DirectoryKeys
    rings: Rings
    sealer: Sealer
    apps: AppRegistry
    keys: KeyDirectory
    tail: LogTail
    verifier: TokenVerifier
    logins: Logins
    legacy_logins: LegacyLogins
    refreshes: Refreshes
    revocations: Revocations
    sessions: Sessions
    user_data: UserDataKeys
    phones: Phones
    session_keys: SessionKeys
    people: People
    personal_data: PersonalData
    watches: Watches
    unbroken: Unbroken
    limiter: Limiter
    refusals: Refusals
    admission: Admission
    audiences: frozenset[str] = field(default_factory=lambda: frozenset({D1, D2, D3}))

    @property
    def view(self) -> RevocationView:
        return self.tail.view

    @property
    def signer(self) -> Signer:
        """The private half that issues."""
        return self.keys.signer()

    def code(self, user: str = "alice", *, app_id: str = D1, fault: str | None = None) -> str:
        """A login code of the sandbox."""
        return self.sandbox.mint(app_id, user, fault=fault)

    async def login(
        self,
        user: str = "alice",
        *,
        app_id: str = D1,
        client: ClientInfo | None = None,
        phone_code: str = "",
    ) -> LoginResult:
        """A session of this user."""
        code = self.code(user, app_id=app_id)
        return await self.logins.login(
            app_id=app_id, code=code, client=client or ClientInfo(), phone_code=phone_code
        )

    async def refresh(self, text: str) -> RefreshResult:
        return await self.refreshes.refresh(text, client=ClientInfo())

    async def judge(self, token: str, *audiences: str, **demand: tuple[str, ...]) -> Verdict:
        """The verdict on a token, by default for whichever app it is of."""
        return await self.verifier.judge(token, Demand(frozenset(audiences) or self.audiences, **demand))  # type: ignore[arg-type]

    async def polled(self) -> None:
        """Return when the tail knows all that is durable now."""
        head = await self.store.real.read_head()
        while self.view.known is None or self.view.known.position < head.position:
            self.tail.nudge()
            await self.tail.wait_change(limit=timedelta(days=1))


def write_key(directory: Path, clock: FakeClock) -> DirectoryKeys:
    """Add a new signing key to a directory and load it."""
    write_new(directory, generate_signing_key(), created_at=clock.now())
    return DirectoryKeys.load(directory)


@asynccontextmanager
async def build_core(
    directory: Path,
    *,
    apps: Mapping[str, App] | None = None,
    clock: FakeClock | None = None,
    seed: int = 1,
    start: bool = True,
    cache_size: int = 50_000,
    wechat_url: str = "",
    rules: LimitRules | None = None,
) -> AsyncIterator[Core]:
    """
    A core over the database and keys in *directory* (made if missing), stopped afterwards.

    With *start* False neither keys nor log have been read. *wechat_url* sends logins elsewhere than to the sandbox.
    Several cores may share a directory (replicas, restarts), each with a *seed* of its own.
    """
    clock, entropy, observer = clock or FakeClock(), SeededEntropy(seed), RecordingObserver()
    path = directory / "authsvc.db"
    if not path.exists():
        fresh_database(directory)
    keys_directory = directory / "keys"
    material = (
        DirectoryKeys.load(keys_directory) if keys_directory.exists() else write_key(keys_directory, clock)
    )
    sandbox = SandboxServer(world=World(entropy=entropy), clock=clock, entropy=entropy)
    await sandbox.start()
    wechat = WeChatClient(
        apps={
            app.app_id: WeChatApp(
                app_id=app.app_id,
                secret=app.secret,
                base_url=wechat_url or sandbox.base_url,
                deadline=_PATIENCE,
                connect_timeout=_PATIENCE,
                slot_wait=_PATIENCE,
            )
            for app in SANDBOX_APPS
        },
        clock=clock,
        entropy=entropy,
        observer=observer,
        settings=WeChatSettings(refuse_sandbox=False),
    )
    real = await SqliteStore.open(path, clock=clock, entropy=SeededEntropy(seed + 1000))
    ring = MasterRing.parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    core = assemble(
        path=path,
        clock=clock,
        entropy=entropy,
        observer=observer,
        sandbox=sandbox,
        wechat=wechat,
        store=FaultyStore(real),
        material=material,
        ring=ring,
        apps=AppRegistry(apps or sandbox_apps()),
        cache_size=cache_size,
        rules=rules,
    )
    try:
        # Reading the trust store takes longer than the rest of a core together, and the sandbox speaks plain HTTP.
        with mock.patch.object(ssl, "create_default_context", _trust):
            await wechat.start()
        if start:
            await core.keys.start()
            await core.tail.start()
        yield core
    finally:
        core.store.let_through()
        await core.unbroken.drained()
        await core.tail.stop()
        await wechat.close()
        await sandbox.stop()
        await real.close()


def assemble(
    *,
    path: Path,
    clock: FakeClock,
    entropy: SeededEntropy,
    observer: RecordingObserver,
    sandbox: SandboxServer,
    wechat: WeChatClient,
    store: FaultyStore,
    material: DirectoryKeys,
    ring: MasterRing,
    apps: AppRegistry,
    cache_size: int,
    rules: LimitRules | None = None,
) -> Core:
    """The use cases wired to each other; nothing is started."""
    rings, unbroken, record = ring.rings(), Unbroken(), store.as_store()
    # Wide: most tests stand still on the clock, where no bucket fills again.
    wide = LimitRules.default(**{name: Rate.parse(text).times(WIDE) for name, text in DEFAULT_RATES.items()})
    buckets = Buckets(clock)
    throttling = Throttling(clock=clock, observer=observer)
    limiter = Limiter(
        rules=rules or wide,
        shared=LocalLimits(buckets),
        buckets=buckets,
        pepper=rings.blind_index.current,
        clock=clock,
        throttling=throttling,
    )
    refusals = Refusals(trail=record, clock=clock, observer=observer)
    sealer = ring.sealer(entropy)
    view = RevocationView()
    keys = KeyDirectory(store=record, material=material, clock=clock, observer=observer, apps=apps, view=view)
    tail = LogTail(log=record, view=view, clock=clock, observer=observer, hard_bound=HARD_BOUND)
    legacy = LegacyTokens(apps=apps, store=record, clock=clock, issuer=ISSUER)
    verifier = TokenVerifier(
        keys=keys, tail=tail, apps=apps, clock=clock, issuer=ISSUER, legacy=legacy, cache_size=cache_size
    )
    issuer = TokenIssuer(keys=keys, rings=rings, clock=clock, entropy=entropy, issuer=ISSUER)
    subjects = Subjects(apps=apps, people=record, sessions=record, verifier=verifier, sealer=sealer)
    phones = Phones(
        subjects=subjects,
        people=record,
        trail=record,
        wechat=wechat,
        sealer=sealer,
        index=BlindIndex(rings.blind_index),
        observer=observer,
        unbroken=unbroken,
    )
    index = BlindIndex(rings.blind_index)
    people = People(
        store=record,
        tail=tail,
        sealer=sealer,
        index=index,
        clock=clock,
        observer=observer,
        unbroken=unbroken,
    )
    logins = Logins(
        apps=apps,
        store=record,
        wechat=wechat,
        phones=phones,
        sealer=sealer,
        rings=rings,
        keys=keys,
        issuer=issuer,
        tail=tail,
        clock=clock,
        entropy=entropy,
        observer=observer,
        unbroken=unbroken,
        limiter=limiter,
        refusals=refusals,
    )
    return Core(
        path=path,
        clock=clock,
        entropy=entropy,
        observer=observer,
        sandbox=sandbox,
        wechat=wechat,
        store=store,
        material=material,
        rings=rings,
        sealer=sealer,
        apps=apps,
        keys=keys,
        tail=tail,
        verifier=verifier,
        logins=logins,
        legacy_logins=LegacyLogins(
            apps=apps,
            tokens=legacy,
            logins=logins,
            observer=observer,
            unbroken=unbroken,
            limiter=limiter,
        ),
        refreshes=Refreshes(
            apps=apps,
            store=record,
            rings=rings,
            keys=keys,
            issuer=issuer,
            tail=tail,
            entropy=entropy,
            observer=observer,
            unbroken=unbroken,
            limiter=limiter,
            refusals=refusals,
        ),
        revocations=Revocations(
            apps=apps,
            store=record,
            rings=rings,
            verifier=verifier,
            tail=tail,
            clock=clock,
            observer=observer,
            unbroken=unbroken,
            legacy=legacy,
            refusals=refusals,
        ),
        sessions=Sessions(store=record, verifier=verifier, tail=tail),
        user_data=UserDataKeys(subjects=subjects, trail=record, decrypt=decrypt_user_data, clock=clock),
        phones=phones,
        people=people,
        personal_data=PersonalData(
            apps=apps,
            store=record,
            people=people,
            codes=CodeExchange(store=record, wechat=wechat, observer=observer, limiter=limiter),
            index=index,
            tail=tail,
            entropy=entropy,
            observer=observer,
            unbroken=unbroken,
        ),
        session_keys=SessionKeys(
            subjects=subjects,
            people=record,
            wechat=wechat,
            sealer=sealer,
            clock=clock,
            observer=observer,
            unbroken=unbroken,
        ),
        watches=Watches(log=record, tail=tail, clock=clock, observer=observer),
        unbroken=unbroken,
        limiter=limiter,
        refusals=refusals,
        admission=Admission(
            places=2000,
            late=timedelta(milliseconds=250),
            limiter=limiter,
            throttling=throttling,
            clock=clock,
            observer=observer,
        ),
    )
