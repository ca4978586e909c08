"""PostgreSQL as a conformance backend."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select

from authsvc.ports import Clock, Entropy
from authsvc.storage import PostgresStore, postgres_migrations


class PostgresBackend:
    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self, *, clock: Clock, entropy: Entropy) -> PostgresStore:
        # Time is moved by hand: the fake clock stands for the database's too.
        return await PostgresStore.open(self.url, clock=clock, entropy=entropy, instant=lambda _: clock.now())

    def look(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return postgres_migrations.look(self.url, lambda connection: connection.execute(query).all())
