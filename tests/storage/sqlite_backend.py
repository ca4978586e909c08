"""SQLite as a conformance backend."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select

from authsvc.ports import Clock, Entropy
from authsvc.storage import SqliteStore
from authsvc.storage.engines import reading


class SqliteBackend:
    def __init__(self, directory: Path, *, template: Path) -> None:
        self.path = directory / "record.db"
        shutil.copy(template, self.path)

    @classmethod
    def existing(cls, path: Path) -> "SqliteBackend":
        """The backend of a database that is there."""
        backend = cls.__new__(cls)
        backend.path = path
        return backend

    async def open(self, *, clock: Clock, entropy: Entropy) -> SqliteStore:
        return await SqliteStore.open(self.path, clock=clock, entropy=entropy)

    def look(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with reading(self.path) as connection:
            return connection.execute(query).all()
