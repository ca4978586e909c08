"""What every case stands in: a backend, a clock that is moved by hand, and short words for logins and refreshes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Row, Select, select

from authsvc.domain.apps import App
from authsvc.domain.ids import encode_id
from authsvc.domain.refresh_token import RefreshToken, first_token
from authsvc.domain.revocations import Fact
from authsvc.domain.sessions import ClientInfo, EndReason, Session
from authsvc.domain.users import User
from authsvc.ports import Clock, Entropy, Opened, Opening, Rotation, RotationRefused, UserIsBlocked, Written
from authsvc.storage.schema import audit
from authsvc.storage.store import SqlStore
from tests.fakes import FakeClock, SeededEntropy

MAC_KEY = b"mac1"
APP = App(app_id="wxa", audiences=("wxa",), platform_group="group", max_sessions=3)
SIBLING = App(app_id="wxb", audiences=("wxb",), platform_group="group")
STRANGER = App(app_id="wxc", audiences=("wxc",), platform_group="other group")
UNBOUND = App(app_id="wxd", audiences=("wxd",))
APPS: Mapping[str, App] = {app.app_id: app for app in (APP, SIBLING, STRANGER, UNBOUND)}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# The audit trail without the logins that every case begins with.
AUDITED = select(audit).where(audit.c.event != "session.opened")


class Backend(Protocol):
    """A database that exists, is migrated, and belongs to one test."""

    async def open(self, *, clock: Clock, entropy: Entropy) -> SqlStore:
        """Return a store on it; each call is one more replica."""
        ...

    def look(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """Return rows as they are committed."""
        ...


@dataclass(frozen=True, slots=True)
class Login:
    """A login that happened and the refresh token it gave."""

    written: Written[Opened]
    token: RefreshToken

    @property
    def session(self) -> Session:
        return self.written.value.session

    @property
    def user(self) -> User:
        return self.written.value.user

    @property
    def id(self) -> str:
        return self.session.session_id

    def at(self, counter: int) -> RefreshToken:
        """The token of this login's line with another counter."""
        return self.token.successor(counter=counter, key_id=self.token.key_id)


@dataclass
class World:
    backend: Backend
    store: SqlStore
    clock: FakeClock
    entropy: SeededEntropy
    replicas: list[SqlStore] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def opening(
        self,
        openid: str = "openid-1",
        *,
        app: App = APP,
        unionid: str | None = None,
        client: ClientInfo | None = None,
        jitter: float = 0.0,
        sealed: bytes = b"sealed key",
        exchanged_at: datetime | None = None,
    ) -> tuple[Opening, RefreshToken]:
        token = first_token(self.entropy.token_bytes(16), nonce=self.entropy.token_bytes(16), key_id=MAC_KEY)
        return Opening(
            app=app,
            openid=openid,
            unionid=unionid,
            sealed_session_key=sealed,
            exchanged_at=exchanged_at or self.now,
            client=client or ClientInfo(),
            fresh_user_id=encode_id(self.entropy.token_bytes(16)),
            session_id=token.session_id,
            nonce_hash=token.nonce_hash,
            mac_key_id=MAC_KEY,
            jitter=jitter,
        ), token

    async def attempt(self, openid: str = "openid-1", **details: Any) -> Written[Opened | UserIsBlocked]:
        return await self.store.open_session(self.opening(openid, **details)[0])

    async def login(
        self, openid: str = "openid-1", *, store: SqlStore | None = None, device: str = "", **details: Any
    ) -> Login:
        if device:
            details["client"] = ClientInfo(device_id=device)
        opening, token = self.opening(openid, **details)
        written = await (store or self.store).open_session(opening)
        assert isinstance(written.value, Opened)
        return Login(Written(written.value, written.facts, written.head), token)

    async def present(
        self,
        token: RefreshToken,
        *,
        store: SqlStore | None = None,
        apps: Mapping[str, App] = APPS,
        mac_key_id: bytes = MAC_KEY,
        jitter: float = 0.0,
        client: ClientInfo | None = None,
    ) -> Written[Rotation | RotationRefused | UserIsBlocked]:
        return await (store or self.store).rotate(
            token, apps=apps, mac_key_id=mac_key_id, jitter=jitter, client=client or ClientInfo()
        )

    async def rotate(self, token: RefreshToken, **details: Any) -> Rotation:
        written = await self.present(token, **details)
        assert isinstance(written.value, Rotation)
        return written.value

    async def refusal(self, token: RefreshToken, **details: Any) -> RotationRefused:
        written = await self.present(token, **details)
        assert isinstance(written.value, RotationRefused)
        return written.value

    async def session(self, login: Login) -> Session:
        session = await self.store.get_session(login.id)
        assert session is not None
        return session

    async def reason(self, login: Login) -> EndReason | None:
        ended = (await self.session(login)).ended
        return None if ended is None else ended.reason

    async def logout(self, login: Login) -> Written[int | None]:
        return await self.store.end_session(login.id, reason=EndReason.LOGOUT, by="user")

    async def kill_app(self, app: App = APP) -> Written[int]:
        return await self.store.end_app_sessions(
            app.app_id, reason=EndReason.ADMIN, by="operator", longest_lifetime=2 * HOUR
        )

    async def kill_user(self, user: User, *, app_id: str = "") -> Written[int | None]:
        return await self.store.end_user_sessions(
            user.user_id, app_id=app_id, reason=EndReason.ADMIN, by="operator"
        )

    async def log(self) -> Sequence[Fact]:
        return (await self.store.read_from(0, limit=10_000))[1]

    async def replica(self) -> SqlStore:
        """One more store on the same database."""
        store = await self.backend.open(clock=self.clock, entropy=SeededEntropy(100 + len(self.replicas)))
        self.replicas.append(store)
        return store
