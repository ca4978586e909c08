"""
Hearing of other connections' commits to a SQLite file: `PRAGMA data_version`, asked fifty times a second.

It changes with every commit that another connection made, in this process or another, facts or not; asking costs a look
at shared memory and no I/O. A poll runs underneath, so whatever goes wrong here only makes news a little later.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from authsvc.storage.engines import reading_engine
from authsvc.storage.faults import DRIVER_ERRORS

_EVERY_S = 0.02


class DataVersion:
    """A thread that looks; `close` ends it."""

    def __init__(self, path: Path, *, wake: Callable[[], None]) -> None:
        self._path = path
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="authsvc-sqlite-news", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking; `wake` is not called any more once this returns. Idempotent."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        engine = reading_engine(self._path)
        # A sick file is the poll's to notice and to report.
        with contextlib.suppress(*DRIVER_ERRORS), engine.connect() as connection:
            seen = _version(connection)
            while not self._closed.wait(_EVERY_S):
                version = _version(connection)
                if version != seen:
                    seen = version
                    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                        self._loop.call_soon_threadsafe(self._tell)
        engine.dispose()

    def _tell(self) -> None:
        if not self._closed.is_set():
            self._wake()


def _version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
