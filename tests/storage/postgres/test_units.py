"""Units of work on PostgreSQL: what is run again, what is refused, which clock and which snapshot they see."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import func, insert, select, text

from authsvc.domain.errors import StoreUnavailable
from authsvc.domain.sessions import EndReason
from authsvc.storage import PostgresStore
from authsvc.storage.postgres import PostgresRunner
from authsvc.storage.schema import apps, users
from authsvc.storage.tx import Overtaken, Tx, View
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import APP, HOUR, Login, World
from tests.storage.postgres.units import count_users, write_fact
from tests.storage.postgres_backend import PostgresBackend
from tests.support.postgres import execute


async def test_failing_statement_leaves_nothing(world: World, own_database: str) -> None:
    """A login whose last insert fails leaves no user behind and says nothing of itself; the next one works."""
    execute(own_database, "ALTER TABLE sessions ADD CONSTRAINT fault CHECK (openid <> 'openid-1')")
    with pytest.raises(StoreUnavailable) as caught:
        await world.login("openid-1")
    assert "openid" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert "CheckViolation" in str(caught.value)
    assert count_users(world) == 0
    execute(own_database, "ALTER TABLE sessions DROP CONSTRAINT fault")
    await world.login("openid-1")


async def test_bug_in_a_unit_is_not_dressed_up(runner: PostgresRunner, store: PostgresStore) -> None:
    """What is no driver error comes out as it is, with everything taken back."""
    before = await store.read_head()

    def fail(tx: Tx) -> None:
        write_fact(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await runner.write(fail)
    assert await store.read_head() == before
    assert (await runner.write(write_fact)).value == before.position + 1


async def test_swallowed_failure_is_no_success(runner: PostgresRunner, store: PostgresStore) -> None:
    """A unit that goes on after a statement failed is not answered: PostgreSQL turns its COMMIT into a ROLLBACK."""

    def swallow(tx: Tx) -> None:
        tx.ledger.take()
        try:
            tx.connection.execute(text("SELECT 1/0"))
        except Exception:  # noqa: BLE001 - the very thing that must not be done
            return

    with pytest.raises(StoreUnavailable):
        await runner.write(swallow)
    assert (await store.read_head()).position == 0


async def test_overtaken_unit_is_run_again(runner: PostgresRunner) -> None:
    """Each run starts from nothing and only the last is kept; one that is always overtaken is given up."""
    runs: list[int] = []

    def twice(tx: Tx) -> int:
        runs.append(write_fact(tx))
        if len(runs) < 3:
            raise Overtaken
        return runs[-1]

    assert (await runner.write(twice)).value == 1
    assert runs == [1, 1, 1]

    def always(tx: Tx) -> None:
        raise Overtaken

    with pytest.raises(StoreUnavailable, match="Overtaken"):
        await runner.write(always)


async def test_reads_cannot_write(runner: PostgresRunner) -> None:
    """A read's transaction refuses a write, whoever asks."""

    def write(view: View) -> None:
        view.connection.execute(
            insert(apps).values(
                app_id="a", position=1, position_reason=1, position_at=view.now, position_by=""
            )
        )

    with pytest.raises(StoreUnavailable, match="ReadOnly"):
        await runner.read(write)


async def test_reads_are_of_one_snapshot(world: World, runner: PostgresRunner) -> None:
    """What commits between two looks of one read is seen by neither: so a head covers the facts beside it."""
    await world.login()
    between: list[asyncio.Task[Login]] = []

    def look_twice(view: View) -> tuple[object, object]:
        count = select(func.count()).select_from(users)
        first = view.connection.execute(count).scalar_one()
        between.append(asyncio.ensure_future(world.login("other")))
        while not between[0].done():
            view.connection.execute(text("SELECT 1"))  # the loop goes on meanwhile
        return first, view.connection.execute(count).scalar_one()

    assert await runner.read(look_twice) == (1, 1)
    assert await world.reason(await between[0]) is None
    assert count_users(world) == 2


async def test_lock_held_elsewhere(world: World, runner: PostgresRunner) -> None:
    """A unit that waits for a row gives up in time; when the row is free it goes on."""
    login = await world.login()
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(runner.pool.url)
        await connection.execute("BEGIN; SELECT * FROM sessions FOR UPDATE")
        holding.set()
        await go_on.wait()
        await connection.close()

    holder = asyncio.create_task(hold())
    await holding.wait()
    hasty = await PostgresBackend(runner.pool.url, patience=timedelta(seconds=1)).open(
        clock=world.clock, entropy=world.entropy
    )
    with pytest.raises(StoreUnavailable, match="LockNotAvailable"):
        await hasty.end_session(login.id, reason=EndReason.ADMIN, by="operator")
    await hasty.close()
    go_on.set()
    await holder
    await world.logout(login)
    assert await world.reason(login) is EndReason.LOGOUT


async def test_migration_beneath_prepared_statements(world: World, own_database: str) -> None:
    """A column added while connections hold prepared statements fails nobody."""
    login = await world.login()
    await world.session(login)
    execute(own_database, "ALTER TABLE users ADD COLUMN later TEXT")
    assert await world.reason(login) is None
    await world.rotate(login.token)


async def test_durable_whatever_the_database_says(world: World, own_database: str) -> None:
    """synchronous_commit switched off for the database is switched on again in every write of ours."""
    name = urlsplit(own_database).path[1:]
    execute(own_database, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    replica = await world.replica()
    assert isinstance(replica, PostgresStore)
    show = text("SELECT current_setting('synchronous_commit')")
    written = await replica._postgres.write(lambda tx: tx.connection.execute(show).scalar_one())
    assert written.value == "on"


@pytest.mark.parametrize("ahead_s", [-5, 0, 5])
async def test_skew_of_the_clocks(world: World, own_database: str, ahead_s: int) -> None:
    """Ping says how far this host's clock is ahead of the database's; a difference it cannot be sure of is none."""
    clock, ahead = world.clock, timedelta(seconds=ahead_s)
    store = await PostgresStore.open(
        own_database, clock=clock, entropy=world.entropy, instant=lambda _: clock.now() - ahead
    )
    assert await store.ping() == ahead
    await store.close()


async def test_units_take_the_databases_clock(own_database: str) -> None:
    """What a unit takes for the present is PostgreSQL's reading, however wrong this host's clock is."""
    clock = FakeClock()
    store = await PostgresStore.open(own_database, clock=clock, entropy=SeededEntropy())

    def both(tx: Tx) -> tuple[datetime, datetime]:
        return tx.now, tx.connection.execute(select(func.clock_timestamp())).scalar_one()

    began, later = (await store._postgres.write(both)).value
    ended = (await store._postgres.write(both)).value[0]
    assert began <= later <= ended
    assert began.utcoffset() == timedelta(0)
    await store.close()


async def test_refresh_beside_login_cap_leaves_a_long_enough_fact(world: World) -> None:
    """A session that is rotated while a login replaces it has a fact that outlives its newest access token."""
    app = replace(APP, max_sessions=1)
    for round_ in range(20):
        first = await world.login(f"p{round_}", app=app)
        world.clock.advance(HOUR)
        await asyncio.gather(world.present(first.token), world.login(f"p{round_}", app=app))
        session = await world.session(first)
        [fact] = [fact for fact in await world.log() if fact.target == first.id]
        assert fact.useful_until is not None
        assert fact.useful_until > session.access_expires_at
