"""
Random histories of persons, apps and groups whose unionids come late: nobody is there twice, and an undo is exact.

The model is one line: two identities are one user if and only if both have told a unionid of one group. Examples share
a database, each with names of its own.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from authsvc.domain.apps import App, MergePolicy
from authsvc.domain.people import LinkVerdict
from authsvc.domain.revocations import FactKind
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import Merged, MergeProblem, MergeRefused, Split
from authsvc.storage.schema import identities, no_merges, user_aliases
from authsvc.storage.store import SqlStore
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.people import holdings
from tests.storage.conformance.world import DAY, SECOND, Backend, Login, World
from tests.storage.postgres_backend import PostgresBackend
from tests.storage.sqlite_backend import SqliteBackend

APPS = tuple(
    App(app_id=f"wx{number}", audiences=("a",), platform_group=group, max_sessions=99)
    for number, group in enumerate(("one", "one", "one", "two", "two", ""))
)
PERSONS = 3
_names = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "sqlite":
        template = request.getfixturevalue("migrated_file")
        return SqliteBackend(request.getfixturevalue("tmp_path"), template=template)
    return PostgresBackend(request.getfixturevalue("postgres_database"))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One login: who, in which app, whether WeChat tells the unionid, and at which replica."""

    person: int
    app: App
    tells: bool
    replica: int


ARRIVALS = st.builds(
    Arrival,
    person=st.integers(0, PERSONS - 1),
    app=st.sampled_from(APPS),
    tells=st.booleans(),
    replica=st.integers(0, 1),
)
# What is in one batch arrives at once.
HISTORIES = st.lists(st.lists(ARRIVALS, min_size=1, max_size=8), min_size=1, max_size=6)


@dataclass
class History:
    world: World
    stores: Sequence[SqlStore]
    name: str
    told: set[tuple[int, str]] = field(default_factory=set)  # (person, app) that told a unionid
    logins: list[tuple[Arrival, Login]] = field(default_factory=list)

    def openid(self, arrival: Arrival) -> str:
        return f"{self.name}-{arrival.person}-{arrival.app.app_id}"

    async def arrive(self, batch: Sequence[Arrival]) -> list[Login]:
        logins = await asyncio.gather(
            *(
                self.world.login(
                    self.openid(arrival),
                    app=arrival.app,
                    unionid=f"{self.name}-{arrival.person}-{arrival.app.platform_group}"
                    if arrival.tells
                    else None,
                    store=self.stores[arrival.replica],
                )
                for arrival in batch
            )
        )
        self.logins += zip(batch, logins, strict=True)
        self.told |= {
            (arrival.person, arrival.app.app_id)
            for arrival in batch
            if arrival.tells and arrival.app.platform_group
        }
        return logins

    def owners(self) -> dict[str, str]:
        """Whose each identity of this history is."""
        rows = self.world.backend.look(select(identities.c.openid, identities.c.user_id))
        return {row.openid: row.user_id for row in rows if row.openid.startswith(f"{self.name}-")}

    def expected(self, arrival: Arrival) -> str:
        """What every identity of one user has in common, and no identity of another user."""
        if (arrival.person, arrival.app.app_id) in self.told:
            return f"{arrival.person} in {arrival.app.platform_group}"
        return self.openid(arrival)

    async def check(self) -> None:
        owners = self.owners()
        pairs = {(self.expected(arrival), owners[self.openid(arrival)]) for arrival, _ in self.logins}
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
        killed = {
            fact.target: fact.position
            for fact in await self.world.log()
            if fact.kind is FactKind.USER and fact.reason is EndReason.MERGED
        }
        for arrival, login in self.logins:
            owner = owners[self.openid(arrival)]
            user = await self.world.store.get_user(login.user.user_id)
            assert user is not None
            assert user.user_id == owner
            reason = await self.world.reason(login)
            if login.session.user_id == owner:
                assert reason is None
            else:
                assert reason is EndReason.MERGED
                assert login.session.user_id in user.previous_ids
                assert login.session.position < killed[login.session.user_id]


async def opened(backend: Backend, *, replicas: int) -> tuple[World, list[SqlStore]]:
    clock = FakeClock()
    name = next(_names)
    stores = [
        await backend.open(clock=clock, entropy=SeededEntropy(1000 * name + number))
        for number in range(replicas)
    ]
    return World(backend, stores[0], clock, SeededEntropy(1000 * name + 999)), stores


def run_examples(backend: Backend) -> settings:
    """PostgreSQL takes several times as long for each."""
    return settings(
        max_examples=60 if isinstance(backend, SqliteBackend) else 15, deadline=None, print_blob=True
    )


def test_nobody_is_there_twice(backend: Backend) -> None:
    """
    After any history, parallel logins at two replicas included, each person is one user in a group: every identity that
    told its unionid there, and no other. Sessions of those who were merged away are over, for verifiers too.
    """

    async def play(batches: Sequence[Sequence[Arrival]]) -> None:
        world, stores = await opened(backend, replicas=2)
        history = History(world, stores, f"h{next(_names)}")
        try:
            for batch in batches:
                await history.arrive(batch)
                await history.check()
                world.clock.advance(SECOND)
        finally:
            for store in stores:
                await store.close()

    @run_examples(backend)
    @given(HISTORIES)
    def examples(batches: Sequence[Sequence[Arrival]]) -> None:
        asyncio.run(play(batches))

    examples()


