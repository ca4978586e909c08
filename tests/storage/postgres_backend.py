"""PostgreSQL as a conformance backend."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Select

from authsvc.ports import Clock, Entropy
from authsvc.storage import PostgresStore, postgres_migrations

# Whether a call is answered in time is not what most cases ask, and machines that run tests are busy.
PATIENCE = timedelta(seconds=30)


class PostgresBackend:
    def __init__(self, url: str, *, patience: timedelta = PATIENCE) -> None:
        self.url = url
        self._patience = patience

    async def open(self, *, clock: Clock, entropy: Entropy) -> PostgresStore:
        # Time is moved by hand: the fake clock stands for the database's too.
        return await PostgresStore.open(
            self.url,
            clock=clock,
            entropy=entropy,
            answer_within=self._patience,
            instant=lambda _: clock.now(),
        )

    def look(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return postgres_migrations.look(self.url, lambda connection: connection.execute(query).all())
