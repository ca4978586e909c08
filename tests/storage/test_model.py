"""
Random histories of logins, refreshes, revocations and passing time, against a model of a few lines.

The model knows nothing of positions or rows: it remembers per session why and since when it is over, and every access
token handed out. After each step the store must show the same, and the log must kill exactly the tokens it has to.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.domain.apps import LEEWAY, App
from authsvc.domain.revocations import Fact, FactKind
from authsvc.domain.sessions import SUPERSEDE_AFTER, EndReason
from authsvc.ports import Rotation, RotationRefused, SessionQuery
from authsvc.storage import SqliteStore
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import APP as CAPPED
from tests.storage.conformance.world import APPS, HOUR, SIBLING, Login, World
from tests.storage.sqlite_backend import SqliteBackend

PEOPLE = 2
SPANS = tuple(
    timedelta(seconds=seconds) for seconds in (1, 20, 31, 61, 1800, 7000, 7204, 7206, 100_000, 604_800)
)


@dataclass
class Line:
    """What the model remembers of one session."""

    login: Login
    person: int
    app: App
    device: str
    idle_end: datetime
    counter: int = 0
    rotated_at: datetime = field(init=False)
    token_ends: list[datetime] = field(default_factory=list)
    over: EndReason | None = None

    def __post_init__(self) -> None:
        self.rotated_at = self.login.session.created_at
        self.token_ends.append(self.login.session.access_expires_at)


class Model:
    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[Line] = []

    def live(self, line: Line) -> bool:
        return line.over is None and self.world.now < line.idle_end

    def acceptable(self, line: Line) -> bool:
        return self.world.now < max(line.token_ends) + LEEWAY

    def end(self, lines: Sequence[Line], reason: EndReason) -> int:
        """End those that are not over; an expired one only matters while a token of it is accepted."""
        count = 0
        for line in lines:
            count += self.live(line)
            if self.live(line) or (line.over is None and self.acceptable(line)):
                line.over = reason
        return count

    def of(self, person: int, app: App | None = None) -> list[Line]:
        return [line for line in self.lines if line.person == person and app in (None, line.app)]

    async def login(self, person: int, app: App, device: str) -> None:
        mine = [line for line in self.of(person, app) if self.live(line)]
        old = [line for line in mine if device and line.device == device]
        old = [line for line in old if self.world.now - line.login.session.created_at > SUPERSEDE_AFTER]
        self.end(old, EndReason.SUPERSEDED)
        rest = sorted(
            (line for line in mine if line not in old),
            key=lambda line: (line.login.session.created_at, line.login.id),
        )
        self.end(rest[: max(len(rest) + 1 - app.max_sessions, 0)], EndReason.REPLACED)
        login = await self.world.login(
            f"{app.app_id}-{person}", app=app, unionid=f"union-{person}", device=device
        )
        self.lines.append(Line(login, person, app, device, login.session.refresh_expires_at))

    async def refresh(self, line: Line, behind: int) -> None:
        token = line.login.at(max(line.counter - behind, 0))
        behind = line.counter - token.counter
        now = self.world.now
        outcome = (await self.world.present(token, jitter=(len(self.lines) % 7) / 7)).value
        if line.over is None:
            if now >= line.idle_end:
                line.over = EndReason.EXPIRED
            elif behind > 1:
                line.over = EndReason.REFRESH_REUSE
            elif behind == 1 and now - line.rotated_at > line.app.grace:
                line.over = EndReason.REFRESH_STALE
        if line.over is not None:
            assert isinstance(outcome, RotationRefused)
            assert outcome.reason is line.over
            return
        assert isinstance(outcome, Rotation)
        assert outcome.replayed == (behind == 1)
        if behind == 0:
            line.counter, line.rotated_at = line.counter + 1, now
            line.idle_end = min(now + line.app.idle_lifetime, line.login.session.absolute_end)
            line.token_ends.append(outcome.session.access_expires_at)
        assert outcome.session.counter == line.counter
        assert outcome.session.access_expires_at == line.token_ends[-1]

    async def logout(self, line: Line) -> None:
        was_over = line.over is not None
        counted = int(self.live(line))
        if not was_over:
            line.over = EndReason.LOGOUT
        assert (await self.world.logout(line.login)).value == counted

    async def kill_user(self, person: int, app: App | None) -> None:
        theirs = self.of(person)
        if theirs:
            written = await self.world.kill_user(theirs[0].login.user, app_id=app.app_id if app else "")
            assert written.value == self.end(self.of(person, app), EndReason.ADMIN)

    async def kill_app(self, app: App) -> None:
        count = self.end([line for line in self.lines if line.app is app], EndReason.BLOCKED)
        written = await self.world.store.end_app_sessions(
            app.app_id, reason=EndReason.BLOCKED, by="op", longest_lifetime=2 * HOUR
        )
        assert written.value == count

    async def check(self) -> None:
        """Compare everything that can be seen from outside."""
        facts = await self.world.log()
        assert [fact.position for fact in facts] == list(range(1, len(facts) + 1))
        for line in self.lines:
            assert await self.world.reason(line.login) == line.over
            if self.acceptable(line):
                killers = [fact for fact in facts if fact.is_useful(now=self.world.now) and kills(fact, line)]
                assert bool(killers) == (line.over is not None and line.over is not EndReason.EXPIRED)
        listed = await self.world.store.list_sessions(SessionQuery(limit=1000))
        living = {line.login.id for line in self.lines if self.live(line)}
        assert {session.session_id for session in listed} == living


def kills(fact: Fact, line: Line) -> bool:
    """What a verifier makes of a fact (DESIGN section 3, revocation)."""
    session = line.login.session
    if fact.kind is FactKind.SESSION:
        return fact.target == session.session_id
    older = session.position < fact.position
    if fact.kind is FactKind.APP:
        return older and fact.target == session.app_id
    return older and fact.target == session.user_id and fact.app_filter in ("", session.app_id)


APPS_USED = st.sampled_from([CAPPED, SIBLING])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("login"), st.integers(0, PEOPLE - 1), APPS_USED, st.sampled_from(["", "phone", "pad"])
        ),
        st.tuples(st.just("refresh"), st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 1, 2])),
        st.tuples(st.just("logout"), st.integers(0, 9)),
        st.tuples(st.just("kill_user"), st.integers(0, PEOPLE - 1), st.none() | APPS_USED),
        st.tuples(st.just("kill_app"), APPS_USED),
        st.tuples(st.just("advance"), st.sampled_from(SPANS)),
    ),
    max_size=25,
)


async def play(path: Path, steps: Sequence[tuple[object, ...]]) -> None:
    clock, entropy = FakeClock(), SeededEntropy()
    store = await SqliteStore.open(path, clock=clock, entropy=entropy)
    backend = SqliteBackend.__new__(SqliteBackend)
    model = Model(World(backend=backend, store=store, clock=clock, entropy=entropy))
    try:
        for name, *arguments in steps:
            if name == "advance":
                clock.advance(arguments[0])  # type: ignore[arg-type]
            elif name in {"refresh", "logout"}:
                if model.lines:
                    line = model.lines[arguments[0] % len(model.lines)]  # type: ignore[operator]
                    await getattr(model, str(name))(line, *arguments[1:])
            else:
                await getattr(model, str(name))(*arguments)
            await model.check()
    finally:
        await store.close()


@settings(max_examples=60, deadline=None, print_blob=True)
@given(steps=STEPS)
def test_random_histories(migrated_file: Path, steps: Sequence[tuple[object, ...]]) -> None:
    """Whatever happens in whatever order, sessions, answers and facts are those of the model."""
    assert set(APPS) >= {CAPPED.app_id, SIBLING.app_id}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "record.db"
        shutil.copy(migrated_file, path)
        asyncio.run(play(path, steps))