def test_whoever_is_said_to_be_two_stays_two(backend: Backend) -> None:
    """
    After every merge of a history was undone nobody has another name, and no later login joins what was split.
    """

    async def play(batches: Sequence[Sequence[Arrival]], data: st.DataObject) -> None:
        world, stores = await opened(backend, replicas=2)
        history = History(world, stores, f"h{next(_names)}")
        try:
            for batch in batches:
                await history.arrive(batch)
                world.clock.advance(SECOND)
            made = {login.user.user_id for _, login in history.logins}
            made |= {each for _, login in history.logins for each in login.user.previous_ids}
            apart = await split_all(world, made, data)
            for batch in batches:
                await history.arrive(batch)
                for one, other in apart:
                    assert await standing(world, one) != await standing(world, other)
        finally:
            for store in stores:
                await store.close()

    @run_examples(backend)
    @given(HISTORIES, st.data())
    def examples(batches: Sequence[Sequence[Arrival]], data: st.DataObject) -> None:
        asyncio.run(play(batches, data))

    examples()


async def standing(world: World, user_id: str) -> str:
    user = await world.store.get_user(user_id)
    assert user is not None
    return user.user_id


async def split_all(world: World, made: set[str], data: st.DataObject) -> set[tuple[str, str]]:
    """Undo every merge of these users, in an order drawn; return the pairs that are two from now on."""
    while True:
        rows = world.backend.look(select(user_aliases.c.alias_id).order_by(user_aliases.c.alias_id))
        aliases = [row.alias_id for row in rows if row.alias_id in made]
        if not aliases:
            break
        for alias in data.draw(st.permutations(aliases)):
            outcome = (await world.store.split_user(alias, by="op", reason="")).value
            if not isinstance(outcome, Split):
                assert outcome == MergeRefused(MergeProblem.MERGED_ONWARD)
    marks = world.backend.look(select(no_merges))
    return {(row.user_a, row.user_b) for row in marks if row.user_a in made or row.user_b in made}


Company = Sequence[tuple[list[str], bool, int | None, int, bool]]
COMPANY = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["vip", "staff", "beta"]), unique=True, max_size=2),
        st.booleans(),  # has an external id
        st.sampled_from([None, 1, 2]),  # is blocked for so many days
        st.integers(0, 2),  # identities beyond the first
        st.booleans(),  # has a unionid
    ),
    min_size=2,
    max_size=5,
)


async def people(world: World, company: Company) -> list[str]:
    name = f"m{next(_names)}"
    made = []
    for number, (roles, has_external_id, days, more, has_unionid) in enumerate(company):
        unionid = f"{name}-{number}"
        first = await world.login(f"{name}-{number}", app=APPS[0], unionid=unionid if has_unionid else None)
        user_id = first.user.user_id
        for extra in range(more if has_unionid else 0):
            await world.login(f"{name}-{number}", app=APPS[1 + extra], unionid=unionid)
        await world.store.set_roles(user_id, roles, by="op")
        if has_external_id:
            await world.store.set_external_id(user_id, f"{name}-{number}", by="op")
        if days:
            block = Block("spam", "op", world.now, until=world.now + days * DAY)
            await world.store.block_user(user_id, block=block)
        made.append(user_id)
    return made


def test_undoing_restores_exactly(backend: Backend) -> None:
    """
    Whatever users were, whoever was merged into whom, and in whatever order it is undone: everything is as it was.
    """

    async def play(company: Company, data: st.DataObject) -> None:
        world, [store] = await opened(backend, replicas=1)
        try:
            made = await people(world, company)
            before = [holdings(world)]
            undo: list[str] = []
            while len(made) > 1 and data.draw(st.booleans() if undo else st.just(True)):
                survivor, moved = data.draw(st.permutations(made))[:2]
                outcome = (await store.merge_users(survivor, moved, by="op", reason="")).value
                assert isinstance(outcome, Merged)
                made.remove(moved)
                undo.append(moved)
                before.append(holdings(world))
            if data.draw(st.booleans()):
                # Newest first: each step on the way is what it was.
                for moved in reversed(undo):
                    assert holdings(world) == before.pop()
                    assert isinstance((await store.split_user(moved, by="op", reason="")).value, Split)
            else:
                await split_all(world, set(undo), data)
            assert holdings(world) == before[0]
        finally:
            await store.close()

    @run_examples(backend)
    @given(COMPANY, st.data())
    def examples(company: Company, data: st.DataObject) -> None:
        asyncio.run(play(company, data))

    examples()


def test_holding_moves_nobody(backend: Backend) -> None:
    """With the policy `hold` no login of any history ends a session or moves an identity to another user."""
    holding = {app.app_id: replace(app, merge_policy=MergePolicy.HOLD) for app in APPS}

    async def play(batches: Sequence[Sequence[Arrival]]) -> None:
        world, stores = await opened(backend, replicas=2)
        history = History(world, stores, f"h{next(_names)}")
        first: dict[str, str] = {}
        try:
            for batch in batches:
                for login in await history.arrive(
                    [replace(arrival, app=holding[arrival.app.app_id]) for arrival in batch]
                ):
                    assert login.written.value.linking.verdict is not LinkVerdict.MERGED
                for openid, owner in history.owners().items():
                    assert first.setdefault(openid, owner) == owner
            for _, login in history.logins:
                assert await world.reason(login) is None
        finally:
            for store in stores:
                await store.close()

    @run_examples(backend)
    @given(HISTORIES)
    def examples(batches: Sequence[Sequence[Arrival]]) -> None:
        asyncio.run(play(batches))

    examples()
