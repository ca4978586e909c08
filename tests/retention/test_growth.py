"""How many bytes a user, a session and a revocation take: measured here, stated in docs/operations/backup.md."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from authsvc.domain.sessions import ClientInfo
from authsvc.storage import open_store, postgres_migrations
from authsvc.storage.store import SqlStore
from tests.fakes import FakeClock, SeededEntropy
from tests.storage.conformance.world import Login, World
from tests.support.database import fresh_database
from tests.support.postgres import any_server, execute, migrated_template
from tests.support.postgres import fresh_database as fresh_postgres

PAGES = [Path(__file__).parents[2] / f"docs/operations/backup{suffix}.md" for suffix in ("", ".zh-CN")]
ROW = re.compile(r"^\| [^|]+ \| `(user|session|revocation)` \| ([\d,]+) \| ([\d,]+) \|", re.MULTILINE)
COUNT = 2000
# What WeChat's clients send: an IPv6 address, a user agent of 150 characters, a device id and a phone's name.
CLIENT = ClientInfo(
    ip="2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    user_agent="M" * 150,
    device_id="d" * 32,
    device_name="HUAWEI Mate 60",
)
# Of a session_key of 24 characters: version, nonce, tag and ciphertext.
SEALED = b"s" * 57

Size = Callable[[], int]


@contextmanager
def sqlite(directory: Path) -> Iterator[tuple[str, Size]]:
    path = fresh_database(directory)

    def size() -> int:
        with closing(sqlite3.connect(path)) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page,) = connection.execute("PRAGMA page_size").fetchone()
        return int(pages * page)

    yield f"sqlite:///{path}", size


@contextmanager
def postgres(_: Path) -> Iterator[tuple[str, Size]]:
    query = text("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables")
    with any_server() as server, fresh_postgres(server, template=migrated_template(server)) as url:

        def size() -> int:
            execute(url, "VACUUM FULL")  # dead row versions come and go with autovacuum
            return int(postgres_migrations.look(url, lambda found: found.execute(query).scalar_one()))

        yield url, size


async def measure(store: SqlStore, size: Size) -> dict[str, int]:
    """Bytes of one more user (with its identity), of one more session, of one more revocation of a session."""
    world = World(None, store, FakeClock(), SeededEntropy())  # type: ignore[arg-type]

    async def one(number: int) -> Login:
        openid = f"oABCD5f9b{number:019d}"  # 28 characters, as WeChat's
        return await world.login(openid, client=CLIENT, sealed=SEALED, unionid=f"oUNID5f9b{number:019d}")

    async def many() -> tuple[list[Login], int]:
        before = size()
        logins = [
            login
            for start in range(0, COUNT, 100)
            for login in await asyncio.gather(*map(one, range(start, start + 100)))
        ]
        return logins, (size() - before) // COUNT

    _, first = await many()
    logins, again = await many()
    before = size()
    for start in range(0, COUNT, 100):
        await asyncio.gather(*map(world.logout, logins[start : start + 100]))
    return {"user": first - again, "session": again, "revocation": (size() - before) // COUNT}


def stated(page: Path) -> dict[str, tuple[int, int]]:
    """The page's bytes by what they are for: SQLite, PostgreSQL."""
    return {
        name: (int(one.replace(",", "")), int(two.replace(",", "")))
        for name, one, two in ROW.findall(page.read_text("utf-8"))
    }


@pytest.mark.parametrize(
    ("engine", "column"),
    [(sqlite, 0), pytest.param(postgres, 1, marks=pytest.mark.long)],
    ids=["sqlite", "postgres"],
)
async def test_growth_is_what_the_page_says(
    tmp_path: Path, engine: Callable[[Path], AbstractContextManager[tuple[str, Size]]], column: int
) -> None:
    """
    Within a quarter: pages fill unevenly, and indexes on random ids differ from run to run.
    """
    with engine(tmp_path) as (url, size):
        store = await open_store(url, clock=FakeClock(), entropy=SeededEntropy())
        try:
            measured = await measure(store, size)
        finally:
            await store.close()
    print(f"bytes each: {measured}")  # noqa: T201 - `pytest -s` shows what to state
    for page in PAGES:
        for name, numbers in stated(page).items():
            assert 0.75 <= measured[name] / numbers[column] <= 1.25, (name, measured[name])
        assert set(stated(page)) == set(measured)
