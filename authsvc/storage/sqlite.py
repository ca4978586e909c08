"""
SQLite: one file, two engines (DESIGN section 5).

Reads run in a small pool of threads, each read in one deferred transaction (a snapshot) on a connection that may not
write. Writes go through the one `Writer`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Self, TypeVar

from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import Clock, Entropy, Written
from authsvc.storage.data_version import DataVersion
from authsvc.storage.database_file import DatabaseFile
from authsvc.storage.engines import READERS, database_path, reading_engine, writing_engine
from authsvc.storage.faults import DRIVER_ERRORS, unavailable
from authsvc.storage.store import SqlStore, ensure_head
from authsvc.storage.tx import ReadUnit, View, WriteUnit, with_origin
from authsvc.storage.versions import check_schema
from authsvc.storage.writer import Writer

T = TypeVar("T")


class SqliteStore(SqlStore):
    """Implements ports.Store on one SQLite file, which other processes of this host may have open as well."""

    def __init__(self, runner: "SqliteRunner", *, news_from: Path | None = None) -> None:
        super().__init__(runner)
        self._news_from = news_from
        self._news: DataVersion | None = None

    @classmethod
    async def open(
        cls,
        url_or_path: str | Path,
        *,
        clock: Clock,
        entropy: Entropy,
        answer_within: timedelta | None = None,
        listen: bool = False,
    ) -> Self:
        """
        Return a store on an existing database of the present schema.

        Each call is answered or refused within *answer_within*, whatever another process does to the file. With
        *listen*, `on_change` hears of other connections' commits within some 20 ms.

        Raises:
            SchemaNotCurrent: nobody migrated it, or a newer release did.
            StoreUnavailable: it cannot be read or written.

        """
        path = database_path(url_or_path)
        await asyncio.to_thread(check_schema, path)
        runner = SqliteRunner(path, clock=clock, entropy=entropy, answer_within=answer_within)
        store = cls(runner, news_from=path if listen else None)
        try:
            await runner.write(ensure_head)
        except BaseException:
            await store.close()
            raise
        return store

    async def on_change(self, wake: Callable[[], None]) -> None:
        """See ports.RevocationLog.on_change."""
        if self._news_from is not None and self._news is None:
            self._news = DataVersion(self._news_from, wake=wake)

    async def close(self) -> None:
        """See SqlStore.close."""
        news, self._news = self._news, None
        if news is not None:
            await asyncio.to_thread(news.close)
        await super().close()


class SqliteRunner:
    """Runs units of work on a SQLite file; what `SqlStore` needs of a backend."""

    def __init__(
        self, path: Path, *, clock: Clock, entropy: Entropy, answer_within: timedelta | None = None
    ) -> None:
        self._answer_within_s = None if answer_within is None else answer_within.total_seconds()
        self._clock = clock
        self._file = DatabaseFile(path)
        self._reads = reading_engine(path)
        self._writer = Writer(writing_engine(path), clock=clock, entropy=entropy)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="authsvc-sqlite-reader")
        self._closed = False

    async def read(self, unit: ReadUnit[T]) -> T:
        """
        Return what the unit sees in one snapshot.

        Raises:
            StoreUnavailable: closed, the file was replaced, or the database failed.

        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self._file.check()
        return await self._in_time(asyncio.get_running_loop().run_in_executor(self._pool, self._look, unit))

    async def write(self, unit: WriteUnit[T]) -> Written[T]:
        """See `Writer.run`; a write into a file that was replaced meanwhile is not acknowledged."""
        self._file.check()
        written = await self._writer.run(with_origin(unit), within_s=self._answer_within_s)
        self._file.check()
        return written

    async def close(self) -> None:
        """Finish what was begun, then let go of the file. Idempotent."""
        self._closed = True
        await self._writer.close()
        await asyncio.to_thread(self._pool.shutdown)
        self._reads.dispose()
        self._file.close()

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Return what *work* returns, or refuse in time; it then still runs to its end."""
        try:
            async with asyncio.timeout(self._answer_within_s):
                return await work
        except TimeoutError:
            pass
        raise StoreUnavailable("the database did not answer in time")

    def _look(self, unit: ReadUnit[T]) -> T:
        try:
            with self._reads.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    return unit(View(connection=connection, now=self._clock.now()))
                finally:
                    connection.exec_driver_sql("ROLLBACK")
        except DRIVER_ERRORS as error:
            raise unavailable(error) from None
